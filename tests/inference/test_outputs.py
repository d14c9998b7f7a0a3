"""Outputs become calibrated probabilities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hunch.errors import ModelError
from hunch.inference.outputs import as_scores
from hunch.inference.outputs import calibrated as calibrated_with_energies

shapes = st.tuples(st.integers(1, 5), st.integers(2, 6))
logits = shapes.flatmap(
    lambda shape: hnp.arrays(np.float32, shape, elements=st.floats(-80, 80, width=32))
)
temperatures = st.floats(0.1, 10)


def calibrated(scores, kind, temperature):
    """The probabilities alone."""
    return calibrated_with_energies(scores, kind, temperature)[0]


@given(logits, temperatures)
def test_rows_sum_to_one(scores, temperature):
    """Every row is a probability distribution, whatever the temperature."""
    probabilities = calibrated(scores, "logits", temperature)

    assert probabilities.dtype == np.float32
    assert (probabilities >= 0).all()
    assert probabilities.sum(axis=1) == pytest.approx(1.0, abs=1e-5)


@given(logits, temperatures)
def test_temperature_keeps_the_best_label(scores, temperature):
    """The label with the highest logit keeps the highest probability."""
    probabilities = calibrated(scores, "logits", temperature)
    rows = np.arange(len(scores))

    assert (probabilities[rows, scores.argmax(axis=1)] == probabilities.max(axis=1)).all()


@given(logits, temperatures)
def test_logits_and_their_probabilities_are_calibrated_alike(scores, temperature):
    """softmax(log p / T) is softmax(logits / T) where p is the softmax of the logits."""
    scores = scores / 8
    from_logits = calibrated(scores, "logits", temperature)
    plain = calibrated(scores, "logits", 1.0)

    assert calibrated(plain, "probabilities", temperature) == pytest.approx(from_logits, abs=1e-4)


@given(logits)
def test_higher_temperature_is_less_sure(scores):
    """The best probability falls as the temperature rises."""
    best = [calibrated(scores, "logits", t).max(axis=1) for t in (0.5, 1.0, 2.0)]

    assert (best[0] >= best[1] - 1e-6).all()
    assert (best[1] >= best[2] - 1e-6).all()


def test_probabilities_at_temperature_one_are_taken_as_they_are():
    """A model's own probabilities are not computed anew."""
    own = np.array([[0.1, 0.9], [0.3, 0.7]], np.float32)

    assert own.tolist() == calibrated(own, "probabilities", 1.0).tolist()


def test_impossible_label_stays_impossible():
    """A probability of 0 is 0 at any temperature."""
    certain = np.array([[0.0, 1.0]], np.float32)

    assert [[0.0, 1.0]] == calibrated(certain, "probabilities", 2.0).tolist()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["logits", "probabilities"])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_row_without_an_answer_is_nan_and_the_others_are_not(bad, kind, temperature):
    """One bad number makes its own row NaN and no other."""
    scores = np.array([[0.2, 0.8], [bad, 0.5]], np.float32)
    probabilities = calibrated(scores, kind, temperature)

    assert [False, True] == np.isnan(probabilities).all(axis=1).tolist()


def test_maps_become_columns_in_the_order_of_the_labels():
    """A ZipMap output is read by label, also where the labels are numbers there."""
    rows = [{1: 0.25, 0: 0.75}, {0: 0.5, 1: 0.5}]

    assert [[0.75, 0.25], [0.5, 0.5]] == as_scores(rows, ("0", "1"), "m@1").tolist()


def test_maps_with_other_labels_are_refused():
    """A ZipMap output that names other labels does not fit."""
    with pytest.raises(ModelError, match=r"\['a', 'b'\] and not .* \['a', 'c'\]"):
        as_scores([{"a": 0.5, "b": 0.5}], ("a", "c"), "m@1")


@pytest.mark.parametrize("shape", [(2, 3), (2,), (2, 1, 2)])
def test_output_of_another_width_is_refused(shape):
    """The output must have one column for each label."""
    with pytest.raises(ModelError, match="2 labels and an output of shape"):
        as_scores(np.zeros(shape, np.float32), ("a", "b"), "m@1")


@given(logits, temperatures)
def test_energies_are_the_soft_maximum_of_the_logits(scores, temperature):
    """T · log Σ exp(s / T) lies between the highest logit and T · log k above it."""
    _, energies = calibrated_with_energies(scores, "logits", temperature)
    highest, room = scores.max(axis=1), temperature * np.log(scores.shape[1])

    assert (energies >= highest - 1e-3).all()
    assert (energies <= highest + room + 1e-3).all()


def test_probabilities_have_no_energies():
    """What was normalised has lost them."""
    own = np.array([[0.1, 0.9]], np.float32)

    assert calibrated_with_energies(own, "probabilities", 1.0)[1] is None
    assert calibrated_with_energies(own, "probabilities", 2.0)[1] is None
