"""Logistic regression with few columns, from rows that are held in memory."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import norm, qmc

from hunch.core.confidence import logistic

Floats = NDArray[np.float64]
FARTHEST = 30.0
"""What a bias may be at most; targets that are all alike would want infinity."""
LEAST_ODDS = 1e-7
"""Scores are taken to lie so far from 0 and 1, before their log odds."""


class Regression(NamedTuple):
    """P(target) = 1 / (1 + exp(-bias - columns @ weights))."""

    bias: float
    weights: Floats

    def chances(self, columns: Floats) -> Floats:
        """[n, d] → [n]."""
        return logistic(columns @ self.weights + self.bias)

    def alternatives(self, columns: Floats, ridge: float, count: int) -> list["Regression"]:
        """Regressions that the rows it was fitted to leave about as likely: Laplace's draws."""
        chances = self.chances(columns)
        design = np.column_stack([np.ones(len(columns)), columns])
        held = np.diag([FARTHEST**-2.0] + [ridge] * len(self.weights))
        curvature = (design * (chances * (1.0 - chances))[:, None]).T @ design + held
        dimensions = len(self.weights) + 1
        quantiles = qmc.Halton(dimensions, scramble=False).random(count + 1)[1:]
        spread = np.linalg.cholesky(np.linalg.inv(curvature))
        numbers = np.append(self.bias, self.weights) + norm.ppf(quantiles) @ spread.T
        return [Regression(float(drawn[0]), drawn[1:]) for drawn in numbers]


def fit_regression(
    columns: Floats,
    targets: NDArray[np.bool_],
    ridge: float | Floats,
    bounds: tuple[float, float] | None = None,
) -> Regression:
    """The most likely regression.

    Args:
        columns: [n, d], of about the same scale.
        targets: [n].
        ridge: how strongly weights are held near 0: the inverse variance of their normal prior.
        bounds: between which every weight lies.
    """
    signs = np.where(targets, 1.0, -1.0)

    def loss(numbers: Floats) -> tuple[float, Floats]:
        bias, weights = numbers[0], numbers[1:]
        margins = signs * (columns @ weights + bias)
        pulls = -signs * logistic(-margins)
        slopes = np.concatenate([[pulls.sum()], pulls @ columns + ridge * weights])
        total = np.logaddexp(0.0, -margins).sum() + 0.5 * (ridge * weights**2).sum()
        return float(total), slopes

    start = np.zeros(columns.shape[1] + 1)
    limits = [(-FARTHEST, FARTHEST)] + [bounds or (None, None)] * columns.shape[1]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=limits).x
    return Regression(float(found[0]), found[1:])


def log_odds(scores: Floats) -> Floats:
    """log(s / (1 - s)), finite at 0 and 1 too."""
    inside = np.clip(scores, LEAST_ODDS, 1.0 - LEAST_ODDS)
    found: Floats = np.log(inside) - np.log1p(-inside)
    return found


def standardised(columns: Floats) -> tuple[Floats, Floats, Floats]:
    """Columns with mean 0 and deviation 1 (0 where they do not vary), their centres and scales."""
    centre = columns.mean(axis=0)
    scale = np.maximum(columns.std(axis=0), 1e-12)
    return (columns - centre) / scale, centre, scale
