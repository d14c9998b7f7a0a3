"""Metrics as Prometheus reads them, or as OpenMetrics where that is asked for.

Every described metric has its HELP and TYPE from the start, and a counter without labels its 0, so
that alerts have series. What is in the process besides (memory, CPU, files) stands with it.
"""

from collections.abc import Iterable

from prometheus_client import PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from hunch.telemetry.metrics import Metrics, Series
from hunch.telemetry.names import COUNTERS, GAUGES, HISTOGRAMS

PREFIX = "hunch_"


class Prometheus(Collector):
    """All metrics of this process, in a registry of its own."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._others = (ProcessCollector(registry=None), PlatformCollector(registry=None))

    def render(self, accept: str) -> tuple[bytes, str]:
        """The text as it stands now, and its content type, by an `Accept` header."""
        encode, content_type = choose_encoder(accept)
        return encode(self), content_type

    def collect(self) -> Iterable[Metric]:
        """Every family with its series."""
        yield from self._counters()
        yield from self._gauges()
        yield from self._histograms()
        for other in self._others:
            yield from other.collect()

    def _counters(self) -> Iterable[Metric]:
        families = {
            name: CounterMetricFamily(PREFIX + name, described.help, labels=described.labels)
            for name, described in COUNTERS.items()
        }
        read = {(name, labels): n for name, labels, n in self._metrics.counters()}
        at_rest = {(name, ()): 0 for name, described in COUNTERS.items() if not described.labels}
        for (name, labels), n in (at_rest | read).items():
            families[name].add_metric(labels, n)
        return families.values()

    def _gauges(self) -> Iterable[Metric]:
        families = {
            name: GaugeMetricFamily(PREFIX + name, described.help, labels=described.labels)
            for name, described in GAUGES.items()
        }
        for name, labels, value in self._metrics.gauges():
            families[name].add_metric(labels, value)
        return families.values()

    def _histograms(self) -> Iterable[Metric]:
        families = {
            name: HistogramMetricFamily(PREFIX + name, described.help, labels=described.labels)
            for name, described in HISTOGRAMS.items()
        }
        for name, labels, series in self._metrics.histograms():
            buckets = _cumulated(HISTOGRAMS[name].buckets, series)
            families[name].add_metric(labels, buckets, series.sum)
        return families.values()


def _cumulated(bounds: tuple[float, ...], series: Series) -> list[tuple[str, float]]:
    names = [*map(floatToGoString, bounds), "+Inf"]
    return list(zip(names, series.counts.cumsum().tolist(), strict=True))
