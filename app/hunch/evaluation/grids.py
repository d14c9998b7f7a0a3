"""Which τ and Δ a sweep looks at: a grid, and then what lies beside the points of its frontier.

A τ is known by its rank: how many rows of the record it makes wait. Of all τ between two scores,
which do the same, the one with the fewest digits is taken. τ are spread over the deferral rate,
closer where few wait, Δ over its logarithm.
"""

import itertools
import math
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from hunch.errors import ConfigError
from hunch.evaluation.simulation.deployment import Deployment
from hunch.evaluation.simulation.place import ModelTimes, Place
from hunch.evaluation.simulator import Setting

LARGEST_DELTA_MS = 3_600_000
MOST_POINTS = 5_000
LEAST_STEP = 0.002
"""Of the rows: τ that differ by fewer are not told apart."""
NEAREST_DELTAS = 1.08
"""Δ of a smaller ratio are not told apart."""
BENDS = 1.8
"""Deferral rates of the grid are i / n to this power."""
Scores = NDArray[np.float64]


class Taus:
    """The τ that make a difference on a record.

    Args:
        scores: of its rows.
    """

    def __init__(self, scores: Scores) -> None:
        self._sorted = np.sort(scores)

    def at(self, rank: int) -> float:
        """A τ with which about so many rows wait."""
        rows = len(self._sorted)
        if rank <= 0:
            return 0.0
        if rank >= rows:
            return 1.0
        high = float(self._sorted[rank])
        below = self._sorted[self._sorted < high]
        return _short(float(below[-1]), high) if len(below) else 0.0

    def rank(self, tau: float) -> int:
        """How many rows wait with it."""
        return int(np.searchsorted(self._sorted, tau, side="left"))

    def spread(self, count: int) -> list[float]:
        """As many τ from none waits to all wait, fewer where scores are equal."""
        rows = len(self._sorted)
        ranks = [round(rows * (step / (count - 1)) ** BENDS) for step in range(count)]
        found = {self.rank(tau): tau for tau in map(self.at, reversed(ranks))}
        return sorted(found.values())

    @property
    def least_step(self) -> int:
        """In rows."""
        return max(1, round(LEAST_STEP * len(self._sorted)))


def least_delta_ms(place: Place, deployment: Deployment) -> float:
    """About how long an answer takes from the deferral to the joiner while nothing else waits."""
    waits_ms = deployment.commit_interval_ms / 2 if deployment.is_exactly_once else 0.0
    on_the_way_ms = 2 * (place.write_ms + place.hop_ms)
    slow_ms = min(ModelTimes(place.slow).median_ms.values())
    return (
        waits_ms
        + on_the_way_ms
        + slow_ms
        + max(deployment.slow_reserve_ms, deployment.max_queue_delay_ms)
    )


def deltas(least_ms: float, count: int) -> list[int]:
    """As many Δ from a little above the least useful one to one that hardly ever ends a wait."""
    first = max(1.0, 1.2 * least_ms)
    last = max(12.0 * least_ms, 2_000.0)
    return sorted({round(it) for it in np.geomspace(first, last, count)})


def grid(taus: Sequence[float], all_deltas: Sequence[int], today: Setting) -> list[Setting]:
    """All pairs, and today's setting first; τ = 0 needs one Δ only, nothing waits.

    Raises `ConfigError` for what no setting can be, and for too many points.
    """
    for tau in taus:
        if not 0.0 <= tau <= 1.0:
            raise ConfigError(f"tau is {tau:g}, but it must lie between 0 and 1.")
    for delta in all_deltas:
        if not 0 <= delta <= LARGEST_DELTA_MS:
            raise ConfigError(
                f"delta_ms is {delta}, but it must lie between 0 and {LARGEST_DELTA_MS:,}."
            )
    if not taus or not all_deltas:
        raise ConfigError("A sweep needs one tau and one delta_ms at least.")
    count = len(taus) * len(all_deltas)
    if count > MOST_POINTS:
        raise ConfigError(
            f"{len(taus):,} tau and {len(all_deltas):,} delta_ms are {count:,} points, and "
            f"{MOST_POINTS:,} is the most: take fewer of one."
        )
    pairs = [
        Setting(tau=tau, delta_ms=delta)
        for tau in taus
        for delta in (all_deltas if tau > 0.0 else all_deltas[-1:])
    ]
    return list(dict.fromkeys([today, *pairs]))


def beside(
    near: Sequence[Setting], known: Collection[Setting], taus: Taus, most: int
) -> list[Setting]:
    """New settings between the points of a frontier and their neighbours, at most so many.

    Args:
        near: on the frontier, those first that matter most.
        known: all that were looked at.
        taus: of the record.
        most: settings.
    """
    ranks = sorted({taus.rank(it.tau) for it in known if not it.taus})
    all_deltas = sorted({it.delta_ms for it in known if it.delta_ms > 0})
    found: dict[Setting, None] = {}
    for setting in near:
        if setting.taus:
            continue
        rank = taus.rank(setting.tau)
        new_ranks = [
            (low + high) // 2
            for low, high in itertools.pairwise(ranks)
            if rank in {low, high} and high - low >= 2 * taus.least_step
        ]
        new_deltas = [
            round(math.sqrt(low * high))
            for low, high in itertools.pairwise(all_deltas)
            if setting.delta_ms in {low, high} and high / low >= NEAREST_DELTAS**2 and rank > 0
        ]
        for one in new_ranks:
            tau = taus.at(one)
            if taus.rank(tau) not in ranks:
                found[Setting(tau=tau, delta_ms=setting.delta_ms)] = None
        for delta in new_deltas:
            found[Setting(tau=setting.tau, delta_ms=delta)] = None
    return [setting for setting in found if setting not in known][:most]


def _short(low: float, high: float) -> float:
    """The number of the fewest digits in (low, high]."""
    for digits in range(1, 17):
        found = math.floor(high * 10**digits) / 10**digits
        if low < found <= high:
            return float(found)
    return high
