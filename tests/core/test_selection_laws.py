"""Choosing τ: what is promised holds, checked where the truth is known.

Rows are drawn from populations of which every risk is known. A goal with a confidence may be missed
in a share δ of the draws, and by the noise of the draws in a little more.
"""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hunch.core.selection import (
    GOALS,
    Goal,
    Outcomes,
    candidates,
    curve,
    harms_of,
    select,
)
from hunch.errors import ConfigError, DataError

DELTA = 0.1
DRAWS = 150
ALLOWED = DELTA + 3 * np.sqrt(DELTA * (1 - DELTA) / DRAWS)
LIMITS = {
    "selective-risk": 0.1,
    "agreement": 0.9,
    "accuracy-within": 0.05,
    "joint-risk": 0.05,
    "slow-share": 0.3,
}


def population(scores, fast, slow, seed=0):
    """Rows with these chances of being right."""
    rng = np.random.default_rng(seed)
    fast_right, slow_right = rng.random(len(scores)) < fast, rng.random(len(scores)) < slow
    agrees = np.where(fast_right & slow_right, True, (rng.random(len(scores)) < 0.2) & ~slow_right)
    return Outcomes(
        scores=scores,
        agrees=agrees & (fast_right == slow_right),
        fast_right=fast_right,
        slow_right=slow_right,
    )


def populations():
    """What measures may meet, kind ones and others."""
    rng = np.random.default_rng(11)
    scores = rng.random(20_000)
    ripple = np.clip(0.9 + 0.1 * np.sin(40 * scores), 0, 1)
    return {
        "calibrated": population(scores, scores, np.full(len(scores), 0.95)),
        "not monotone": population(scores, ripple, np.full(len(scores), 0.97)),
        "turned about": population(scores, 1 - scores, np.full(len(scores), 0.9)),
        "ties": population(np.round(scores * 4) / 4, np.round(scores * 4) / 4, scores * 0 + 0.95),
        "one score": population(scores * 0 + 0.7, scores * 0 + 0.9, scores * 0 + 0.95),
        "at the limit": population(scores, scores * 0 + 0.899, scores * 0 + 0.951),
        "all right": population(scores, scores * 0 + 1, scores * 0 + 1),
        "all wrong": population(scores * 0 + 1, scores * 0, scores * 0 + 1),
        "fast is better": population(scores, scores * 0 + 0.95, scores * 0 + 0.8),
    }


POPULATIONS = populations()


def truth(goal, whole, tau):
    """By how much the population passes the limit at τ; 0 or less is kept."""
    exits = whole.scores >= tau
    if goal.name == "slow-share":
        return 1.0 - exits.mean() - goal.limit
    harms = harms_of(goal.name, whole)[exits].sum()
    if goal.name in {"accuracy-within", "joint-risk"}:
        return harms / len(exits) - goal.limit
    limit = 1.0 - goal.limit if goal.name == "agreement" else goal.limit
    return harms / max(exits.sum(), 1) - limit


def draws(goal, whole, rows, count=DRAWS):
    """Selections from fresh rows, a third of which only make the candidates."""
    rng = np.random.default_rng(rows)
    for _ in range(count):
        drawn = whole.part(rng.integers(0, len(whole.scores), rows + rows // 2))
        fit, choose = drawn.part(np.arange(rows, len(drawn.scores))), drawn.part(np.arange(rows))
        yield select(goal, candidates(goal, fit, rows), choose)


@pytest.mark.slow
@pytest.mark.parametrize("kind", POPULATIONS)
@pytest.mark.parametrize(
    ("name", "rows"),
    [("selective-risk", 10), ("selective-risk", 200), ("agreement", 200), ("slow-share", 50)],
)
def test_a_promise_is_broken_with_at_most_delta(name, rows, kind):
    """Of a τ that was chosen; where none could be, nothing was promised."""
    goal = Goal(name=name, limit=LIMITS[name], confidence=1 - DELTA)
    whole = POPULATIONS[kind]
    found = [chosen.tau for chosen in draws(goal, whole, rows)]
    broken = [tau is not None and truth(goal, whole, tau) > 1e-9 for tau in found]

    assert np.mean(broken) <= ALLOWED


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "kind", ["calibrated", "not monotone", "ties", "at the limit", "one score"]
)
def test_accuracy_is_lost_with_at_most_delta(kind):
    """The cascade is less right than the slow model by more than the limit: rarely."""
    goal = Goal(name="accuracy-within", limit=0.05, confidence=1 - DELTA)
    whole = POPULATIONS[kind]
    found = [chosen.tau for chosen in draws(goal, whole, 60, count=60)]
    broken = [tau is not None and truth(goal, whole, tau) > 1e-9 for tau in found]

    assert np.mean(broken) <= DELTA + 3 * np.sqrt(DELTA * (1 - DELTA) / 60)


@pytest.mark.slow
@pytest.mark.parametrize("kind", POPULATIONS)
def test_the_joint_risk_holds_on_average(kind):
    """Over draws the mean of the population's risk at the τ that was chosen."""
    goal = Goal(name="joint-risk", limit=0.05)
    whole = POPULATIONS[kind]
    found = [chosen.tau for chosen in draws(goal, whole, 100)]
    risks = [0.0 if tau is None else truth(goal, whole, tau) + goal.limit for tau in found]

    assert np.mean(risks) <= goal.limit + 3 * np.std(risks) / np.sqrt(DRAWS)


ROWS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.7, 1.0]) | st.floats(0, 1), st.booleans()),
    min_size=2,
    max_size=30,
)


@given(ROWS, st.floats(0.0, 1.0))
def test_each_row_left_out_the_joint_risk_holds_exactly(rows, limit):
    """Conformal: chosen without a row and judged on it, the mean loss is at most the limit."""
    scores, harms = np.array([s for s, _ in rows]), np.array([h for _, h in rows])
    whole = Outcomes(scores=scores, agrees=~harms, fast_right=~harms, slow_right=harms | True)
    losses = 0
    for left_out in range(len(rows)):
        others = whole.part(np.arange(len(rows)) != left_out)
        tau = select(Goal(name="joint-risk", limit=limit), [], others).tau
        losses += tau is not None and scores[left_out] >= tau and harms[left_out]

    assert losses / len(rows) <= limit + 1e-6


@given(ROWS, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_a_wider_limit_never_raises_tau(rows, one, other):
    """Of the goals that look at no candidates: what is allowed more exits more."""
    scores, flags = np.array([s for s, _ in rows]), np.array([h for _, h in rows])
    whole = Outcomes(scores=scores, agrees=flags, fast_right=flags, slow_right=flags | True)
    narrow, wide = sorted((one, other))
    risks = [select(Goal(name="joint-risk", limit=x), [], whole).tau for x in (narrow, wide)]
    shares = [select(Goal(name="slow-share", limit=x), [], whole).tau for x in (narrow, wide)]

    falling = [2.0 if tau is None else tau for tau in risks]
    assert falling == sorted(falling, reverse=True)
    assert all(tau is not None for tau in shares)
    assert shares == sorted(shares, key=lambda tau: tau or 0.0)


@given(ROWS, st.sampled_from(["selective-risk", "agreement", "accuracy-within"]))
def test_candidates_fall_to_0_and_come_from_the_fit_alone(rows, name):
    """The sequence descends, and ends where everything exits."""
    scores, flags = np.array([s for s, _ in rows]), np.array([h for _, h in rows])
    fit = Outcomes(scores=scores, agrees=flags, fast_right=flags, slow_right=flags | True)
    goal = Goal(name=name, limit=0.9 if name == "agreement" else 0.1)
    sequence = candidates(goal, fit, 100)

    assert 0.0 == sequence[-1]
    assert all(high > low for high, low in itertools.pairwise(sequence))
    assert set(sequence) <= {0.0, *scores.tolist()}


@pytest.mark.parametrize("name", ["selective-risk", "agreement", "accuracy-within"])
def test_tests_stop_at_the_first_that_fails(name):
    """All but the last passed, and τ is the last that did."""
    goal = Goal(name=name, limit=LIMITS[name])
    for chosen in itertools.islice(draws(goal, POPULATIONS["calibrated"], 200), 10):
        passed = [test.p_value <= 0.05 for test in chosen.tested]

        assert all(passed[:-1])
        taus = [test.tau for test, ok in zip(chosen.tested, passed, strict=True) if ok]
        assert (taus[-1] if taus else None) == chosen.tau
        assert chosen.is_certified == bool(taus)
        assert (chosen.rows_needed is None) or not taus


@pytest.mark.slow
@pytest.mark.parametrize(("name", "limit"), [("selective-risk", 0.1), ("agreement", 0.8)])
def test_the_rows_that_are_said_to_do_would_do(name, limit):
    """In 7 of 10 draws or more of so many rows there is a τ."""
    goal = Goal(name=name, limit=limit)
    whole = POPULATIONS["calibrated"]
    short = [chosen for chosen in draws(goal, whole, 300, count=60) if chosen.tau is None]
    needed = int(np.median([chosen.rows_needed or np.inf for chosen in short]))
    enough = [chosen.tau is not None for chosen in draws(goal, whole, needed, count=60)]

    assert needed > 300
    assert np.mean(enough) >= 0.7


def test_accuracy_says_how_many_rows_would_do_too():
    """A loss of 1 point cannot be told with 100 rows; it can with as many as are said."""
    goal = Goal(name="accuracy-within", limit=0.01)
    whole = POPULATIONS["calibrated"]
    (short,) = draws(goal, whole, 100, count=1)
    enough = [chosen.tau is not None for chosen in draws(goal, whole, short.rows_needed, count=20)]

    assert short.tau is None
    assert np.mean(enough) >= 0.7


def test_what_no_number_of_rows_would_do_is_said():
    """All wrong; a limit of 0; a score of 1 that is too often wrong: None."""
    wrong = POPULATIONS["all wrong"].part(np.arange(200))
    right = POPULATIONS["all right"].part(np.arange(200))
    for name in GOALS[:4]:
        goal = Goal(name=name, limit=LIMITS[name])
        chosen = select(goal, candidates(goal, wrong, 200), wrong)

        assert (None, None) == (chosen.tau, chosen.rows_needed)
    for name in GOALS[1:3]:
        goal = Goal(name=name, limit=0.0)
        chosen = select(goal, candidates(goal, right, 200), right)

        assert (None, None) == (chosen.tau, chosen.rows_needed)
    few = select(Goal(name="joint-risk", limit=0.01), [], right.part(np.arange(10)))
    assert (None, 99) == (few.tau, few.rows_needed)


def test_agreement_and_the_share_of_slow_calls_need_no_labels():
    """The others refuse rows without, and all refuse no rows."""
    rows = POPULATIONS["calibrated"].part(np.arange(300))
    bare = Outcomes(scores=rows.scores, agrees=rows.agrees)
    none = bare.part(np.arange(0))
    for name in GOALS:
        goal = Goal(name=name, limit=LIMITS[name])
        assert goal.needs_labels == (name not in {"agreement", "slow-share"})
        if goal.needs_labels:
            with pytest.raises(DataError, match="needs labels"):
                select(goal, [0.5], bare)
        else:
            assert select(goal, [0.99], bare).rows == 300
        with pytest.raises(DataError, match="no rows"):
            select(goal, [0.5], none)
        with pytest.raises(DataError, match="no rows"):
            candidates(goal, none, 10)


@pytest.mark.parametrize(
    ("name", "limit", "confidence", "words"),
    [
        ("accuracy", 0.1, 0.9, "no goal 'accuracy'"),
        ("agreement", 1.1, 0.9, "from 0 to 1"),
        ("agreement", float("nan"), 0.9, "from 0 to 1"),
        ("agreement", 0.9, 1.0, "between 0 and 1"),
    ],
)
def test_a_goal_that_cannot_be_meant_is_refused(name, limit, confidence, words):
    """With a sentence."""
    with pytest.raises(ConfigError, match=words):
        Goal(name=name, limit=limit, confidence=confidence)


def test_the_curve_is_what_exits_do():
    """Columns of one length; what exits at the greatest τ is least; shares are shares."""
    rows = POPULATIONS["calibrated"].part(np.arange(500))
    columns = curve(rows)
    accept = [rate or 0.0 for rate in columns["accept_rate"]]

    assert {len(column) for column in columns.values()} == {len(columns["tau"])}
    assert 90 <= len(columns["tau"]) <= 103
    assert [0.0, 1.0] == [columns["tau"][0], columns["tau"][-1]]
    assert 1.0 == accept[0]
    assert accept == sorted(accept, reverse=True)
    assert columns["accuracy"][0] == pytest.approx(rows.fast_right.mean())
    assert columns["selective_risk"][-1] is None
    assert {"selective_risk", "accuracy"} == set(columns) - set(
        curve(Outcomes(scores=rows.scores, agrees=rows.agrees))
    )
