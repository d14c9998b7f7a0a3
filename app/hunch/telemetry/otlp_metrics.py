"""Metrics by OTLP, for those who asked for it: read on the event loop, sent from a thread.

At most one export is under way. What a collector does not take is not kept: the sums go on, and the
next export says them. A collector that is slow or gone costs a line in the log, and nothing else.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from hunch import __version__
from hunch.clock import Clock
from hunch.telemetry.logs import log_event
from hunch.telemetry.metrics import Labels, Metrics
from hunch.telemetry.names import COUNTERS, GAUGES, HISTOGRAMS
from hunch.telemetry.otel import Protocol

PREFIX = "hunch_"
LAST_EXPORT_MS = 1_000.0
"""How long the end of the process waits for the last export."""
TEMPORALITY = AggregationTemporality.CUMULATIVE


def exporter(protocol: Protocol, timeout_s: float) -> MetricExporter:
    """The SDK's exporter; endpoint, headers and certificates it reads from the environment."""
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (  # noqa: PLC0415
            OTLPMetricExporter as ByGrpc,
        )

        return ByGrpc(timeout=timeout_s)
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import (  # noqa: PLC0415
        OTLPMetricExporter as ByHttp,
    )

    return ByHttp(timeout=timeout_s)


class OtlpMetrics:
    """Sends all metrics of this process every `interval_ms`, and once more at its end."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        clock: Clock,
        resource: Resource,
        interval_ms: float,
        make_exporter: Callable[[], MetricExporter],
    ) -> None:
        self._metrics = metrics
        self._clock = clock
        self._resource = resource
        self._interval_ms = interval_ms
        self._make_exporter = make_exporter
        self._exporter: MetricExporter | None = None
        self._sending: threading.Thread | None = None
        self._began_ms = clock.now_ms()
        self._is_failing = False

    async def run(self) -> None:
        """Exports by the clock, until cancelled."""
        while True:
            await self._clock.sleep(self._interval_ms)
            self._export()

    async def close(self) -> None:
        """Says everything once more, within `LAST_EXPORT_MS`."""
        until_ms = self._clock.now_ms() + LAST_EXPORT_MS
        await self._wait_until_sent(until_ms)
        self._export()
        await self._wait_until_sent(until_ms)
        if self._exporter is not None:
            ending = threading.Thread(target=self._exporter.shutdown, daemon=True)
            ending.start()

    def _export(self) -> None:
        if self._sending is not None and self._sending.is_alive():
            return
        data, loop = self._data(), asyncio.get_running_loop()

        def send() -> None:
            problem = self._send(data)
            with contextlib.suppress(RuntimeError):  # the process has ended meanwhile
                loop.call_soon_threadsafe(self._tell, problem)

        self._sending = threading.Thread(target=send, name="hunch-otlp-metrics", daemon=True)
        self._sending.start()

    def _send(self, data: MetricsData) -> str | None:
        """What was wrong, if anything."""
        try:
            if self._exporter is None:
                self._exporter = self._make_exporter()
            result = self._exporter.export(data)
        except Exception as error:  # noqa: BLE001 - whatever a collector does, messages go on
            return repr(error)
        return None if result is MetricExportResult.SUCCESS else "no collector takes them"

    def _tell(self, problem: str | None) -> None:
        """A line when it begins to fail, and one when it works again."""
        is_failing = problem is not None
        if is_failing is not self._is_failing:
            self._is_failing = is_failing
            state = "fails: /metrics has them too" if is_failing else "works again"
            log_event("warning", message=f"The export of metrics {state}.", problem=problem)

    async def _wait_until_sent(self, until_ms: float) -> None:
        while (
            self._sending is not None
            and self._sending.is_alive()
            and self._clock.now_ms() < until_ms
        ):
            await self._clock.sleep(10)

    def _data(self) -> MetricsData:
        now_ms = self._clock.now_ms()
        scope = ScopeMetrics(
            scope=InstrumentationScope("hunch", __version__),
            metrics=list(as_otlp(self._metrics, self._began_ms, now_ms)),
            schema_url="",
        )
        of_process = ResourceMetrics(
            resource=self._resource, scope_metrics=[scope], schema_url=self._resource.schema_url
        )
        return MetricsData(resource_metrics=[of_process])


def as_otlp(metrics: Metrics, began_ms: float, now_ms: float) -> Iterable[Metric]:
    """Every metric that has a value, in the SDK's words; names as in `/metrics`, without _total."""
    began_ns, now_ns = int(began_ms * 1e6), int(now_ms * 1e6)
    numbers: dict[str, list[NumberDataPoint]] = {}
    histograms: dict[str, list[HistogramDataPoint]] = {}
    for counter, labels, n in metrics.counters():
        attributes = _attributes(COUNTERS[counter].labels, labels)
        point = NumberDataPoint(attributes, began_ns, now_ns, n)
        numbers.setdefault(counter, []).append(point)
    for gauge, labels, value in metrics.gauges():
        attributes = _attributes(GAUGES[gauge].labels, labels)
        numbers.setdefault(gauge, []).append(NumberDataPoint(attributes, began_ns, now_ns, value))
    for histogram, labels, series in metrics.histograms():
        described = HISTOGRAMS[histogram]
        counts = series.counts.tolist()
        histograms.setdefault(histogram, []).append(
            HistogramDataPoint(
                attributes=_attributes(described.labels, labels),
                start_time_unix_nano=began_ns,
                time_unix_nano=now_ns,
                count=sum(counts),
                sum=series.sum,
                bucket_counts=counts,
                explicit_bounds=described.buckets,
                min=None,  # type: ignore[arg-type]  # not known: left out
                max=None,  # type: ignore[arg-type]
            )
        )
    for counter, described in COUNTERS.items():
        if counter in numbers:
            data = Sum(numbers[counter], TEMPORALITY, is_monotonic=True)
            yield Metric(PREFIX + counter, described.help, _unit(counter), data)
    for gauge, described in GAUGES.items():
        if gauge in numbers:
            yield Metric(PREFIX + gauge, described.help, _unit(gauge), Gauge(numbers[gauge]))
    for histogram, described in HISTOGRAMS.items():
        if histogram in histograms:
            buckets = Histogram(histograms[histogram], TEMPORALITY)
            yield Metric(PREFIX + histogram, described.help, _unit(histogram), buckets)


def _attributes(names: tuple[str, ...], values: Labels) -> Mapping[str, str]:
    return dict(zip(names, values, strict=True))


def _unit(name: str) -> str:
    return "s" if name.endswith("_seconds") else "1"
