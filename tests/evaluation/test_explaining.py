"""What is told in plain words, and what is told when the judging rows miss the goal."""

import numpy as np
import pytest
from tests.evaluation import made

from hunch.core.selection import Goal, Outcomes, select
from hunch.evaluation.calibrating import Plan, calibrate
from hunch.evaluation.explaining import notes, refusal, told
from hunch.evaluation.judging import check, gain
from hunch.evaluation.records import read

GOALS = {
    "accuracy-within": 0.05,
    "selective-risk": 0.1,
    "joint-risk": 0.05,
    "agreement": 0.9,
    "slow-share": 0.4,
}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """A record, one of the same kind of rows, and one of rows on which the fast model is worse."""
    folder = tmp_path_factory.mktemp("records")
    return [
        read(made.record(folder / name, given, inputs=range(first, first + 2000)))
        for name, given, first in (
            ("first", made.drawn(2000, seed=1), 0),
            ("like", made.drawn(2000, seed=2), 2000),
            ("unlike", shuffled(made.drawn(2000, seed=3)), 4000),
        )
    ]


def shuffled(given):
    """The same rows with the fast model's answer moved to another label in one of four."""
    fast = given.fast.copy()
    fast[::4] = np.roll(fast[::4], 1, axis=1)
    return given._replace(fast=fast)


@pytest.mark.parametrize("name", GOALS)
@pytest.mark.parametrize("limit", [None, 1e-6])
def test_all_is_said_in_whole_sentences(records, name, limit):
    """Whatever comes of it, sentences end in a full stop and name no value that is not there."""
    wanted = GOALS[name] if limit is None else limit if name != "agreement" else 1.0 - limit
    found = calibrate(records[0], Plan(goal=Goal(name=name, limit=wanted)))

    said = [*told(found), *notes(found)]
    if not found.is_certified:
        said.append(refusal(found))
    assert said
    for sentence in said:
        assert sentence[0].isupper() or sentence.startswith(name)
        assert sentence.endswith(".")
        assert not {"None", "nan", "unknown"} & set(sentence.replace(",", " ").split())


def test_rows_of_the_same_kind_keep_the_promise(records):
    """Judged by other rows from the same place, the goal is kept, and that is said."""
    goal = Goal(name="selective-risk", limit=0.1)

    said = told(calibrate(records[0], Plan(goal=goal), records[1]))

    assert said[-1].endswith("%, at most 10 %, as promised.")


@pytest.mark.parametrize("name", ["selective-risk", "agreement", "joint-risk", "accuracy-within"])
def test_rows_of_another_kind_are_told(records, name):
    """Judged by rows on which the fast model is worse, the promise is not made."""
    found = calibrate(records[0], Plan(goal=Goal(name=name, limit=GOALS[name])), records[2])

    assert found.selection.is_certified
    assert not found.is_certified
    assert [] == told(found)
    assert "chance hardly explains that: the two are not alike" in refusal(found)


def outcomes(scores, fast_right, slow_right):
    """Outcomes of a few rows, which agree where both are right."""
    fast, slow = np.array(fast_right, dtype=bool), np.array(slow_right, dtype=bool)
    return Outcomes(scores=np.array(scores), agrees=fast & slow, fast_right=fast, slow_right=slow)


@pytest.mark.parametrize(
    ("name", "limit", "found", "is_kept"),
    [
        ("selective-risk", 0.4, 1 / 3, True),
        ("selective-risk", 0.3, 1 / 3, False),
        ("agreement", 0.6, 2 / 3, True),
        ("agreement", 0.7, 2 / 3, False),
        ("joint-risk", 0.3, 1 / 4, True),
        ("joint-risk", 0.2, 1 / 4, False),
        ("accuracy-within", 0.3, 1 / 4, True),
        ("accuracy-within", 0.2, 1 / 4, False),
        ("slow-share", 0.3, 1 / 4, True),
        ("slow-share", 0.2, 1 / 4, False),
    ],
)
def test_each_goal_is_held_against_its_own_number(name, limit, found, is_kept):
    """Of four rows three exit, of which the fast model is wrong on one that the slow has right."""
    rows = outcomes([0.9, 0.8, 0.7, 0.1], [1, 0, 1, 0], [1, 1, 1, 1])

    judged = check(Goal(name=name, limit=limit), rows, tau=0.5, chose=rows)

    assert pytest.approx(found) == judged.found
    assert is_kept == judged.is_kept
    assert 0.0 <= judged.chance <= 1.0


def test_without_exits_there_is_nothing_to_judge():
    """A goal about exits is neither kept nor missed where nothing exits."""
    rows = outcomes([0.1, 0.2], [1, 0], [1, 1])

    assert check(Goal(name="selective-risk", limit=0.1), rows, tau=0.5, chose=rows).found is None


def test_what_the_slow_model_gains_is_tested_by_signs():
    """Six rows better and none worse come up by chance in one of 64 cases."""
    fast = np.array([0] * 6 + [1] * 10, dtype=bool)

    found = gain(fast, np.ones(16, dtype=bool))

    assert (10 / 16, 1.0) == (found.fast_accuracy, found.slow_accuracy)
    assert pytest.approx(1 / 64) == found.chance
    assert 1.0 == gain(fast, fast).chance


def test_a_limit_on_average_is_not_contradicted_by_chance_alone():
    """Of draws from one population, hardly any is said to be unlike the rows that chose tau."""
    chance = np.random.default_rng(5)
    goal = Goal(name="joint-risk", limit=0.02)

    def drawn(rows):
        scores = chance.random(rows)
        right = chance.random(rows) < scores
        return Outcomes(
            scores=scores, agrees=right, fast_right=right, slow_right=np.ones(rows, dtype=bool)
        )

    strange = 0
    for _ in range(100):
        chose = drawn(400)
        tau = select(goal, [], chose).tau
        assert tau is not None
        strange += check(goal, drawn(20_000), tau, chose).contradicts

    assert strange <= 5


def test_a_total_loss_is_a_contradiction():
    """Fifty rows that the cascade loses are no chance, though they do not vary."""
    rows = outcomes([0.9] * 50, [0] * 50, [1] * 50)

    assert check(Goal(name="accuracy-within", limit=0.005), rows, 0.5, rows).contradicts
