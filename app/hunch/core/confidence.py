"""Confidence measures: from a model's probabilities to one score in [0, 1] a row."""

import numpy as np
from numpy.typing import NDArray


def max_probability(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """The probability of the best label of each row: [n, k] → [n], exact in float64."""
    scores: NDArray[np.float64] = probabilities.max(axis=1).astype(np.float64)
    return scores


from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measure:
    """Placeholder until the core's branch is merged."""

    name: str
    numbers: tuple[float, ...] = ()

    def scores(
        self, probabilities: NDArray[np.float32], energies: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Placeholder."""
        return max_probability(probabilities)


MAX_PROBABILITY = Measure("max_probability")
