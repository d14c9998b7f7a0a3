"""Sweeps: every point once, the same over processes, what was known is not simulated again."""

import json

import numpy as np
import pytest
from tests.evaluation import made
from tests.evaluation.swept import TODAY, file_of, found_in, rows_of, simulator

from hunch.core.policy import parsed
from hunch.errors import DataError, InvariantBroken
from hunch.evaluation.kept_points import kept
from hunch.evaluation.policies import policy_of_choice
from hunch.evaluation.records import read
from hunch.evaluation.simulation.outcome import QUANTILES, Prices
from hunch.evaluation.simulator import Setting
from hunch.evaluation.sweep_explaining import change
from hunch.evaluation.sweep_file import read_sweep

LATENCY = {"quantiles_ms": [1.0] * len(QUANTILES)} | {
    f"p{it}_ms": {"value": 1.0} for it in (50, 95, 99)
}


@pytest.fixture
def record(tmp_path):
    """400 drawn rows."""
    return read(made.record(tmp_path / "r", made.drawn(400)))


def test_a_sweep_has_all_its_points_and_refines(record, tmp_path):
    """The grid, today, and new ones beside the frontier; choices and gains belong to them."""
    found, told = found_in(tmp_path, simulator(record))

    settings = [(it.tau, it.delta_ms) for it in found.points]
    assert {(0.0, 400), (0.7, 50), (0.7, 400), (1.0, 50), (1.0, 400), (0.9, 300)} < set(settings)
    assert sorted(set(settings)) == settings
    assert (0.9, 300) == settings[found.today]
    assert (len(settings), len(settings)) == told[-1]
    assert {it.tau for it in found.points} == {gain.tau for gain in found.gains}
    assert ["least-cost", "fastest", "most-in-time", "knee"] == [it.name for it in found.choices]
    assert {it.point for it in found.choices} - {None} <= set(found.frontier)


def test_settings_see_the_same_messages(record, tmp_path):
    """Where every answer is in time, a longer Δ changes nothing, to the last digit."""
    given = simulator(record)
    found, _ = found_in(tmp_path, given, taus=[0.5], deltas=[500, 700], rounds=0)
    one, other = (it.outcome for it in found.points if it.tau == 0.5)

    assert one == other


def test_gains_are_the_smaller_of_both_limits(record, tmp_path):
    """min(mu_f, mu_s / D), of mu_s and of mu_f; and 1 / D."""
    found, _ = found_in(tmp_path, simulator(record), rounds=0)
    nothing, *_, everything = found.gains
    some = next(gain for gain in found.gains if gain.tau == 0.7)

    assert (None, "fast") == (nothing.limit, nothing.bottleneck)
    assert 1.0 == pytest.approx(nothing.over_fast)
    assert 1 / some.deferral_rate == pytest.approx(some.over_slow)
    assert 100.0 / some.deferral_rate == pytest.approx(some.capacity_per_s)
    assert everything.over_slow == pytest.approx(1.0, abs=0.01)
    assert nothing.at_load_over_slow == pytest.approx(2.0, rel=0.25)


def test_more_processes_find_the_same(record, tmp_path):
    """Two of them find what one does, in whatever order, and refine the same."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one, _ = found_in(tmp_path / "one", simulator(record), rounds=2)
    two, _ = found_in(tmp_path / "two", simulator(record), rounds=2, jobs=2)

    assert one == two


def test_a_sweep_goes_on_where_it_was(record, tmp_path):
    """Known points are taken as they are; a line that was cut short is found again."""
    first, _ = found_in(tmp_path, simulator(record))
    file = tmp_path / "points.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    marked = json.loads(lines[0])
    marked["outcome"]["messages"] = 12_345
    file.write_bytes(json.dumps(marked, separators=(",", ":")).encode() + b"\n" + lines[1][:99])
    again, _ = found_in(tmp_path, simulator(record))

    odd = [it for it in again.points if it.outcome.messages == 12_345]
    assert [(marked["tau"], marked["delta_ms"])] == [(it.tau, it.delta_ms) for it in odd]
    assert len(first.points) - 1 == sum(it in first.points for it in again.points)
    assert len(lines) == len(file.read_bytes().splitlines())


def test_another_load_is_another_point(record):
    """A key stands for the rows, the load, the place, the seeds and the setting."""
    keys = {
        simulator(record).key(TODAY),
        simulator(record, seeds=(0,)).key(TODAY),
        simulator(record, in_time_ms=60.0).key(TODAY),
        simulator(record, prices=Prices(slow_call=1.0)).key(TODAY),
        simulator(record).key(Setting(tau=0.9, delta_ms=301)),
        simulator(record).key(Setting(tau=0.9, delta_ms=300, taus=((1, 0.5),))),
    }

    assert 6 == len(keys)
    assert simulator(record).key(TODAY) in keys


def test_a_sweep_is_read_as_it_was_written(record, tmp_path):
    """With everything that it depends on, and sentences."""
    file = file_of(record, tmp_path)
    (tmp_path / "sweep.json").write_text(file.text(), encoding="utf-8")

    assert file == read_sweep(tmp_path / "sweep.json")
    assert (400, "label", record.sha256) == (
        file.record.rows,
        file.record.right_by,
        file.record.sha256,
    )
    assert any("do not count" in sentence for sentence in file.notes)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"rates": {}}, "rates"),
        ({"by_path": {"other": LATENCY}}, "by_path.other"),
        ({"latency": {"quantiles_ms": []}}, "latency.quantiles_ms"),
    ],
    ids=["rates", "paths", "quantiles"],
)
def test_an_outcome_that_lacks_what_a_report_shows_is_no_sweep(record, tmp_path, changes, key):
    """So that no report comes upon it in the middle of a page."""
    said = json.loads(file_of(record, tmp_path, rounds=0).text())
    outcome = said["points"][0]["outcome"]
    for name, value in changes.items():
        outcome[name] = outcome[name] | value if name == "latency" else value
    (tmp_path / "s.json").write_text(json.dumps(said))

    with pytest.raises(DataError, match=rf"no sweep of the format 1 \(points.0.outcome.{key}"):
        read_sweep(tmp_path / "s.json")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"version": 2}, "version: Input should be 1"),
        ({"points": []}, "points: Tuple should have at least 1 item"),
        ({"today": 999}, "it names points that it does not have"),
        ({"alone": {}}, "it does not have both models alone"),
        ({"more": 1}, "more: Extra inputs are not permitted"),
    ],
)
def test_a_file_that_is_no_sweep_is_one_sentence(record, tmp_path, changes, sentence):
    """Another version, no points, points and models that are not there, unknown keys."""
    said = json.loads(file_of(record, tmp_path, rounds=0).text()) | changes
    (tmp_path / "s.json").write_text(json.dumps(said))

    with pytest.raises(DataError) as caught:
        read_sweep(tmp_path / "s.json")
    assert f"s.json is no sweep of the format 1 ({sentence}" in str(caught.value)


def test_a_choice_becomes_a_policy_that_promises_nothing(record, tmp_path):
    """τ, Δ, measure and models are those of the point; the name begins with the choice."""
    file = file_of(record, tmp_path)
    choice = next(it for it in file.choices if it.name == "knee")
    policy = policy_of_choice(file, choice)
    point = file.choice("knee")

    assert policy == parsed(policy.text(), "p")
    assert (point.tau, point.delta_ms) == (policy.tau, policy.delta_ms)
    assert policy.promise.startswith("An estimate by simulation, not a guarantee: at 200 messages")
    assert policy.name.startswith("sweep-knee-")
    assert record.fast.sha256 == policy.models.fast.sha256
    assert {"choose": 400} == policy.data.rows


def test_without_a_point_there_is_no_policy(record, tmp_path):
    """Nothing within ε: the choice has none, and says so."""
    file = file_of(record, tmp_path, taus=[0.0], rounds=0, today=Setting(tau=0.0, delta_ms=1))
    choice = file.choices[0]

    assert ("least-cost", None, None) == (choice.name, choice.point, file.choice("least-cost"))
    assert "No point is within 2 points of the slow model." == change(file, choice)
    with pytest.raises(InvariantBroken):
        policy_of_choice(file, choice)


@pytest.mark.parametrize("content", [b"hello", b"hello\n", b'{"a":1}\n', b"[]\n", b"7\n"])
def test_points_are_not_appended_to_another_file(tmp_path, content):
    """One sentence, and the file stays as it is."""
    file = tmp_path / "x.jsonl"
    file.write_bytes(content)
    with pytest.raises(DataError, match="holds other things than points"), kept(file):
        pass

    assert content == file.read_bytes()


def test_without_labels_the_slow_model_is_right(tmp_path):
    """Accuracy is agreement; rows without a label are left out where others have one."""
    given = made.drawn(60)
    none = read(made.record(tmp_path / "none", given, labels=[None] * 60))
    some = read(made.record(tmp_path / "some", given, labels=[None] * 20 + ["a"] * 20 + ["b"] * 20))
    without, partly = rows_of(none), rows_of(some)

    assert ("slow", True, 0) == (
        without.right_by,
        bool(without.truth.slow_right.all()),
        without.unlabelled,
    )
    assert ("label", 40, 20) == (
        partly.right_by,
        len(partly.truth.slow_right),
        partly.unlabelled,
    )


def test_a_row_without_a_slow_answer_is_wrong(tmp_path):
    """It counts against the slow model, also where that one says what is right."""
    given = made.drawn(60)
    slow = given.slow.copy()
    slow[:6] = np.nan
    with_labels = read(made.record(tmp_path / "some", given._replace(slow=slow)))
    without = read(made.record(tmp_path / "none", given._replace(slow=slow), labels=[None] * 60))

    for record in (with_labels, without):
        truth = rows_of(record).truth
        assert not truth.slow_right[:6].any()
    assert not rows_of(without).truth.fast_right[:6].any()
    assert 54 == rows_of(without).truth.slow_right.sum()
