"""Measures with fitted numbers, and τ by class."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hunch.core.confidence import COUNTS, Measure
from hunch.core.fitting import EVIDENCE, ClassShift, fit_class_shift, fit_measure
from hunch.errors import DataError

SCORES = st.floats(0.0, 1.0)
OFFSETS = st.lists(st.one_of(st.just(0.0), st.floats(-500, 500)), min_size=1, max_size=5)


@given(OFFSETS, st.lists(SCORES, min_size=1, max_size=20), SCORES, st.data())
def test_the_table_is_the_shift(offsets, scores, tau, data):
    """Score ≥ table[label] iff shifted score ≥ τ, to the last bit, and all are in [0, 1]."""
    shift = ClassShift(tuple(offsets))
    rows = np.array(scores * len(offsets))
    labels = np.repeat(np.arange(len(offsets)), len(scores))
    shifted = shift.scores(rows, labels)
    tau = data.draw(st.sampled_from([tau, *shifted.tolist()]))
    table = shift.table(tau)

    assert (shifted >= tau).tolist() == (rows >= table[labels]).tolist()
    for values in (shifted, table):
        assert ((values >= 0.0) & (values <= 1.0)).all()


@given(st.floats(-500, 500), SCORES, SCORES)
def test_a_shift_keeps_the_order(offset, one, other):
    """Of two scores with one label the greater stays the greater, or they become equal."""
    low, high = ClassShift((offset,)).scores(np.array(sorted((one, other))), np.array([0, 0]))

    assert low <= high


@given(st.lists(SCORES, min_size=1), SCORES)
def test_without_offsets_the_common_tau_stays(scores, tau):
    """An offset of 0 changes no score and no τ."""
    shift = ClassShift((0.0, 0.0))

    assert scores == shift.scores(np.array(scores), np.zeros(len(scores), dtype=int)).tolist()
    assert [tau, tau] == shift.table(tau).tolist()


def some_rows(rows=3000):
    """Scores, fast labels and harms; label 0 is harmful, 1 is not, 2 has too few rows."""
    rng = np.random.default_rng(3)
    scores = rng.random(rows)
    labels = rng.integers(0, 2, rows)
    labels[: EVIDENCE - 1] = 2
    odds = np.log((1.0 - scores) / scores) - np.where(labels == 0, 0.0, 2.0)
    chances = 1.0 / (1.0 + np.exp(-odds))
    return scores, labels, rng.random(rows) < chances


def test_the_riskier_class_gets_the_higher_tau():
    """The common τ lies between; without evidence the common one counts."""
    scores, labels, harms = some_rows()
    harmful, harmless, unknown = fit_class_shift(scores, labels, harms, 3).table(0.8)

    assert harmless < unknown == 0.8 < harmful


def test_one_tau_means_about_the_same_risk_in_each_class():
    """At the margin of the exits: harms among shifted scores just above τ."""
    scores, labels, harms = some_rows(40_000)
    shifted = fit_class_shift(scores, labels, harms, 3).scores(scores, labels)
    margin = np.abs(shifted - 0.5) < 0.1
    risks = [harms[margin & (labels == label)].mean() for label in (0, 1)]

    assert risks[0] == pytest.approx(risks[1], abs=0.05)


def test_scores_that_tell_nothing_shift_no_class():
    """Where the risk does not fall with the score an offset has no meaning."""
    scores, labels, _ = some_rows()

    assert (0.0, 0.0, 0.0) == fit_class_shift(scores, labels, scores > 0.5, 3).offsets
    assert (0.0,) == fit_class_shift(scores[:9], labels[:9] * 0, scores[:9] > 0.5, 1).offsets


def outputs(rows=2000, labels=6):
    """Probabilities, energies, and what two models made of them, by chance."""
    rng = np.random.default_rng(5)
    logits = rng.normal(0.0, 2.0, (rows, labels)).astype(np.float32)
    weights = np.exp(logits)
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    fast_right = rng.random(rows) < probabilities.max(axis=1)
    slow_right = rng.random(rows) < 0.95
    known = {
        "fast_right": fast_right,
        "slow_right": slow_right,
        "agrees": fast_right & slow_right,
    }
    return probabilities, np.log(weights.sum(axis=1)).astype(np.float64), known


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("labels", [2, 3, 6])
def test_every_measure_can_be_fitted(name, labels):
    """Its scores tell exits that harm from others better than chance, for any k ≥ 2."""
    probabilities, energies, known = outputs(labels=labels)
    measure = fit_measure(name, probabilities, energies, **known)
    scores = measure.scores(probabilities, energies)
    harms = known["slow_right"] & ~known["fast_right"]

    assert name == measure.name
    assert scores[harms].mean() < scores[~harms].mean()


@pytest.mark.parametrize("name", ["mixture", "learned"])
def test_without_labels_agreement_is_learned(name):
    """Labels are not needed: then the score tells whether the two will agree."""
    probabilities, energies, known = outputs()
    measure = fit_measure(name, probabilities, energies, agrees=known["agrees"])
    scores = measure.scores(probabilities)

    assert scores[~known["agrees"]].mean() < scores[known["agrees"]].mean()


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("right", [True, False])
def test_rows_that_are_all_alike_are_survived(name, right):
    """One row, all right or all wrong, all of one kind: a measure comes out all the same."""
    row = np.full((3, 4), 0.25, dtype=np.float32)
    known = dict.fromkeys(("agrees", "fast_right", "slow_right"), np.full(3, right))
    known["slow_right"] = np.full(3, fill_value=True)
    scores = fit_measure(name, row, np.zeros(3), **known).scores(row, np.zeros(3))

    assert np.isfinite(scores).all()


def test_the_learned_score_is_a_probability():
    """1 - score is how often the slow model is right where the fast one is wrong."""
    probabilities, energies, known = outputs(rows=20_000)
    scores = fit_measure("learned", probabilities, energies, **known).scores(probabilities)
    harms = known["slow_right"] & ~known["fast_right"]
    for low in np.arange(0.2, 0.9, 0.1):
        rows = (scores >= low) & (scores < low + 0.1)
        assert 1 - scores[rows].mean() == pytest.approx(harms[rows].mean(), abs=0.06)


def test_what_cannot_be_fitted_is_refused():
    """No rows, and energy without logits: with a sentence."""
    probabilities, _, known = outputs()
    with pytest.raises(DataError, match="without rows"):
        fit_measure("learned", probabilities[:0], None, agrees=known["agrees"][:0])
    with pytest.raises(DataError, match="needs logits"):
        fit_measure("energy", probabilities, None, agrees=known["agrees"])
    assert Measure("margin") == fit_measure("margin", probabilities, None, agrees=known["agrees"])
