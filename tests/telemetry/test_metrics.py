"""Metrics: counters by label, columns sorted into buckets, gauges read when asked."""

from typing import get_args

import pytest

from hunch.telemetry import Metrics, Told, Tracer
from hunch.telemetry.names import (
    COUNTERS,
    GAUGES,
    HISTOGRAMS,
    CounterName,
    GaugeName,
    HistogramName,
)


def test_counts_add_up_by_labels():
    """One counter for each combination of labels, whatever their order."""
    metrics = Metrics()
    metrics.count("decisions", 3, stage="fast", path="fast", reason="confident")
    metrics.count("decisions", 2, reason="confident", path="fast", stage="fast")
    metrics.count("late_results")

    assert {
        "decisions{stage=fast,path=fast,reason=confident}": 5,
        "late_results": 1,
    } == metrics.snapshot()


def test_a_column_falls_into_the_buckets_of_prometheus():
    """A value on a bound belongs below it; what is beyond the last bound is counted too."""
    metrics = Metrics()
    metrics.observe("batch_size", [1, 2, 3], stage="slow")
    metrics.observe("batch_size", [5000], stage="slow")

    [(name, labels, series)] = metrics.histograms()
    assert ("batch_size", ("slow",)) == (name, labels)
    assert [1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1] == series.counts.tolist()
    assert 5006.0 == series.sum


def test_a_gauge_is_read_when_somebody_looks():
    """Several readers of one gauge add up to its series."""
    metrics, held = Metrics(), {"0": 1.0}
    metrics.gauge("pending", lambda: {(p,): n for p, n in held.items()})
    metrics.gauge("pending", lambda: {("7",): 9.0})
    held["0"] = 2.0

    assert [("pending", ("0",), 2.0), ("pending", ("7",), 9.0)] == list(metrics.gauges())


def test_told_counts_only_what_was_told():
    """A chunk that was not acknowledged adds nothing; one that was adds all of its columns."""
    metrics, told, later = Metrics(), Told(), Told()
    told.decision("fallback", "deadline", 500.0)
    told.due.append((1_000.0, 1_002.0))
    later.decision("fast", "confident", 3.0)
    later.count("deferrals", 2)
    later.count("late_results", 0)
    told.extend(later)
    before = metrics.snapshot()
    told.tell(metrics, Tracer(), "join", 1_011.0)

    assert {} == before
    assert {
        "decisions{stage=join,path=fallback,reason=deadline}": 1,
        "decisions{stage=join,path=fast,reason=confident}": 1,
        "deferrals": 2,
        "deadline_misses": 1,
    } == metrics.snapshot()
    assert {
        ("decision_seconds", ("fallback",)): 0.5,
        ("decision_seconds", ("fast",)): 0.003,
        ("emitted_late_seconds", ()): 0.011,
        ("timer_late_seconds", ()): 0.002,
    } == {(name, labels): pytest.approx(at.sum) for name, labels, at in metrics.histograms()}


@pytest.mark.parametrize(
    ("names", "described"),
    [(CounterName, COUNTERS), (GaugeName, GAUGES), (HistogramName, HISTOGRAMS)],
)
def test_every_name_is_described_once(names, described):
    """Names are the contract of those who read metrics."""
    assert list(get_args(names)) == list(described)
