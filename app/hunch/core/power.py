"""How likely a test would pass, and with how many rows it would: plans, of which none is a promise.

What is worked out here may come from any rows but those that test: it says where a sequence of
candidates begins. What it says of rows that would do is an estimate.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, norm

from hunch.core.regression import fit_regression, log_odds, standardised

POINTS = 9
"""The number of exits to come is random: so many of its quantiles are looked at."""
SURE = 0.9
"""The chance with which rows that are said to do would do."""
MOST_ROWS = 10**7
"""More rows than that are as good as none."""
RIDGE = 0.01
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


def passing_chances(
    scores: Floats,
    harms: NDArray[np.bool_],
    taus: Floats,
    *,
    rows: int,
    limit: float,
    level: float,
) -> Floats:
    """[m] chances of "P(harm | exit) ≤ limit" to pass its binomial test on new rows, by τ.

    The risk at a τ is the mean over its exits of a logistic regression on the log odds of the
    score: few rows tell a curve of two numbers better than a count at every τ.

    Args:
        scores: [n], of the rows that plan.
        harms: [n], whether an exit of that row would be one.
        taus: [m].
        rows: that will test.
        limit: of the risk.
        level: of the test.
    """
    order = np.argsort(scores)
    columns, _, _ = standardised(log_odds(scores[order])[:, None])
    chances = fit_regression(columns, harms[order], RIDGE).chances(columns)
    below = np.searchsorted(scores[order], taus, side="left")
    exits = len(scores) - below
    totals = np.concatenate([np.cumsum(chances[::-1])[::-1], [0.0]])[below]
    risks = np.minimum(totals / np.maximum(exits, 1), 1.0)
    share = exits / len(scores)
    deviation = np.sqrt(rows * share * (1.0 - share) * (1.0 + rows / len(scores)))
    quantiles = norm.ppf((np.arange(POINTS) + 0.5) / POINTS)
    tested = np.clip(np.rint(share * rows + quantiles[:, None] * deviation), 0, rows)
    allowed = binom.ppf(level, tested, limit) - 1.0
    found: Floats = binom.cdf(allowed, tested, risks).mean(axis=0)
    return found


def rows_for_risk(
    exits: Counts, harms: Counts, rows: int, limit: float, level: float
) -> int | None:
    """About how many rows the binomial test would need, at the τ that needs the fewest.

    Args:
        exits: [m], of `rows` at each τ.
        harms: [m], among them.
        rows: how many there were.
        limit: of the risk.
        level: of the test.

    None where at every τ the risk seems to be at the limit or above.
    """
    exiting, counted = exits[exits > 0], harms[exits > 0]
    raw = counted / exiting
    smoothed = (counted + 0.5) / (exiting + 1.0)
    risks = np.where(smoothed < limit, smoothed, raw)
    hopeful = risks < limit
    needed = _exits_for_risk(risks[hopeful], limit, level)
    return _told(needed * rows / exiting[hopeful], rows)


def rows_for_loss(
    losses: Counts, gains: Counts, rows: int, limit: float, level: float
) -> int | None:
    """The same of "P(loss) - P(gain) ≤ limit", by the normal approximation."""
    room = limit - (losses - gains) / rows
    spread = np.sqrt((losses + gains + 1.0) / rows)
    quantiles = float(norm.isf(level) + norm.ppf(SURE))
    normal = (quantiles * spread[room > 0] / room[room > 0]) ** 2
    least = math.log(level) / math.log1p(-limit) if 0.0 < limit < 1.0 else 0.0
    return _told(np.maximum(normal, least), rows)


def _exits_for_risk(risks: Floats, limit: float, level: float) -> Floats:
    """[m] the fewest exits with which the test passes surely enough; infinity beyond the most."""
    low, high = np.ones(len(risks), dtype=np.int64), np.full(len(risks), MOST_ROWS)
    while (low < high).any():
        middle = (low + high) // 2
        is_enough = binom.cdf(binom.ppf(SURE, middle, risks), middle, limit) <= level
        low, high = np.where(is_enough, low, middle + 1), np.where(is_enough, middle, high)
    return np.where(low < MOST_ROWS, low, math.inf)


def _told(found: Floats, rows: int) -> int | None:
    """The fewest; twice as many as there were where these should have done and did not."""
    fewest = float(found.min()) if len(found) else math.inf
    if fewest > MOST_ROWS:
        return None
    return math.ceil(fewest) if fewest > rows else 2 * rows
