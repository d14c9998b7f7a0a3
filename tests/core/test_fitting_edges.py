"""What is fitted to odd rows is usable or refused in a sentence, and the same in any batch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hunch.core.calibration import fit_temperature
from hunch.core.confidence import Measure
from hunch.core.fitting import FARTHEST, fit_class_shift, fit_measure
from hunch.core.selection import Goal, Outcomes, candidates, curve
from hunch.errors import DataError

seeds = st.integers(0, 10_000)


def rows(seed, labels, count=60):
    """Probabilities, energies, and which rows agree, are right and are right with the slow one."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(labels, 0.3), count).astype(np.float32)
    flags = [rng.random(count) < share for share in (0.8, 0.7, 0.9)]
    return probabilities, rng.normal(size=count), *flags


def fitted(name, seed, labels):
    """A measure fitted to such rows, and their probabilities and energies."""
    probabilities, energies, agrees, fast_right, slow_right = rows(seed, labels)
    columns = {"agrees": agrees, "fast_right": fast_right, "slow_right": slow_right}
    return fit_measure(name, probabilities, energies, **columns), probabilities, energies


@given(
    st.sampled_from(["margin", "entropy", "energy", "mixture", "learned"]), seeds, st.integers(2, 9)
)
def test_a_row_scores_the_same_in_any_batch(name, seed, labels):
    """To the last bit: τ may be a score that was seen, and an exit must not hang on its batch."""
    measure, probabilities, energies = fitted(name, seed, labels)
    whole = measure.scores(probabilities, energies)
    alone = [
        measure.scores(probabilities[row : row + 1], energies[row : row + 1])[0]
        for row in range(len(probabilities))
    ]

    assert alone == whole.tolist()


@given(st.sampled_from(["energy", "mixture", "learned"]), seeds)
def test_rows_that_are_not_finite_have_no_part_in_a_fit(name, seed):
    """A model that once put out NaN can be fitted, to the other rows."""
    probabilities, energies, agrees, fast_right, slow_right = rows(seed, 4)
    odd = np.arange(len(energies)) % 7 == 3
    with_nan = np.where(odd[:, None], np.float32(np.nan), probabilities)
    found = fit_measure(
        name, with_nan, energies, agrees=agrees, fast_right=fast_right, slow_right=slow_right
    )
    others = fit_measure(
        name,
        probabilities[~odd],
        energies[~odd],
        agrees=agrees[~odd],
        fast_right=fast_right[~odd],
        slow_right=slow_right[~odd],
    )

    assert others == found


@given(seeds)
def test_the_shift_of_a_class_is_bounded(seed):
    """Where the score says next to nothing, noise does not move a class out of sight."""
    rng = np.random.default_rng(seed)
    scores, harms = rng.random(80), rng.random(80) < 0.1
    shift = fit_class_shift(scores, rng.integers(0, 2, 80), harms, 2)
    moved = shift.scores(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0, 1, 0, 1]))

    assert max(map(abs, shift.offsets)) <= FARTHEST
    assert [0.0, 0.0, 1.0, 1.0] == moved.tolist()


@pytest.mark.parametrize(
    ("scores", "label", "said"),
    [([np.nan, 0.0], 0, "NaN"), ([np.inf, 0.0], 0, "infinite"), ([1.0, 0.0], -1, "label")],
)
def test_a_temperature_of_odd_rows_is_refused(scores, label, said):
    """NaN, infinity and a label that is no column give a sentence, not a number."""
    with pytest.raises(DataError, match=said):
        fit_temperature(np.array([scores]), np.array([label]))


def test_a_probability_of_zero_is_no_obstacle():
    """The logarithm of 0 counts as very small."""
    assert np.isfinite(fit_temperature(np.log(np.array([[0.9, 0.1]])), np.array([1])))
    with np.errstate(divide="ignore"):
        scores = np.log(np.array([[1.0, 0.0], [0.2, 0.8]]))

    assert np.isfinite(fit_temperature(scores, np.array([1, 1])))


def test_a_measure_of_no_rows_has_no_scores():
    """An empty batch is an empty column."""
    assert 0 == len(Measure("margin").scores(np.zeros((0, 3), np.float32)))


def test_no_rows_are_a_sentence():
    """Neither candidates nor a curve can come of nothing."""
    nothing = Outcomes(scores=np.zeros(0), agrees=np.zeros(0, dtype=bool))

    with pytest.raises(DataError, match="no rows"):
        candidates(Goal(name="agreement", limit=0.9), nothing, 10)
    with pytest.raises(DataError, match="no rows"):
        curve(nothing)
