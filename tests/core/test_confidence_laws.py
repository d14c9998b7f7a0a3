"""Laws of the confidence measures, over any probabilities of any number of labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hunch.core.confidence import COUNTS, MAX_PROBABILITY, Measure, features, max_probability
from hunch.errors import ConfigError

NUMBERS = {"energy": (3.0, 2.0), "mixture": (0.2, 0.5, 0.3)}
SHAPES = st.tuples(st.integers(0, 6), st.integers(2, 9))


def measure(name, labels):
    """A measure with numbers that fit a model of so many labels."""
    weights = (0.5, *np.linspace(-1.0, 1.0, min(labels, 4) + 1).tolist())
    return Measure(name, weights if name == "learned" else NUMBERS.get(name, ()))


@st.composite
def rows(draw):
    """Probabilities [n, k], rows with ties, zeros and ones among them."""
    weights = draw(arrays.arrays(np.float32, SHAPES, elements=st.floats(0, 8, width=32)))
    weights[weights.sum(axis=1) == 0] = 1.0
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def energies(probabilities):
    """Some energies for as many rows."""
    return np.linspace(-2e3, 2e3, len(probabilities))


@pytest.mark.parametrize("name", COUNTS)
@given(rows())
def test_scores_lie_between_0_and_1(name, probabilities):
    """Whatever the row, its score is a number in [0, 1]."""
    scores = measure(name, probabilities.shape[1]).scores(probabilities, energies(probabilities))

    assert (len(probabilities),) == scores.shape
    assert np.float64 == scores.dtype
    assert ((scores >= 0.0) & (scores <= 1.0)).all()


@pytest.mark.parametrize("name", COUNTS)
@given(rows(), st.randoms(use_true_random=False))
def test_the_order_of_labels_does_not_matter(name, probabilities, random):
    """No measure depends on which label is which, so ties need no rule."""
    labels = probabilities.shape[1]
    order = list(range(labels))
    random.shuffle(order)
    one, other = (
        measure(name, labels).scores(some, energies(some))
        for some in (probabilities, probabilities[:, order])
    )

    assert one == pytest.approx(other, abs=1e-12)


@pytest.mark.parametrize("name", COUNTS)
@given(rows())
def test_a_row_with_nan_scores_0_and_spoils_no_other(name, probabilities):
    """A NaN in a row, or as its energy, is a score of 0; the other rows keep theirs."""
    known = measure(name, probabilities.shape[1])
    spoilt = np.concatenate([probabilities, probabilities])
    spoilt[: len(probabilities), -1] = np.nan
    both = np.concatenate([np.full(len(probabilities), np.nan), energies(probabilities)])
    scores = known.scores(spoilt, both)

    assert [0.0] * len(probabilities) == scores[: len(probabilities)].tolist()
    alone = known.scores(probabilities, energies(probabilities))
    assert alone.tolist() == scores[len(probabilities) :].tolist()


@given(rows())
def test_max_probability_is_exact(probabilities):
    """It is the largest probability to the last bit, in the wider type."""
    exact = [float(row.max()) for row in probabilities]

    assert exact == MAX_PROBABILITY.scores(probabilities).tolist()
    assert exact == max_probability(probabilities).tolist()


@pytest.mark.parametrize("name", ["margin", "entropy", "mixture"])
def test_certain_rows_score_1_and_even_rows_0(name):
    """All on one label is 1, the same on each is 0, for any number of labels."""
    for labels in (2, 3, 77):
        certain = np.eye(labels, dtype=np.float32)[:1]
        even = np.full((1, labels), 1.0 / labels, dtype=np.float32)

        assert [1.0, pytest.approx(0.0, abs=1e-6)] == [
            float(measure(name, labels).scores(row)[0]) for row in (certain, even)
        ]


@given(rows())
def test_with_two_labels_two_signals_of_the_mixture_are_one(probabilities):
    """tanh(log(P1 / P2) / 2) is P1 - P2 for k = 2."""
    two = probabilities[:, :2]
    two = two[two.sum(axis=1) > 0]
    two = (two / two.sum(axis=1, keepdims=True)).astype(np.float32)
    ratio, margin = (Measure("mixture", w).scores(two) for w in ((0, 1, 0), (0, 0, 1)))

    assert ratio == pytest.approx(margin, abs=1e-6)


def test_learned_sees_the_sorted_probabilities():
    """Log odds of the best, log ratios to the next ones, and the certainty."""
    (row,) = features(np.array([[0.25, 0.5, 0.25]], dtype=np.float32))

    entropy = 1.5 * np.log(2)
    assert [0.0, np.log(2), np.log(2), 1 - entropy / np.log(3)] == pytest.approx(row.tolist())


@pytest.mark.parametrize(
    ("name", "numbers", "words"),
    [
        ("softmax", (), "no confidence measure 'softmax'"),
        ("margin", (1.0,), "must have 0"),
        ("energy", (1.0,), "must have 2"),
        ("energy", (1.0, 0.0), "above 0"),
        ("energy", (float("nan"), 1.0), "not finite"),
        ("mixture", (0.5, 0.6, -0.1), "sum 1"),
        ("mixture", (0.5, 0.6, 0.1), "sum 1"),
        ("learned", (1.0,), "must have 4 or 5 or 6"),
    ],
)
def test_a_measure_that_cannot_be_meant_is_refused(name, numbers, words):
    """With a sentence that says what is wrong."""
    with pytest.raises(ConfigError, match=words):
        Measure(name, numbers)


def test_a_measure_of_another_model_is_refused():
    """Energy without logits, and learned with another number of labels."""
    rows = np.full((1, 9), 1 / 9, dtype=np.float32)

    with pytest.raises(ConfigError, match="needs logits"):
        Measure("energy", (0, 1)).scores(rows)
    with pytest.raises(ConfigError, match="another number of labels"):
        Measure("learned", (0, 1, 1, 1)).scores(rows)
