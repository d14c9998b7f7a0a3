"""τ for a goal from a record: what is found, what the policy does, and every kind of bad input."""

import numpy as np
import pytest
from tests.evaluation import made

from hunch.core.calibration import fit_temperature
from hunch.core.exiting import ExitPolicy
from hunch.core.policy import enforced, parsed
from hunch.core.selection import Goal
from hunch.errors import ConfigError, DataError, NotCertified
from hunch.evaluation.calibrating import Plan, calibrate
from hunch.evaluation.explaining import notes, refusal, told
from hunch.evaluation.policies import policy_of
from hunch.evaluation.records import read

GOALS = {
    "accuracy-within": 0.05,
    "selective-risk": 0.1,
    "joint-risk": 0.05,
    "agreement": 0.9,
    "slow-share": 0.4,
}
MEASURES = ("max_probability", "margin", "entropy", "energy", "mixture", "learned")


def plan(name="selective-risk", limit=None, **more):
    """What is asked for, at a limit that the drawn rows can keep."""
    return Plan(goal=Goal(name=name, limit=GOALS[name] if limit is None else limit), **more)


def made_policy(found, **more):
    """The policy of what was found."""
    return policy_of(found, created="2026-01-01T00:00:00+00:00", **more)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """4,000 rows of a fast model that is right on 7 of 8, and a slow one that is better."""
    return read(made.record(tmp_path_factory.mktemp("records") / "r", made.drawn(4000)))


@pytest.fixture
def read_of(tmp_path):
    """A function that reads a record of what was drawn."""

    def read_it(given, **more):
        return read(made.record(tmp_path / f"r{len(list(tmp_path.iterdir()))}", given, **more))

    return read_it


@pytest.mark.parametrize("name", GOALS)
def test_a_goal_is_reached_and_told(whole, name):
    """Each goal gets a τ, a promise in the policy, and the judging rows keep it."""
    found = calibrate(whole, plan(name))

    assert found.selection.is_certified
    assert found.check is not None
    assert found.check.is_kept or found.check.chance > 0.01
    assert made_policy(found).promise in told(found)


@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize("measure", MEASURES)
def test_a_stage_decides_as_the_calibration_says(whole, measure, per_class):
    """A policy that went through its file lets exactly the rows exit that were counted."""
    found = calibrate(whole, plan(measure=measure, is_per_class=per_class))
    policy = parsed(made_policy(found).text(), "a file")

    settings = ExitPolicy(name="settings", tau=0.5, delta_ms=100)
    stage = enforced(policy, settings, whole.labels, has_logits=True)
    rows = found.split.judge
    verdicts = stage.judge(*rows.fast.probabilities(policy.temperatures.fast))

    assert found.judged.accept_rate == np.mean(verdicts.exits)
    assert rows.fast.best(policy.temperatures.fast).tolist() == verdicts.best
    assert per_class == bool(policy.taus)


def test_the_policy_says_what_it_was_made_from(whole):
    """Models, rows, seed, goal and the curve stand in the policy."""
    policy = made_policy(calibrate(whole, plan(seed=7)))

    assert ("the-fast", "1", "1" * 64) == tuple(policy.models.fast.model_dump().values())
    assert {"fit": 800, "choose": 2400, "judge": 800} == policy.data.rows
    assert (7, whole.sha256) == (policy.data.seed, policy.data.sha256)
    assert ("selective-risk", 0.1, 0.95) == tuple(policy.goal.model_dump().values())
    assert {"tau", "accept_rate", "selective_risk", "accuracy"} <= set(policy.curve)


def test_what_judges_has_no_part_in_the_choice(whole, read_of):
    """Other labels of the judging rows change what is judged, and nothing that is chosen."""
    first = calibrate(whole, plan(measure="learned", is_per_class=True))
    labels = [made.LABELS[column] for column in whole.right]
    for it in first.split.judge.inputs:
        labels[whole.inputs.index(it)] = "a"

    given = made.Drawn(whole.fast.scores, whole.slow.scores, whole.right)
    other = calibrate(read_of(given, labels=labels), first.plan)

    assert first.selection == other.selection
    assert (first.measure, first.temperatures) == (other.measure, other.temperatures)
    assert first.taus == other.taus
    assert first.judged.accuracy != other.judged.accuracy


def test_temperatures_calibrate(read_of):
    """A fast model that is twice as sure as it should be is brought back."""
    given = made.drawn(4000)
    found = calibrate(read_of(given._replace(fast=given.fast * 4)), plan())

    assert found.judged.ece is not None
    assert found.judged.ece_before is not None
    assert found.judged.ece < 0.5 * found.judged.ece_before


# -- bad input


@pytest.mark.parametrize("name", ["accuracy-within", "selective-risk", "joint-risk"])
def test_a_goal_without_the_labels_it_needs(read_of, name):
    """The sentence says which goals need none."""
    unlabelled = read_of(made.drawn(400), labels=[None] * 400)

    with pytest.raises(DataError, match=r"needs labels, and no row .* has one: .* agreement or"):
        calibrate(unlabelled, plan(name))


def test_agreement_without_labels(read_of):
    """It needs none, and keeps the models' own temperatures, which it says."""
    found = calibrate(read_of(made.drawn(2000), labels=[None] * 2000), plan("agreement"))

    assert found.selection.is_certified
    assert (1.0, 1.0) == (found.temperatures.fast, found.temperatures.slow)
    assert any("keeps its own temperature" in sentence for sentence in notes(found))
    assert found.judged.accuracy is None


def test_rows_without_a_label_beside_those_with_one(read_of):
    """A goal that needs labels uses the rows that have one, and says how many it left out."""
    given = made.drawn(2000)
    labels = [None if row % 4 == 0 else made.LABELS[c] for row, c in enumerate(given.right)]

    found = calibrate(read_of(given, labels=labels), plan())

    assert 1500 == sum(found.split.rows().values())
    assert "Left out because they have no label: 500 of the rows." in notes(found)


def test_one_class(read_of):
    """Rows of one class say nothing about the others."""
    with pytest.raises(DataError, match="have the label 'a': nothing follows from one class"):
        calibrate(read_of(made.drawn(400, classes=1)), plan())


def test_one_class_without_a_need_for_labels(read_of):
    """Agreement needs no labels: those of one class are told, and no temperature comes of them."""
    found = calibrate(read_of(made.drawn(2000), labels=["a"] * 2000), plan("agreement"))

    assert any(it.startswith("All labelled rows have the label 'a'") for it in notes(found))
    assert {"fast", "slow"} == set(found.temperatures.kept)


def test_temperatures_come_of_the_rows_that_have_a_label(read_of):
    """Where a goal uses rows without labels, those that have one still say how sure to be."""
    given = made.drawn(4000)
    labels = [None if row % 5 else made.LABELS[c] for row, c in enumerate(given.right)]

    found = calibrate(read_of(given, labels=labels), plan("agreement"))

    assert {} == found.temperatures.kept
    assert 4000 == sum(found.split.rows().values())


def test_nothing_exits(read_of):
    """A limit that lets every message wait is told to be one."""
    found = calibrate(read_of(made.drawn(400)), plan("slow-share", 1.0))

    assert any(it.startswith("With this tau hardly any message exits") for it in notes(found))


@pytest.mark.parametrize("name", GOALS)
def test_ten_rows(read_of, name):
    """Nothing is promised, and the sentence says how many would do at least."""
    with pytest.raises(NotCertified, match=r"^10 rows are too few .* at least \d+ are needed"):
        calibrate(read_of(made.drawn(10)), plan(name))


def test_all_confident_and_all_wrong(read_of):
    """A fast model that is always sure and never right gets no τ, and is told to be replaced."""
    given = made.drawn(1000)
    wrong = 20.0 * np.eye(4, dtype=np.float32)[(given.right + 1) % 4]

    found = calibrate(read_of(given._replace(fast=wrong)), plan())

    assert not found.selection.is_certified
    assert "more rows like these would not change that: whatever tau, 100 % of the" in refusal(
        found
    )
    assert any("says nothing about whether it is right" in it for it in notes(found))


def test_fast_better_than_slow(read_of):
    """Then a cascade does not pay, and that is said."""
    given = made.drawn(2000)
    found = calibrate(read_of(given._replace(fast=given.slow, slow=given.fast)), plan())

    assert any(it.startswith("A cascade does not pay here") for it in notes(found))


def test_slow_no_better_than_fast(read_of):
    """Two models that are right on the same rows make no cascade."""
    given = made.drawn(2000)
    found = calibrate(read_of(given._replace(slow=given.fast)), plan())

    assert any(it.startswith("A cascade does not pay here") for it in notes(found))


def test_slow_hardly_better_than_fast(read_of):
    """A difference that chance makes as well is told to be no more than that."""
    given = made.drawn(2000)
    slow = given.fast.copy()
    wrong = np.flatnonzero(given.fast.argmax(axis=1) != given.right)[:2]
    slow[wrong] = 9.0 * np.eye(4)[given.right[wrong]]

    found = calibrate(read_of(given._replace(slow=slow)), plan())

    assert any(it.startswith("It is not certain that a cascade pays") for it in notes(found))


def test_nan_probabilities(read_of):
    """Rows that the fast model answers with NaN are left out; with none left it says so."""
    given = made.drawn(1000)
    fast, slow = given.fast.copy(), given.slow.copy()
    fast[:30], slow[20:60] = np.nan, np.nan

    record = read_of(given._replace(fast=fast, slow=slow))

    assert 970 == len(record)
    assert {"fast": 30, "slow": 40} == dict(record.failed)
    assert calibrate(record, plan()).selection.is_certified
    for side in ("fast", "slow"):
        with pytest.raises(DataError, match=f"has an answer of the {side} model"):
            read_of(given._replace(**{side: np.full_like(fast, np.nan)}))


def test_what_only_the_slow_model_fails_on_counts_as_any_other(read_of):
    """A fast model that is sure and wrong where the slow one is silent gets no small risk."""
    given = made.drawn(2000, fast=30.0)
    silent = np.arange(2000) % 4 == 0
    fast, slow = given.fast.copy(), given.slow.copy()
    fast[silent] = 30.0 * np.eye(4, dtype=np.float32)[(given.right[silent] + 1) % 4]
    slow[silent] = np.nan

    found = calibrate(read_of(given._replace(fast=fast, slow=slow)), plan(limit=0.02))

    assert not found.is_certified
    assert 2000 == sum(found.split.rows().values())
    assert found.gain is not None
    assert found.gain.slow_accuracy <= 0.75


def test_a_temperature_comes_of_the_rows_that_are_answered(read_of):
    """Rows on which the slow model is silent change nothing about how sure it may be."""
    given = made.drawn(2000)
    slow = given.slow.copy()
    slow[::3] = np.nan

    found = calibrate(read_of(given._replace(slow=slow)), plan("slow-share"))

    fit = found.split.fit
    answered = fit.slow.answered
    assert {} == found.temperatures.kept
    assert found.temperatures.slow == fit_temperature(
        fit.slow.scores[answered], fit.right[answered]
    )


def test_labels_unknown_to_the_models(read_of):
    """A record of another list of labels is refused by the first of them."""
    with pytest.raises(DataError, match="has the label 'zebra', which the models do not know"):
        read_of(made.drawn(20), labels=["zebra"] * 20)


def test_the_same_rows_twice(read_of):
    """A record that judges itself is refused."""
    record = read_of(made.drawn(400))

    with pytest.raises(DataError, match=r"^400 of the 400 inputs"):
        calibrate(record, plan(), record)


def test_rows_that_repeat_promise_no_more(read_of):
    """A file with every row twice is worth as much as with every row once."""
    given = made.drawn(600)
    twice = made.Drawn(*(np.concatenate([column, column]) for column in given))

    once = calibrate(read_of(given), plan())
    again = calibrate(read_of(twice, inputs=[*range(600), *range(600)]), plan())

    assert once.selection == again.selection


def test_energy_of_a_model_without_logits(read_of):
    """A fast model that puts out probabilities has no energy."""
    given = made.drawn(400)
    powers = np.exp(given.fast)
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    record = read_of(given._replace(fast=probabilities), kinds=("probabilities", "logits"))

    with pytest.raises(DataError, match="The measure energy needs logits"):
        calibrate(record, plan(measure="energy"))


def test_a_measure_that_does_not_exist(whole):
    """The sentence names those that do."""
    with pytest.raises(ConfigError, match="There is no confidence measure 'luck'"):
        calibrate(whole, plan(measure="luck"))


def test_too_much_asked_of_too_few(read_of):
    """The sentence says about how many rows would do, and so many do."""
    asked = plan(limit=0.02)
    found = calibrate(read_of(made.drawn(200, fast=6.0, slow=9.0)), asked)

    assert not found.is_certified
    assert found.rows_needed is not None
    assert f"of 200 in all; about {found.rows_needed:,} would do" in refusal(found)
    enough = made.drawn(2 * found.rows_needed, fast=6.0, slow=9.0)
    assert calibrate(read_of(enough), asked).is_certified


def test_an_input_that_comes_often_and_is_wrong_keeps_a_policy_back(read_of):
    """Each input counts once in the promise; what messages would get is told, or refuses it."""
    given = made.drawn(2000, fast=30.0)
    inputs = list(range(1800)) + [0] * 200
    fast = given.fast.copy()
    often = np.array(inputs) == 0
    right = given.right.copy()
    right[often] = 0
    fast[often] = 30.0 * np.eye(4, dtype=np.float32)[1]
    record = read_of(given._replace(fast=fast, right=right), inputs=inputs)

    found = calibrate(record, plan(limit=0.02))

    assert found.selection.is_certified
    assert not found.is_certified
    assert found.by_messages is not None
    assert found.by_messages.found > 0.09
    assert "Counted as often as each input came" in refusal(found)
    assert calibrate(record, plan(limit=0.3)).is_certified
