"""P-values and bounds that hold for every number of rows, however few.

A p-value of at most δ comes up with a probability of at most δ where the risk is above the limit.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binom

CELLS = 20
"""The range of an unknown share p is cut into so many pieces for each √(n p)."""
NEGLIGIBLE = 1e-13
"""What is left out of a sum, and added to it at its end."""
ROUNDING = 1e-9
SMALLEST = 1e-300
Floats = NDArray[np.float64]


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

    An exact unconditional test with the statistic (l - g - nε) / sqrt(l + g + nε). The worst case
    has P(loss) = P(gain) + ε and leaves P(gain) open: as Berger and Boos (1994) do, all of it is
    tried below a bound that holds but for a hundredth of the level, and that is added. The
    statistic falls with fewer losses and with more gains, so for a ≤ P(gain) ≤ b the chance of one
    as low is at most that with P(loss) = a + ε and P(gain) = b: nothing is missed in between.

    Args:
        losses: l, rows where the slow model is right and the fast one is not.
        gains: g, rows where it is the other way about.
        rows: n, all of them, those that count neither way too.
        limit: ε, in [0, 1).
        level: the δ that the p-value is held against.
    """
    spare = level / 100.0
    if rows == 0:
        return 1.0
    highest = min(upper_bound(gains, rows, spare), (1.0 - limit) / 2.0)
    cells = max(1, math.ceil(CELLS * math.sqrt(rows * highest)))
    ends = highest * np.linspace(0.0, 1.0, cells + 1) ** 2
    found = losses + gains + limit * rows
    statistic = (losses - gains - limit * rows) / math.sqrt(found) if found else 0.0
    worst = _tails(statistic, rows, limit, losses=ends[:-1] + limit, gains=ends[1:]).max()
    return min(1.0, spare + float(worst))


def _tails(statistic: float, rows: int, limit: float, *, losses: Floats, gains: Floats) -> Floats:
    """[m] chances of a statistic as low when rows are losses and gains with these chances."""
    low, high = (binom.ppf(share, rows, gains) for share in (NEGLIGIBLE, 1.0 - NEGLIGIBLE))
    counts = low[:, None] + np.arange(int((high - low).max()) + 1)
    others = counts + limit * rows
    root = (statistic + np.sqrt(statistic**2 + 8.0 * others)) / 2.0
    most = np.floor(root**2 - others + ROUNDING)
    shares = np.minimum(losses / np.maximum(1.0 - gains, SMALLEST), 1.0)
    below = binom.cdf(most, np.maximum(rows - counts, 0.0), shares[:, None])
    found: Floats = (binom.pmf(counts, rows, gains[:, None]) * below).sum(axis=1)
    return found + 2.0 * NEGLIGIBLE
