"""Confidence measures: from a model's probabilities to one score in [0, 1] a row.

    max_probability   P1, the probability of the best label
    margin            P1 - P2, of the best and the second
    entropy           1 - H / log k, where H = -Σ p log p
    energy            1 / (1 + exp(-(E - centre) / scale)), where E = T log Σ exp(logits / T)
                      (Liu et al. 2020, "Energy-based out-of-distribution detection")
    mixture           w · (entropy, tanh(log(P1 / P2) / 2), margin), weights on the simplex
                      (Sen et al. 2025, "Confidence-modulated speculative decoding", with the sign
                      of the entropy turned: as printed it is an uncertainty)
    learned           1 - P(slow right and fast wrong), a logistic model on the sorted probabilities
                      (a post-hoc rule as in Jitkrittum et al. 2023, arXiv 2307.02764)

A row with NaN scores 0. Equal probabilities need no rule: no measure depends on which of them is
called the best.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hunch.errors import ConfigError

TOP = 4
"""The learned measure looks at so many of the largest probabilities, fewer where k is smaller."""
LEAST = 1e-7
"""What it takes a smaller probability for: float32 tells no less from 1."""
COUNTS = {
    "max_probability": (0,),
    "margin": (0,),
    "entropy": (0,),
    "energy": (2,),
    "mixture": (3,),
    "learned": tuple(range(4, TOP + 3)),
}
"""Measure → how many numbers it may have."""
Floats = NDArray[np.float64]


def max_probability(probabilities: NDArray[np.float32]) -> Floats:
    """The probability of the best label of each row: [n, k] → [n], exact in float64."""
    scores: Floats = probabilities.max(axis=1).astype(np.float64)
    return scores


@dataclass(frozen=True, slots=True)
class Measure:
    """How sure the fast model is of its answer, from what it puts out.

    Attributes:
        name: one of those above.
        numbers: of energy (centre, scale > 0), of mixture the three weights, of learned the bias
            and a weight for each column of `features`; none for the others.
    """

    name: str
    numbers: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Raises `ConfigError` for what cannot be meant."""
        if self.name not in COUNTS:
            raise ConfigError(
                f"There is no confidence measure {self.name!r}: use one of {', '.join(COUNTS)}."
            )
        if len(self.numbers) not in COUNTS[self.name]:
            wanted = " or ".join(map(str, COUNTS[self.name]))
            raise ConfigError(
                f"The measure {self.name} has {len(self.numbers)} numbers, but it must have "
                f"{wanted}: calibrate it again."
            )
        if not all(map(math.isfinite, self.numbers)):
            raise ConfigError(f"The measure {self.name} has a number that is not finite.")
        if self.name == "energy" and self.numbers[1] <= 0:
            raise ConfigError("The second number of the measure energy must be above 0.")
        if self.name == "mixture" and (
            min(self.numbers) < 0 or not math.isclose(sum(self.numbers), 1.0, abs_tol=1e-6)
        ):
            raise ConfigError("The numbers of the measure mixture must be 0 or more, their sum 1.")

    def require(self, labels: int, *, has_logits: bool) -> None:
        """Raises `ConfigError` where it cannot be taken of a model with so many labels.

        Args:
            labels: k ≥ 2.
            has_logits: whether the model puts out logits, and not probabilities.
        """
        if self.name == "energy" and not has_logits:
            raise _no_logits()
        if self.name == "learned" and len(self.numbers) != min(labels, TOP) + 2:
            raise _other_labels()

    def scores(self, probabilities: NDArray[np.float32], energies: Floats | None = None) -> Floats:
        """The score of each row, in [0, 1].

        Args:
            probabilities: [n, k], k ≥ 2, temperature applied.
            energies: [n], for the measure that needs them.

        Raises `ConfigError` where the energies are missing, or where the numbers were fitted to a
        model with fewer labels or more.
        """
        match self.name:
            case "max_probability":
                raw = max_probability(probabilities)
            case "margin":
                first, second = _two_largest(probabilities)
                raw = first - second
            case "entropy":
                raw = _certainty(probabilities)
            case "energy":
                raw = self._of_energies(energies)
            case "mixture":
                raw = _weighted(signals(probabilities), self.numbers)
            case _:
                raw = self._learned(probabilities)
        if len(raw) and not math.isfinite(float(raw.sum())):
            raw = np.nan_to_num(raw, nan=0.0)
        scores: Floats = np.clip(raw, 0.0, 1.0)
        return scores

    def _of_energies(self, energies: Floats | None) -> Floats:
        if energies is None:
            raise _no_logits()
        centre, scale = self.numbers
        return logistic((energies - centre) / scale)

    def _learned(self, probabilities: NDArray[np.float32]) -> Floats:
        columns = features(probabilities)
        bias, *weights = self.numbers
        if len(weights) != columns.shape[1]:
            raise _other_labels()
        return logistic(-(_weighted(columns, weights) + bias))


MAX_PROBABILITY = Measure("max_probability")


def _no_logits() -> ConfigError:
    return ConfigError(
        "The measure energy needs logits, and the fast model puts out probabilities: choose "
        "another measure."
    )


def _other_labels() -> ConfigError:
    return ConfigError(
        "The measure learned was fitted to a model with another number of labels: calibrate it "
        "again."
    )


def logistic(values: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow."""
    found: Floats = 0.5 * (1.0 + np.tanh(0.5 * values))
    return found


def signals(probabilities: NDArray[np.float32]) -> Floats:
    """What the mixture is of: entropy, the tanh of half the log ratio, margin; [n, 3], in [0, 1].

    tanh(log(P1 / P2) / 2) is (P1 - P2) / (P1 + P2).
    """
    first, second = _two_largest(probabilities)
    margin, both = first - second, first + second
    ratio = np.divide(margin, both, out=np.zeros_like(both), where=both > 0)
    return np.stack([_certainty(probabilities), ratio, margin], axis=1)


def features(probabilities: NDArray[np.float32]) -> Floats:
    """What the learned measure sees of each row; [n, m + 1] with m = min(k, 4).

    The log odds of the best label; the log of its ratio to each of the next m - 1; the entropy, as
    1 - H / log k.
    """
    top = min(probabilities.shape[1], TOP)
    largest = np.partition(probabilities, range(-top, 0), axis=1)[:, : -top - 1 : -1]
    logs = np.log(np.maximum(largest.astype(np.float64), LEAST))
    odds = logs[:, :1] - np.log(np.maximum(1.0 - largest[:, :1].astype(np.float64), LEAST))
    ratios = logs[:, :1] - logs[:, 1:]
    return np.concatenate([odds, ratios, _certainty(probabilities)[:, None]], axis=1)


def _two_largest(probabilities: NDArray[np.float32]) -> tuple[Floats, Floats]:
    largest = np.partition(probabilities, (-2, -1), axis=1).astype(np.float64)
    return largest[:, -1], largest[:, -2]


def _weighted(columns: Floats, weights: Sequence[float]) -> Floats:
    """Σ weight · column: term by term, so that a row's score is the same in a batch of any size."""
    total = np.zeros(len(columns))
    for column, weight in zip(columns.T, weights, strict=True):
        total += weight * column
    return total


def _certainty(probabilities: NDArray[np.float32]) -> Floats:
    """1 - H / log k of each row."""
    wide = probabilities.astype(np.float64)
    logs = np.log(np.maximum(wide, np.finfo(np.float64).tiny))
    found: Floats = 1.0 + np.einsum("nk,nk->n", wide, logs) / math.log(wide.shape[1])
    return found
