"""Reports: their numbers are those of the sweep and the record, in every form that they have."""

import json
import re
from urllib.parse import unquote

import numpy as np
import plotly.graph_objects
import pytest
from tests.evaluation import made, swept

from hunch.core.policy import parsed
from hunch.errors import DataError
from hunch.evaluation.records import read
from hunch.evaluation.report.charts import charts_of
from hunch.evaluation.report.markdown import markdown
from hunch.evaluation.report.numbers import Report, report_of
from hunch.evaluation.report.page import page
from hunch.evaluation.report.sections import sections_of
from hunch.evaluation.report.surfaces import surfaces
from hunch.evaluation.sweep_file import LivePoint, SweepFile

LIVE = {
    "tau": 0.7,
    "delta_ms": 400,
    "rate_per_s": 200.0,
    "predicted": {"accuracy": 0.75, "fallback": 0.0, "p95_ms": 20.0, "decided_per_s": 199.0},
    "measured": {"accuracy": 0.76, "fallback": 0.0, "p95_ms": 35.0, "decided_per_s": 200.0},
    "missed": ["p95_ms"],
    "busy": 0.914,
}


@pytest.fixture
def record(tmp_path):
    """400 drawn rows."""
    return read(made.record(tmp_path / "r", made.drawn(400)))


@pytest.fixture
def report(record, tmp_path):
    """Of a small sweep over these rows."""
    return report_of(swept.file_of(record, tmp_path), record)


def test_a_tau_of_a_label_that_nobody_knows_is_one_sentence(record, tmp_path):
    """The file says the right record, and somebody has changed it."""
    file = swept.file_of(record, tmp_path, rounds=0)
    points = tuple(it.model_copy(update={"taus": {"other": 0.5}}) for it in file.points)

    with pytest.raises(DataError, match="a tau for the label 'other', which its record does not"):
        report_of(file.model_copy(update={"points": points}), record)


def with_live(report):
    """The same, and one point that was measured too."""
    live = LivePoint.model_validate(LIVE)
    return report.model_copy(update={"sweep": report.sweep.model_copy(update={"live": (live,)})})


def painted(value):
    """The same, where every colour that is a name is one."""
    if isinstance(value, dict):
        return {key: painted(it) for key, it in value.items()}
    if isinstance(value, list):
        return [painted(it) for it in value]
    return "#123456" if isinstance(value, str) and value.startswith("--") else value


def test_a_report_is_about_the_least_cost(report, record, tmp_path):
    """Or about today's setting, where nothing is within ε."""
    assert report.sweep.points[report.recommended] == report.sweep.choice("least-cost")

    hopeless = swept.file_of(record, tmp_path, taus=[0.0], rounds=0, epsilon=0.0)
    choices = tuple(it.model_copy(update={"point": None}) for it in hopeless.choices)
    other = report_of(hopeless.model_copy(update={"choices": choices}), record)
    assert hopeless.today == other.recommended
    assert "No point is within" in sections_of(other)[0].sentences[0]


def test_another_record_is_refused(report, tmp_path):
    """Its numbers would not belong to those of the sweep."""
    other = read(made.record(tmp_path / "other", made.drawn(400, seed=2)))

    with pytest.raises(DataError, match="is not the record that the sweep was made with"):
        report_of(report.sweep, other)


def test_models_are_as_the_record_has_them(report, record):
    """Right answers, bins and bars are of the same rows; the slow model's too."""
    for found, outputs in ((report.rows.fast, record.fast), (report.rows.slow, record.slow)):
        right = outputs.scores.argmax(axis=1) == record.right
        assert right.mean() == pytest.approx(found.accuracy)
        assert 400 == found.rows == sum(it.rows for it in found.bins)
        assert (right.sum(), 400 - right.sum()) == (
            sum(found.histogram.right),
            sum(found.histogram.wrong),
        )
        mean = sum(it.accuracy * it.rows for it in found.bins) / 400
        assert right.mean() == pytest.approx(mean)


def test_classes_are_as_the_record_has_them(report, record):
    """Each row counts in the class that is right for it, by what τ makes of it."""
    fast = record.fast.scores.argmax(axis=1)
    slow = record.slow.scores.argmax(axis=1)
    exits = record.fast.probabilities(1.0)[0].max(axis=1) >= report.point.tau
    decided = np.where(exits, fast, slow)

    assert {"a", "b", "c", "d"} == {it.label for it in report.rows.classes}
    for found in report.rows.classes:
        own = record.right == record.labels.index(found.label)
        right = decided[own] == record.right[own]
        assert (own.sum(), right.mean(), exits[own].mean()) == (
            found.rows,
            pytest.approx(found.accuracy),
            pytest.approx(found.accept_rate),
        )
        assert (own & exits & (fast != record.right)).sum() == found.wrong_exits
    accuracies = [it.accuracy for it in report.rows.classes]
    assert sorted(accuracies) == accuracies


def test_without_labels_the_slow_model_is_not_judged(tmp_path):
    """It says what is right; the page says so."""
    record = read(made.record(tmp_path / "r", made.drawn(300), labels=[None] * 300))
    report = report_of(swept.file_of(record, tmp_path), record)

    assert report.rows.slow is None
    assert {"reliability-fast", "histogram-fast"} < set(charts_of(report))
    assert "reliability-slow" not in charts_of(report)
    assert "where it is the slow model's answer" in markdown(report)


def test_json_is_the_whole_report(report):
    """What is read from it is what was written, the sweep with it."""
    again = Report.model_validate_json(report.text())

    assert report == again
    assert report.sweep == SweepFile.model_validate(json.loads(report.text())["sweep"])


def test_charts_are_what_plotly_draws(report):
    """It takes every figure, and every section's charts are there."""
    whole = with_live(report)
    charts = charts_of(whole)

    named = [name for section in sections_of(whole) for name in section.charts]
    assert sorted(charts) == sorted(named)
    for chart in charts.values():
        for drawn in chart.figures.values():
            assert plotly.graph_objects.Figure(painted(drawn)).data


def test_the_frontier_is_drawn_where_the_sweep_has_it(report):
    """Each point stands at its p95 and its accuracy, and knows its place in the sweep."""
    sweep = report.sweep
    (drawn,) = charts_of(report)["accuracy-latency"].figures.values()
    traces = [it for it in drawn["data"] if "customdata" in it]

    seen = set()
    for trace in traces:
        for x, y, (at,) in zip(trace["x"], trace["y"], trace["customdata"], strict=True):
            seen.add(at)
            assert (sweep.points[at].outcome.latency.p95_ms.value, sweep.accuracy_of(at)) == (x, y)
    frontier = next(it for it in traces if it["name"] == "frontier")
    assert set(range(len(sweep.points))) == seen
    assert list(sweep.frontier) == [at for (at,) in frontier["customdata"]]


def test_surfaces_are_simulated_in_every_cell(report):
    """Rows are τ and columns Δ, and nothing is made up."""
    sweep = report.sweep
    _, drawn = surfaces(report)["fallbacks"]
    heat = drawn["data"][0]

    assert len(heat["x"]) > 1
    assert len(heat["y"]) > 1
    for tau, values, places in zip(heat["y"], heat["z"], heat["customdata"], strict=True):
        for delta, value, (at,) in zip(heat["x"], values, places, strict=True):
            point = sweep.points[at]
            assert (f"{point.tau:g}", f"{point.delta_ms:,}") == (tau, delta)
            assert point.outcome.rates["fallback"].value == value


def test_what_was_measured_has_a_section(report):
    """Only where there is something; what missed its prediction is said to."""
    assert "## Simulated against live" not in markdown(report)

    text = markdown(with_live(report))
    assert "in 1 of them at least one number misses" in text
    assert "| 0.7 | 400 | 200 | p95 | 20.0 ms | 35.0 ms | 91% | missed |" in text
    assert "| 0.7 | 400 | 200 | accuracy | 75.00 % | 76.00 % | 91% | met |" in text


@pytest.mark.parametrize("missed", [["p50_ms"], []])
def test_what_is_measured_was_predicted(missed):
    """A name on one side only is no comparison."""
    other = {"measured": LIVE["measured"] if missed else {"accuracy": 0.7}, "missed": missed}

    with pytest.raises(ValueError, match="has different names"):
        LivePoint.model_validate(LIVE | other)


def test_settings_are_those_of_the_choices(report):
    """The lines to copy, and the policy, say what the point says."""
    settings = {it.name: it for it in sections_of(report)[0].settings}

    for choice in report.sweep.choices:
        point = report.sweep.points[choice.point]
        setting = settings[choice.name]
        assert f"tau = {point.tau!r}\ndelta_ms = {point.delta_ms}\n" == setting.toml
        policy = json.loads(setting.policy)
        assert (point.tau, point.delta_ms) == (policy["tau"], policy["delta_ms"])


def test_the_page_has_the_policies(report):
    """Its links are files that stages take."""
    links = re.findall(r'href="data:application/json;charset=utf-8,([^"]+)"', page(report))

    found = [parsed(unquote(it), "the page") for it in links]
    assert [it.point for it in report.sweep.choices] == [
        [(point.tau, point.delta_ms) for point in report.sweep.points].index((it.tau, it.delta_ms))
        for it in found
    ]


def test_settings_that_say_too_little_are_not_offered(report):
    """Under a policy τ is held against its measure, at its temperature: only a policy says so."""
    sweep = report.sweep.model_copy(update={"policy": "selective-risk-0.02-12345678"})
    settings = sections_of(report.model_copy(update={"sweep": sweep}))[0].settings

    assert {None} == {it.toml for it in settings}


def test_a_page_is_whole_and_the_same_again(report):
    """It names no other address to load from, and its charts are those of the sections."""
    text = page(report)

    assert text == page(report)
    assert len(text.encode()) < 5_000_000
    without_policies = re.sub(r'href="data:[^"]*"', "", text)
    assert [] == re.findall(r'(?:src|href)=(?!"#)[^ >]+', without_policies)
    assert [] == re.findall(r"url\(|@import|https?://", without_policies)
    assert set(charts_of(report)) == set(re.findall(r'data-chart="([^"]+)"', text))


def test_no_name_can_end_the_script(report):
    """Names of what was measured stand in the data of the charts."""
    names = {"</script><b>": 0.5}
    live = LivePoint.model_validate(LIVE | {"predicted": names, "measured": names, "missed": []})
    sweep = report.sweep.model_copy(update={"live": (live,)})
    text = page(report.model_copy(update={"sweep": sweep}))

    assert r"\u003c/script>\u003cb>" in text
    assert 3 == text.count("</script>")


def test_no_label_can_become_part_of_the_page(tmp_path):
    """Labels are text, whatever they hold; in Markdown too."""
    evil = "</script><img src=x>|"
    given = made.drawn(300)
    labels = [evil if column == 0 else made.LABELS[column] for column in given.right]
    folder = made.record(tmp_path / "r", given, labels=labels)
    description = folder / "record.json"
    said = json.loads(description.read_bytes())
    for side in said["models"].values():
        side["labels"][0] = evil
    description.write_text(json.dumps(said))
    record = read(folder)
    report = report_of(swept.file_of(record, tmp_path), record)

    assert "&lt;/script&gt;&lt;img src=x&gt;|" in page(report)
    assert "<img" not in page(report)
    assert r"</script><img src=x>\|" in markdown(report)
