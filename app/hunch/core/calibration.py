"""Temperatures, and how far a confidence is from the share of right answers (Guo et al. 2017)."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from hunch.errors import DataError

COLDEST, HOTTEST = 0.05, 20.0
"""Between these a temperature is sought; labels that are all right would want 0."""
LOWEST = -100.0
"""Below the best log score of its row none is taken to lie lower: a probability of 0 is finite."""
BINS = 15


class Reliability(NamedTuple):
    """Bins of confidence, of equal width, those without a row left out; columns of equal length.

    Attributes:
        confidence: the mean in each bin.
        accuracy: the share of right answers in it.
        rows: how many fell into it.
    """

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    rows: NDArray[np.int64]


def fit_temperature(log_scores: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """The T at which softmax(s / T) makes the right labels the most likely.

    Args:
        log_scores: [n, k], logits or logarithms of probabilities.
        labels: [n], the right column of each row.

    Raises `DataError` without rows, with scores that are NaN or infinite (but for the logarithm of
    0), or with a label that is no column.
    """
    if not len(labels):
        raise DataError("A temperature needs at least one labelled row.")
    centred = log_scores.astype(np.float64)
    if not np.isfinite(centred.max(axis=1)).all():
        raise DataError("A temperature cannot be fitted to outputs that are NaN or infinite.")
    if labels.min() < 0 or labels.max() >= centred.shape[1]:
        raise DataError("A temperature cannot be fitted to a label that is none of the model's.")
    centred = np.maximum(centred - centred.max(axis=1, keepdims=True), LOWEST)
    right = centred[np.arange(len(labels)), labels]

    def loss(log_temperature: float) -> float:
        temperature = math.exp(log_temperature)
        totals = np.log(np.exp(centred / temperature).sum(axis=1))
        return float((totals - right / temperature).mean())

    bounds = math.log(COLDEST), math.log(HOTTEST)
    return math.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x)


def reliability(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = BINS
) -> Reliability:
    """How often answers of about the same confidence are right."""
    of_row = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    rows = np.bincount(of_row, minlength=bins)
    kept = rows > 0
    sums = [np.bincount(of_row, weights=values, minlength=bins) for values in (confidence, correct)]
    means = [total[kept] / rows[kept] for total in sums]
    return Reliability(confidence=means[0], accuracy=means[1], rows=rows[kept])


def expected_calibration_error(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = BINS
) -> float:
    """Σ (rows of the bin / rows) |accuracy - confidence|; raises `DataError` without rows."""
    if not len(confidence):
        raise DataError("A calibration error needs at least one row.")
    found = reliability(confidence, correct, bins)
    gaps = np.abs(found.accuracy - found.confidence)
    return float(gaps @ found.rows / found.rows.sum())
