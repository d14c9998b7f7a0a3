"""How likely a test would pass, and with how many rows it would: no promise, but an outlook.

What is worked out here may come from any rows but those that test: it says where a sequence of
candidates begins. What it says of rows that would do is an estimate.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, norm

from hunch.core.regression import Regression, fit_regression, log_odds, standardised

POINTS = 9
"""The number of exits to come is random: so many of its quantiles are looked at."""
SURE = 0.9
"""The chance with which rows that are said to do would do."""
MOST_ROWS = 10**7
"""More rows than that are as good as none."""
CLOSE = 0.05
"""As closely they are told."""
RIDGE = 0.01
DRAWS = 64
"""Of curves that the rows leave possible; a start that suits only the likeliest one is fragile."""
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is expected at m candidates for τ.

    Attributes:
        shares: [m], of the rows, that exit.
        risks: [m], P(harm | exit), by the likeliest curve.
        draws: [d, m], the same by each of some curves that the rows leave possible.
        rows: how many rows say so.
    """

    shares: Floats
    risks: Floats
    draws: Floats
    rows: int

    def chances(self, rows: int, limit: float, level: float) -> Floats:
        """[m] chances of "P(harm | exit) ≤ limit" to pass its binomial test on new rows."""
        return self._chances(self.draws, rows, limit, level)

    def _chances(self, risks: Floats, rows: int, limit: float, level: float) -> Floats:
        """[d, m] risks → [m]."""
        spread = rows * self.shares * (1.0 - self.shares) * (1.0 + rows / self.rows)
        quantiles = norm.ppf((np.arange(POINTS) + 0.5) / POINTS)
        exits = np.rint(self.shares * rows + quantiles[:, None] * np.sqrt(spread))
        exits = np.clip(exits, 0, rows)
        allowed = binom.ppf(level, exits, limit) - 1.0
        found: Floats = binom.cdf(allowed, exits, risks[:, None, :]).mean(axis=(0, 1))
        return found

    def rows_needed(self, limit: float, level: float) -> int | None:
        """About how many rows would do at the best τ; None where the risk is above the limit."""
        if not (self.risks < limit).any():
            return None

        def is_enough(rows: int) -> bool:
            return bool(self._chances(self.risks[None], rows, limit, level).max() >= SURE)

        low, high = self.rows, 2 * self.rows
        while not is_enough(high):
            low, high = high, 2 * high
            if high > MOST_ROWS:
                return None
        while high - low > low * CLOSE:
            middle = (low + high) // 2
            low, high = (low, middle) if is_enough(middle) else (middle, high)
        return high


def outlook_of(scores: Floats, harms: NDArray[np.bool_], taus: Floats) -> Outlook:
    """What rows say of the risk at each τ.

    The mean over the exits of a logistic regression on the log odds of the score: few rows tell a
    curve of two numbers better than a count at every τ.

    Args:
        scores: [n].
        harms: [n], whether an exit of that row is one.
        taus: [m].
    """
    order = np.argsort(scores)
    columns, _, _ = standardised(log_odds(scores[order])[:, None])
    fitted = fit_regression(columns, harms[order], RIDGE)
    below = np.searchsorted(scores[order], taus, side="left")
    exits = len(scores) - below

    def risks_by(curve: Regression) -> Floats:
        falling = np.cumsum(curve.chances(columns)[::-1])[::-1]
        return np.minimum(np.append(falling, 0.0)[below] / np.maximum(exits, 1), 1.0)

    # Without a harm the rows say nothing of how the risk falls with the score.
    others = fitted.alternatives(columns, RIDGE, DRAWS) if harms.any() else [fitted]
    draws = np.array([risks_by(curve) for curve in others])
    return Outlook(exits / len(scores), risks_by(fitted), draws, len(scores))


def rows_for_loss(
    losses: Counts, gains: Counts, rows: int, limit: float, level: float
) -> int | None:
    """About how many rows "P(loss) - P(gain) ≤ limit" needs, at the τ that needs the fewest.

    Args:
        losses: [m], rows of each τ that count against it.
        gains: [m], rows that count for it.
        rows: how many there were.
        limit: of the loss.
        level: of the test.

    None where the loss is at the limit or above at every τ.
    """
    room = limit - (losses - gains) / rows
    is_open = room > 0.0
    if not is_open.any():
        return None
    deviation = np.sqrt((losses + gains + 1.0) / rows)
    quantiles = float(norm.isf(level) + norm.ppf(SURE))
    fewest = float(((quantiles * deviation[is_open] / room[is_open]) ** 2).min())
    least = math.log(level) / math.log1p(-limit) if 0.0 < limit < 1.0 else 0.0
    needed = max(fewest, least, rows * (1.0 + CLOSE))
    return math.ceil(needed) if needed <= MOST_ROWS else None
