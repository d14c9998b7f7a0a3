"""The Pareto frontier of operating points, and the choices that have a name.

A point *dominates* another if it is no worse in accuracy (more is better), p95 of the latency and
cost (less is better), and better in one of them. On the *frontier* is what no point dominates; of
equal points it is the one with most right answers in time, then the first. Choices are made on the
frontier:

    least-cost      the least cost among the points within ε of the slow model's accuracy
    fastest         the lowest p95 among the same
    most-in-time    the most right answers by the deadline, a second
    knee            the nearest to the best of all three, each scaled to [0, 1] over the frontier

Of equals the one counts that costs less, then is faster, then is more accurate, then stands first.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from hunch.errors import ConfigError

ChoiceName = Literal["least-cost", "fastest", "most-in-time", "knee"]
CHOICES: tuple[ChoiceName, ...] = get_args(ChoiceName)
ROUNDING = 1e-9
"""Shares that differ by less are equal."""
Floats = NDArray[np.float64]


class OperatingPoint(NamedTuple):
    """What one τ and Δ bring about.

    Attributes:
        accuracy: share of right answers.
        p95_ms: of the latency of all messages.
        cost: of a message, in whatever unit.
        in_time_per_s: right answers by the deadline, a second.
    """

    accuracy: float
    p95_ms: float
    cost: float
    in_time_per_s: float = 0.0


def dominates(one: OperatingPoint, other: OperatingPoint) -> bool:
    """Whether `one` is no worse than `other` in anything, and better in something."""
    mine, theirs = _losses(one), _losses(other)
    return mine != theirs and all(a <= b for a, b in zip(mine, theirs, strict=True))


def frontier(points: Sequence[OperatingPoint]) -> list[int]:
    """Which points none dominates, each but once, from the cheapest to the dearest."""
    losses = np.array([_losses(point) for point in points], dtype=np.float64).reshape(-1, 3)
    kept: dict[tuple[float, ...], int] = {}
    for index, own in enumerate(losses):
        if ((losses <= own).all(axis=1) & (losses < own).any(axis=1)).any():
            continue
        equal = kept.setdefault(_losses(points[index]), index)
        if points[index].in_time_per_s > points[equal].in_time_per_s:
            kept[_losses(points[index])] = index
    return sorted(kept.values(), key=lambda index: _order(points, index))


def choose(
    name: ChoiceName,
    points: Sequence[OperatingPoint],
    *,
    slow_accuracy: float,
    epsilon: float,
) -> int | None:
    """The point of that name; None where there is none within ε.

    Args:
        name: one of `CHOICES`.
        points: all of them.
        slow_accuracy: of the slow model alone.
        epsilon: what may lack of it.

    Raises `ConfigError` for a name that is none, or an ε that is no share.
    """
    if name not in CHOICES:
        raise ConfigError(f"There is no choice {name!r}: use one of {', '.join(CHOICES)}.")
    if not 0.0 <= epsilon <= 1.0:
        raise ConfigError(f"epsilon is {epsilon}, but it must lie between 0 and 1.")
    found = frontier(points)
    within = [
        index for index in found if points[index].accuracy >= slow_accuracy - epsilon - ROUNDING
    ]
    match name:
        case "least-cost":
            return _least(points, within, [points[index].cost for index in within])
        case "fastest":
            return _least(points, within, [points[index].p95_ms for index in within])
        case "most-in-time":
            return _least(points, found, [-points[index].in_time_per_s for index in found])
        case _:
            return _least(points, found, _distances([points[index] for index in found]))


def _least(
    points: Sequence[OperatingPoint], indices: Sequence[int], values: Sequence[float]
) -> int | None:
    ranked = zip(values, (_order(points, index) for index in indices), strict=True)
    return min(ranked)[1][-1] if indices else None


def _distances(points: Sequence[OperatingPoint]) -> list[float]:
    """Of each point to the best of all in everything, with each scaled to its range."""
    if not points:
        return []
    losses = np.array([_losses(point) for point in points], dtype=np.float64)
    lowest, spans = losses.min(axis=0), np.ptp(losses, axis=0)
    scaled = np.divide(losses - lowest, spans, out=np.zeros_like(losses), where=spans > 0)
    return [math.hypot(*row) for row in scaled.tolist()]


def _losses(point: OperatingPoint) -> tuple[float, float, float]:
    return -point.accuracy, point.p95_ms, point.cost


def _order(points: Sequence[OperatingPoint], index: int) -> tuple[float, float, float, int]:
    point = points[index]
    return point.cost, point.p95_ms, -point.accuracy, index
