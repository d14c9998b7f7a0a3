"""Measures whose numbers are fitted, and τ by class: both from rows that have no other part."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hunch.core.confidence import Measure

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


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
    """
    return Measure(name)


@dataclass(frozen=True, slots=True)
class ClassShift:
    """A τ for each fast label out of one number, so that one number is what is tested.

    Attributes:
        offsets: [k], what is added to the log odds of the score by fast label; 0 leaves it.
    """

    offsets: tuple[float, ...]

    def scores(self, scores: Floats, fast_labels: NDArray[np.intp]) -> Floats:
        """[n] shifted scores, in [0, 1]."""
        return scores

    def table(self, tau: float) -> Floats:
        """[k]: τ of each label, so that score ≥ table[label] iff shifted score ≥ tau."""
        return np.full(len(self.offsets), tau)


def fit_class_shift(
    scores: Floats, fast_labels: NDArray[np.intp], harms: Flags, labels: int
) -> ClassShift:
    """Offsets by which one τ means the same risk in every class.

    Args:
        scores: [n], in [0, 1].
        fast_labels: [n], the column of the fast answer.
        harms: [n], whether an exit of that row is what the goal counts against it.
        labels: k.
    """
    return ClassShift((0.0,) * labels)
