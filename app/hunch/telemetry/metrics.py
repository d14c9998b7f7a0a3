"""Counters, gauges and histograms of one process: written once per batch, read when asked.

Counters and histograms are added to where something happens; a gauge is a function that is called
when somebody looks. Values of a histogram come as whole columns, sorted into buckets by numpy.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hunch.telemetry.names import (
    COUNTERS,
    GAUGES,
    HISTOGRAMS,
    CounterName,
    Described,
    GaugeName,
    HistogramName,
)

Labels = tuple[str, ...]
"""The values of a metric's labels, in the order of its description."""
Reading = Callable[[], Mapping[Labels, float]]


@dataclass(frozen=True, slots=True)
class Series:
    """One histogram as it stands: how many values in each bucket, the last one open above."""

    counts: NDArray[np.int64]
    sum: float


class Metrics:
    """All metrics of this process."""

    def __init__(self) -> None:
        self._counters: Counter[tuple[CounterName, Labels]] = Counter()
        self._gauges: dict[GaugeName, list[Reading]] = {}
        self._histograms: dict[tuple[HistogramName, Labels], Series] = {}

    def count(self, name: CounterName, n: int = 1, **labels: str) -> None:
        """Adds `n` to the counter of these labels."""
        self._counters[name, _values(COUNTERS[name], labels)] += n

    def observe(self, name: HistogramName, values: ArrayLike, **labels: str) -> None:
        """Adds a column of values to the histogram of these labels."""
        described = HISTOGRAMS[name]
        key = name, _values(described, labels)
        column = np.asarray(values, dtype=np.float64).ravel()
        size = len(described.buckets) + 1
        buckets = np.searchsorted(described.buckets, column, side="left")
        counts = np.bincount(buckets, minlength=size)
        before = self._histograms.get(key)
        if before is None:
            self._histograms[key] = Series(counts, float(column.sum()))
        else:
            self._histograms[key] = Series(before.counts + counts, before.sum + float(column.sum()))

    def gauge(self, name: GaugeName, read: Reading) -> None:
        """Has `read` called whenever somebody looks; several add up to one metric."""
        self._gauges.setdefault(name, []).append(read)

    def counters(self) -> Iterable[tuple[CounterName, Labels, int]]:
        """Every counter that was added to."""
        return [(name, labels, n) for (name, labels), n in sorted(self._counters.items())]

    def gauges(self) -> Iterable[tuple[GaugeName, Labels, float]]:
        """Every gauge, read now."""
        return [
            (name, labels, value)
            for name in GAUGES
            for read in self._gauges.get(name, ())
            for labels, value in read().items()
        ]

    def histograms(self) -> Iterable[tuple[HistogramName, Labels, Series]]:
        """Every histogram that has values."""
        return [(name, labels, at) for (name, labels), at in sorted(self._histograms.items())]

    def snapshot(self) -> dict[str, int]:
        """Every counter, labels written as `decisions{stage=fast,path=fast,reason=confident}`."""
        return {_spelled(name, labels): n for name, labels, n in self.counters()}


def _values(described: Described, labels: Mapping[str, str]) -> Labels:
    return tuple(labels[label] for label in described.labels)


def _spelled(name: CounterName, values: Labels) -> str:
    inner = ",".join(
        f"{label}={value}" for label, value in zip(COUNTERS[name].labels, values, strict=True)
    )
    return f"{name}{{{inner}}}" if inner else name
