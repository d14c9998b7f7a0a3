"""P-values and bounds that hold for every number of rows, however few.

A p-value of at most δ comes up with a probability of at most δ where the risk is above the limit.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binom

CELLS = 40
"""Into so many pieces the range of an unknown share is cut; each is bounded by its worst ends."""
NEGLIGIBLE = 1e-13
"""What is left out of a sum, and added to it at its end."""


def risk_p_value(harms: int, rows: int, limit: float) -> float:
    """Of "the probability of a harm is above `limit`", by the exact binomial tail; 1 without rows.

    P(Bin(rows, limit) ≤ harms).
    """
    return float(binom.cdf(harms, rows, limit))


def upper_bound(harms: int, rows: int, level: float) -> float:
    """What the probability of a harm is below but for a chance of `level` (Clopper, Pearson)."""
    return 1.0 if harms >= rows else float(beta.ppf(1.0 - level, harms + 1, rows - harms))


def loss_p_value(losses: int, gains: int, rows: int, limit: float, level: float) -> float:
    """Of "P(loss) - P(gain) is above `limit`", where a row is a loss, a gain or neither.

    The worst case has P(loss) = P(gain) + limit, and leaves P(gain) open. As Berger and Boos (1994)
    do, all of it is tried below a bound that holds but for a hundredth of the level, and that
    hundredth is added. Between two ends a ≤ P(gain) ≤ b the chance of so few losses net of gains is
    at most that with P(loss) = a + limit and P(gain) = b, so nothing is missed between them.

    Args:
        losses: rows where the slow model is right and the fast one is not.
        gains: rows where it is the other way about.
        rows: all of them, those that count neither way too.
        limit: in [0, 1).
        level: the δ that the p-value is held against.
    """
    spare = level / 100.0
    highest = min(upper_bound(gains, rows, spare), (1.0 - limit) / 2.0)
    ends = highest * (1.0 - np.linspace(1.0, 0.0, CELLS + 1) ** 2)
    worst = max(_tail(losses - gains, rows, low + limit, high) for low, high in pairwise(ends))
    return min(1.0, spare + worst)


def _tail(net: int, rows: int, loss: float, gain: float) -> float:
    """P(losses - gains ≤ net) when each row is a loss or a gain with these probabilities."""
    low = int(binom.ppf(NEGLIGIBLE, rows, gain))
    high = int(binom.isf(NEGLIGIBLE, rows, gain))
    gains: NDArray[np.int64] = np.arange(max(low, -net, 0), min(high, rows) + 1)
    share = min(1.0, loss / (1.0 - gain)) if gain < 1.0 else 0.0
    chances = binom.pmf(gains, rows, gain) * binom.cdf(net + gains, rows - gains, share)
    return float(chances.sum()) + 2.0 * NEGLIGIBLE
