"""Whether and how this process traces: OpenTelemetry's variables and Hunch's settings together."""

import functools
from collections.abc import Iterable

from hunch.telemetry import otel
from hunch.telemetry.collector import collector
from hunch.telemetry.encoding import Encoder
from hunch.telemetry.export import ExportPolicy, SpanExport
from hunch.telemetry.logs import log_event
from hunch.telemetry.metrics import Metrics
from hunch.telemetry.traces import TracePolicy, Tracer

DEFAULT_RATIO = 0.01


class Tracing:
    """The tracer of a process, and the thread that exports for it.

    Args:
        asked: what OpenTelemetry's variables ask for.
        ratio: `trace_ratio`; None where it is not set: then the variables count, then 1 %.
        paths_per_s: `trace_paths_per_s`.
        stages: those that have spans here; the joiner tells for the fast stage, too.
    """

    def __init__(
        self,
        asked: otel.Asked,
        *,
        ratio: float | None,
        paths_per_s: int,
        metrics: Metrics,
        stages: Iterable[str] = ("fast", "slow", "join"),
    ) -> None:
        self.tracer = Tracer()
        self._export: SpanExport | None = None
        if not asked.traces and (ratio is None or asked.is_disabled):
            return
        given = asked.ratio if ratio is None else ratio
        policy = TracePolicy(
            ratio=DEFAULT_RATIO if given is None else given, paths_per_s=paths_per_s
        )
        self._export = SpanExport(
            functools.partial(collector, asked.destination),
            Encoder({stage: otel.resource(stage) for stage in stages}),
            metrics,
            ExportPolicy(
                max_queue_size=asked.max_queue_size,
                max_batch_size=asked.max_batch_size,
                delay_ms=asked.schedule_delay_ms,
            ),
        )
        self.tracer = Tracer(policy, self._export.take)
        self._told = {
            "ratio": policy.ratio,
            "paths_per_s": paths_per_s,
            "protocol": asked.destination.protocol,
            "endpoint": asked.destination.address.partition("?")[0],
        }

    def start(self) -> None:
        """Begins to export, where traces were asked for."""
        if self._export is not None:
            log_event("tracing", **self._told)
            self._export.start()

    def stop(self) -> None:
        """Sends what is left, within a limit."""
        if self._export is not None:
            self._export.stop()
