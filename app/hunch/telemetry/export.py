"""Spans on their way to a collector, in a thread of their own.

The event loop only appends lists; this thread turns them into the SDK's spans and has the SDK's
exporter send them. A queue that is full drops what comes, a collector that does not answer loses
what it was sent: both are counted, and nothing waits. The thread rests after each batch for twice
the time that it has computed, so that it never takes more than a third of the process.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from hunch import __version__
from hunch.telemetry.logs import log_event
from hunch.telemetry.metrics import Metrics
from hunch.telemetry.traces import Span

RESTS = 2.0
_KINDS = {
    "fast": SpanKind.CONSUMER,
    "defer": SpanKind.PRODUCER,
    "slow": SpanKind.CONSUMER,
    "join": SpanKind.CONSUMER,
    "decide": SpanKind.PRODUCER,
    "fast batch": SpanKind.INTERNAL,
    "slow batch": SpanKind.INTERNAL,
}
_SCOPE = InstrumentationScope("hunch", __version__)
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_UNSET = Status(StatusCode.UNSET)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPolicy:
    """The bounds of the queue, in the words of OpenTelemetry's batch span processor.

    Attributes:
        max_queue_size: spans that wait; what comes beyond is dropped.
        max_batch_size: spans in one request.
        delay_ms: the longest that a span waits for a request to fill.
        stop_ms: how long the last spans may take when the process ends.
    """

    max_queue_size: int = 16_384
    max_batch_size: int = 256
    delay_ms: float = 500.0
    stop_ms: float = 2_000.0


class SpanExport:
    """The queue and its thread.

    Args:
        exporter: makes the SDK's exporter; called in the thread, as it may take a while.
        resources: who a span of each stage belongs to.
    """

    def __init__(
        self,
        exporter: Callable[[], SpanExporter],
        resources: Mapping[str, Resource],
        metrics: Metrics,
        policy: ExportPolicy | None = None,
    ) -> None:
        self._make = exporter
        self._resources = resources
        self._metrics = metrics
        self._policy = policy or ExportPolicy()
        self._queue: deque[tuple[Sequence[Span], float]] = deque()
        self._queued = 0
        self._taken = 0
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hunch-spans", daemon=True)
        self._exporter: SpanExporter | None = None
        self._rested_at_s = 0.0

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def take(self, spans: Sequence[Span], acknowledged_ms: float) -> None:
        """Queues spans, all of them or none; never waits."""
        if self._queued - self._taken + len(spans) > self._policy.max_queue_size:
            self._metrics.count("spans_dropped", len(spans), reason="queue_full")
            return
        self._queued += len(spans)
        self._queue.append((spans, acknowledged_ms))

    def stop(self) -> None:
        """Sends what is queued, within a limit, and ends."""
        self._is_ending.set()
        self._thread.join(self._policy.stop_ms / 1000)
        if self._exporter is not None and self._thread.is_alive():
            self._exporter.shutdown()

    def _run(self) -> None:
        exporter = self._exporter = self._make()
        self._rested_at_s = time.thread_time()
        batch: list[ReadableSpan] = []
        while True:
            is_last = self._is_ending.wait(self._policy.delay_ms / 1000)
            for span in self._drained():
                batch.append(span)
                if len(batch) >= self._policy.max_batch_size:
                    self._send(exporter, batch)
                    batch = []
            if batch:
                self._send(exporter, batch)
                batch = []
            if is_last:
                exporter.shutdown()
                return

    def _drained(self) -> Iterator[ReadableSpan]:
        while self._queue:
            spans, acknowledged_ms = self._queue.popleft()
            for span in spans:
                self._taken += 1
                yield self._readable(span, acknowledged_ms)

    def _send(self, exporter: SpanExporter, batch: Sequence[ReadableSpan]) -> None:
        try:
            is_taken = exporter.export(batch) is SpanExportResult.SUCCESS
        except Exception as error:  # noqa: BLE001 - whatever an exporter raises costs its spans only
            log_event("export_failed", what="spans", error=repr(error))
            is_taken = False
        if is_taken:
            self._metrics.count("spans_exported", len(batch))
        else:
            self._metrics.count("spans_dropped", len(batch), reason="collector")
        computed_s = time.thread_time() - self._rested_at_s
        self._is_ending.wait(RESTS * computed_s)
        self._rested_at_s = time.thread_time()

    def _readable(self, span: Span, acknowledged_ms: float) -> ReadableSpan:
        trace_id = int(span.trace_id, 16)
        parent = None
        if span.parent_id is not None:
            parent = SpanContext(trace_id, int(span.parent_id, 16), span.is_parent_remote, _SAMPLED)
        end_ms = acknowledged_ms if span.end_ms is None else span.end_ms
        return ReadableSpan(
            name=span.name,
            context=SpanContext(trace_id, int(span.span_id, 16), False, _SAMPLED),
            parent=parent,
            resource=self._resources[span.stage],
            attributes=span.attributes,
            links=[
                Link(SpanContext(int(trace, 16), int(one, 16), True, _SAMPLED))
                for trace, one in span.links
            ],
            kind=_KINDS[span.name],
            instrumentation_scope=_SCOPE,
            status=_UNSET if span.error is None else Status(StatusCode.ERROR, span.error),
            start_time=int(span.start_ms * 1e6),
            end_time=int(max(end_ms, span.start_ms) * 1e6),
        )
