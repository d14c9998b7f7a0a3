"""Measures whose numbers are fitted, and τ by class: both from rows that have no other part."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hunch.core.confidence import Measure, features, signals
from hunch.core.regression import fit_regression, log_odds, standardised
from hunch.errors import DataError

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
RIDGE = 1.0
"""How strongly weights are held near 0, as the inverse variance of a normal prior; of columns that
are standardised."""
CLASS_RIDGE = 2.0
"""The same of the offsets of classes."""
EVIDENCE = 20
"""A class with fewer rows keeps the common τ."""
STEEPEST = 100.0
"""The largest weight of a signal before the three are made to sum to 1."""
FARTHEST = 20.0
"""What an offset may be at most: of what lies farther all exits, or nothing."""
UNUSED = 1e-6
"""Below this a weight of the mixture is none."""


def fit_measure(
    name: str,
    probabilities: NDArray[np.float32],
    energies: Floats | None,
    *,
    agrees: Flags,
    fast_right: Flags | None = None,
    slow_right: Flags | None = None,
) -> Measure:
    """The measure of that name with numbers that fit.

    Args:
        name: of `hunch.core.confidence`.
        probabilities: [n, k] of the fast model, temperature applied.
        energies: [n], where its outputs are logits.
        agrees: whether both models have the same best label.
        fast_right: with labels; what is learned is then "slow right and fast wrong", else
            "the two disagree".
        slow_right: with labels.

    Rows that are not finite have no part in it. Raises `DataError` without any other rows, or
    without energies for the measure that needs them.
    """
    harms = ~agrees
    if fast_right is not None and slow_right is not None:
        harms = slow_right & ~fast_right
    is_finite = np.isfinite(probabilities).all(axis=1)
    if energies is not None:
        is_finite &= np.isfinite(energies)
        energies = energies[is_finite]
    probabilities, harms = probabilities[is_finite], harms[is_finite]
    if not len(probabilities):
        raise DataError("A confidence measure cannot be fitted without rows.")
    match name:
        case "energy":
            return Measure(name, _spread(energies))
        case "mixture":
            return Measure(name, _mixture(signals(probabilities), harms))
        case "learned":
            columns, centre, scale = standardised(features(probabilities))
            found = fit_regression(columns, harms, RIDGE)
            weights = found.weights / scale
            return Measure(name, (float(found.bias - weights @ centre), *weights.tolist()))
        case _:
            return Measure(name)


@dataclass(frozen=True, slots=True)
class ClassShift:
    """A τ for each fast label out of one number, so that one number is what is tested.

    Attributes:
        offsets: [k], what is added to the log odds of the score by fast label; 0 leaves it.
    """

    offsets: tuple[float, ...]

    def scores(self, scores: Floats, fast_labels: NDArray[np.intp]) -> Floats:
        """[n] shifted scores, in [0, 1]; 0 and 1 stay."""
        return _shifted(scores, np.array(self.offsets)[fast_labels])

    def table(self, tau: float) -> Floats:
        """[k]: τ of each label, so that score ≥ table[label] iff shifted score ≥ tau.

        Each is the least number for which that is so: numbers in [0, 1] are in the order of their
        bits, and the shift keeps their order, so that it is found by bisection.
        """
        offsets = np.array(self.offsets)
        low = np.zeros(len(offsets), dtype=np.int64)
        high = np.ones(len(offsets)).view(np.int64)
        while (low < high).any():
            middle = (low + high) // 2
            is_enough = _shifted(middle.view(np.float64), offsets) >= tau
            low, high = np.where(is_enough, low, middle + 1), np.where(is_enough, middle, high)
        return low.view(np.float64)


def fit_class_shift(
    scores: Floats, fast_labels: NDArray[np.intp], harms: Flags, labels: int
) -> ClassShift:
    """Offsets by which one τ means the same risk in every class.

    The log odds of a harm are taken to be a line in the log odds of the score, moved up or down by
    class; the classes' moves are held near 0, the more so the fewer rows they have. In units of the
    score they are the offsets.

    Args:
        scores: [n], in [0, 1].
        fast_labels: [n], the column of the fast answer.
        harms: [n], whether an exit of that row is what the goal counts against it.
        labels: k.
    """
    counted = np.bincount(fast_labels, minlength=labels) >= EVIDENCE
    classes = np.flatnonzero(counted)
    if not len(classes):
        return ClassShift((0.0,) * labels)
    odds, _, scale = standardised(log_odds(scores)[:, None])
    is_class = (fast_labels[:, None] == classes[None, :]).astype(np.float64)
    ridges = np.array([RIDGE] + [CLASS_RIDGE] * len(classes))
    found = fit_regression(np.concatenate([odds, is_class], axis=1), harms, ridges)
    slope = found.weights[0] / scale[0]
    offsets = np.zeros(labels)
    if slope < 0.0:
        offsets[classes] = np.clip(found.weights[1:] / slope, -FARTHEST, FARTHEST)
    return ClassShift(tuple(offsets.tolist()))


def _shifted(scores: Floats, offsets: Floats) -> Floats:
    """The score whose log odds are greater by the offset.

    1 / (1 + ((1 - s) / s) exp(-o)), step by step in an order in which rounding never turns two
    scores about.
    """
    with np.errstate(divide="ignore", over="ignore"):
        against = (1.0 - scores) / scores * np.exp(-offsets)
        shifted: Floats = np.where(offsets == 0.0, scores, 1.0 / (1.0 + against))
    return shifted


def _mixture(columns: Floats, harms: Flags) -> tuple[float, ...]:
    """Weights of the three signals, 0 or more, their sum 1: those that tell harms best."""
    found = fit_regression(-columns, harms, 0.0, bounds=(0.0, STEEPEST))
    weights = found.weights
    weights[weights < UNUSED] = 0.0
    total = float(weights.sum())
    return tuple((weights / total).tolist()) if total else (1 / 3, 1 / 3, 1 / 3)


def _spread(energies: Floats | None) -> tuple[float, float]:
    """The median, and half of what the middle half spans: no score lies where 1 is rounded to."""
    if energies is None:
        raise DataError(
            "The measure energy needs logits, and the fast model puts out probabilities: choose "
            "another measure."
        )
    low, centre, high = np.quantile(energies, [0.25, 0.5, 0.75])
    spread = (high - low) / 2.0
    return float(centre), float(spread) if math.isfinite(spread) and spread > 0 else 1.0
