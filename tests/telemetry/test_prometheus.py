"""/metrics as text: every described metric, by Prometheus' own parser."""

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from hunch.telemetry import Metrics
from hunch.telemetry.names import COUNTERS, GAUGES, HISTOGRAMS
from hunch.telemetry.prometheus import Prometheus

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


@pytest.fixture
def metrics():
    """A counter, a gauge and a histogram with values."""
    metrics = Metrics()
    metrics.count("decisions", 3, stage="fast", path="fast", reason="confident")
    metrics.gauge("pending", lambda: {("0",): 2.0, ("1",): 0.0})
    metrics.observe("batch_size", [1, 2, 3, 5000], stage="slow")
    return metrics


def families(metrics, accept=""):
    """The parsed page, by family."""
    text, _ = Prometheus(metrics).render(accept)
    parse = openmetrics.text_string_to_metric_families if accept else text_string_to_metric_families
    return {family.name: family for family in parse(text.decode())}


def samples(family):
    """Values by name and labels, these in the order of their names."""
    return {(s.name, *[s.labels[k] for k in sorted(s.labels)]): s.value for s in family.samples}


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_values_come_out_as_they_went_in(metrics, accept):
    """Counters end in _total, buckets are cumulated, gauges are read for this page."""
    page = families(metrics, accept)

    decisions = samples(page["hunch_decisions"])
    assert {("hunch_decisions_total", "fast", "confident", "fast"): 3.0} == decisions
    assert {("hunch_pending", "0"): 2.0, ("hunch_pending", "1"): 0.0} == samples(
        page["hunch_pending"]
    )
    sizes = samples(page["hunch_batch_size"])
    cumulated = [sizes["hunch_batch_size_bucket", le, "slow"] for le in ("1.0", "2.0", "4.0")]
    assert [1.0, 2.0, 3.0] == cumulated
    last = [sizes["hunch_batch_size_bucket", le, "slow"] for le in ("1024.0", "+Inf")]
    assert [3.0, 4.0] == last
    assert 4.0 == sizes["hunch_batch_size_count", "slow"]
    assert 5006.0 == sizes["hunch_batch_size_sum", "slow"]


def test_every_described_metric_is_there_from_the_start():
    """Before anything happens, dashboards find each name and alerts find the zeros."""
    page = families(Metrics())

    described = [*COUNTERS, *GAUGES, *HISTOGRAMS]
    assert {f"hunch_{name}" for name in described} <= set(page)
    zeros = {name for name, about in COUNTERS.items() if not about.labels}
    assert zeros == {
        family.removeprefix("hunch_")
        for family, found in page.items()
        if family.startswith("hunch_") and found.samples
    }


def test_help_type_and_units_follow_prometheus():
    """What a metric means stands beside it; the process's own metrics have no prefix."""
    page = families(Metrics())

    for name, about in COUNTERS.items():
        family = page[f"hunch_{name}"]
        assert ("counter", about.help) == (family.type, family.documentation)
    assert {"process_cpu_seconds", "process_resident_memory_bytes", "python_info"} <= set(page)


def test_the_format_is_the_one_asked_for(metrics):
    """Prometheus asks for OpenMetrics first; a person with curl gets plain text."""
    page = Prometheus(metrics)

    assert page.render("*/*")[1].startswith("text/plain; version=0.0.4")
    text, content_type = page.render(OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith(b"# EOF\n")
