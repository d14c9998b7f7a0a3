"""Temperatures and calibration errors."""

import numpy as np
import pytest

from hunch.core.calibration import (
    COLDEST,
    expected_calibration_error,
    fit_temperature,
    reliability,
)
from hunch.errors import DataError


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_put_in_comes_out(temperature):
    """Labels drawn from softmax(s / T) lead back to T."""
    rng = np.random.default_rng(7)
    scores = rng.normal(0.0, 3.0, (20_000, 5))
    noise = rng.gumbel(size=scores.shape)
    labels = (scores / temperature + noise).argmax(axis=1)

    assert temperature == pytest.approx(fit_temperature(scores, labels), rel=0.04)


def test_a_probability_of_0_for_the_right_label_is_survived():
    """Its logarithm is taken to be finite, so that one such row does not decide alone."""
    scores = np.log(np.maximum(np.array([[1.0, 0.0], [0.8, 0.2], [0.3, 0.7]]), 1e-300))
    scores[0, 1] = -np.inf

    assert np.isfinite(fit_temperature(scores, np.array([1, 0, 1])))


def test_labels_that_are_all_right_lead_to_the_coldest():
    """What cannot be certain enough stops at a bound."""
    scores = np.array([[2.0, 0.0], [0.0, 2.0]])

    assert COLDEST <= fit_temperature(scores, np.array([0, 1])) < 1.2 * COLDEST


def test_the_error_of_a_hand_made_example():
    """Two bins: 0.9 said and half right, 0.3 said and all right; (0.4 · 2 + 0.7 · 1) / 3."""
    confidence = np.array([0.9, 0.9, 0.3])
    correct = np.array([True, False, True])
    bins = reliability(confidence, correct, bins=10)

    assert 0.5 == pytest.approx(expected_calibration_error(confidence, correct, bins=10))
    assert [[1, 2], [1.0, 0.5]] == [bins.rows.tolist(), bins.accuracy.tolist()]
    assert [0.3, 0.9] == pytest.approx(bins.confidence.tolist())


def test_the_edges_of_confidence_have_a_bin():
    """0 and 1 are counted, in the first bin and the last."""
    bins = reliability(np.array([0.0, 1.0]), np.array([False, True]))

    assert [0.0, 1.0] == bins.confidence.tolist()
    assert 0.0 == expected_calibration_error(np.array([0.0, 1.0]), np.array([False, True]))


def test_no_rows_and_nan_are_refused():
    """With a sentence."""
    none = np.zeros(0)
    with pytest.raises(DataError, match="at least one labelled row"):
        fit_temperature(np.zeros((0, 3)), none.astype(int))
    with pytest.raises(DataError, match="NaN"):
        fit_temperature(np.array([[np.nan, 1.0]]), np.array([0]))
    with pytest.raises(DataError, match="at least one row"):
        expected_calibration_error(none, none.astype(bool))
