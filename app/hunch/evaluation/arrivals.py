"""When messages arrive: the same for the same seed, at a mean rate that is asked for.

    steady     evenly spaced
    poisson    independent of each other: exponential gaps
    burst      Poisson at 2.5 times the rate for one second in four, at half of it for the others
    recorded   the gaps of given timestamps, stretched to the rate; in a ring, from anywhere on

Times are milliseconds from 0 on, in ascending order.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hunch.errors import ConfigError, DataError

Pattern = Literal["steady", "poisson", "burst", "recorded"]
PATTERNS: tuple[Pattern, ...] = get_args(Pattern)
BURST_MS, PAUSE_MS = 1_000.0, 3_000.0
IN_BURST, IN_PAUSE = 2.5, 0.5
MOST_MESSAGES = 5_000_000
"""Of one run: more would not fit into memory."""
Times = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """How messages come.

    Attributes:
        rate_per_s: on average.
        pattern: one of `PATTERNS`.
        timestamps_ms: of recorded messages, ascending, for the pattern that needs them.
    """

    rate_per_s: float
    pattern: Pattern = "poisson"
    timestamps_ms: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Raises `ConfigError` for what cannot be meant."""
        if self.pattern not in PATTERNS:
            raise ConfigError(
                f"There is no pattern {self.pattern!r}: use one of {', '.join(PATTERNS)}."
            )
        if not (math.isfinite(self.rate_per_s) and self.rate_per_s > 0):
            raise ConfigError(
                f"The rate is {self.rate_per_s:g} messages a second, but it must be above 0."
            )
        if self.pattern == "recorded" and span_ms(self.timestamps_ms) <= 0:
            raise ConfigError(
                "The pattern recorded needs the timestamps of two or more messages that did not "
                "come at once: name a file of them with --arrivals."
            )

    def times(self, until_ms: float, seed: int) -> Times:
        """All arrivals before `until_ms`; raises `ConfigError` where they are too many."""
        expected = until_ms * self.rate_per_s / 1000
        if expected > MOST_MESSAGES:
            raise ConfigError(
                f"{expected:,.0f} messages are too many for one run, which lasts --warm-up, "
                "--seconds and twice the longest delta: lower one of them, or --rate."
            )
        chance = np.random.default_rng([seed, 1])
        gap_ms = 1000.0 / self.rate_per_s
        match self.pattern:
            case "steady":
                found = gap_ms * np.arange(chance.uniform(), until_ms / gap_ms)
            case "poisson":
                found = gap_ms * _unit_poisson(until_ms / gap_ms, chance)
            case "burst":
                found = _burst(until_ms, gap_ms, chance)
            case _:
                found = self._recorded(until_ms, chance)
        times: Times = found[found < until_ms]
        return times

    def _recorded(self, until_ms: float, chance: np.random.Generator) -> Times:
        """A ring: behind the last message, after the mean gap, comes the first one again."""
        known = np.array(self.timestamps_ms) - self.timestamps_ms[0]
        round_ms = 1000.0 * len(known) / self.rate_per_s
        known *= round_ms / (known[-1] * len(known) / (len(known) - 1))
        rounds = math.ceil(until_ms / round_ms) + 1
        ring = (known + round_ms * np.arange(rounds)[:, None]).ravel()
        first = int(chance.integers(len(known)))
        found: Times = ring[first:] - ring[first]
        return found


def span_ms(timestamps_ms: Sequence[float]) -> float:
    """From the first message to the last."""
    return timestamps_ms[-1] - timestamps_ms[0] if timestamps_ms else 0.0


def read_timestamps(path: Path) -> tuple[float, ...]:
    """Timestamps in milliseconds, one a line, in any order; raises `DataError` otherwise."""
    try:
        lines = path.read_text(encoding="utf-8").split()
        found = sorted(float(line) for line in lines)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError:
        raise DataError(
            f"{path} must hold one timestamp in milliseconds a line, and has something else."
        ) from None
    if len(found) < 2 or not all(map(math.isfinite, found)) or span_ms(found) <= 0:
        raise DataError(f"{path} must hold the timestamps of two messages or more, not all equal.")
    return tuple(found)


def _unit_poisson(until: float, chance: np.random.Generator) -> Times:
    """A Poisson process of rate 1 on [0, until)."""
    count = int(chance.poisson(until))
    found: Times = np.sort(chance.uniform(0.0, until, count))
    return found


def _burst(until_ms: float, gap_ms: float, chance: np.random.Generator) -> Times:
    """The unit process in the time that runs fast in a burst and slowly in a pause."""
    cycle_ms = BURST_MS + PAUSE_MS
    starts = cycle_ms * np.arange(-1, math.ceil(until_ms / cycle_ms) + 1)
    starts += chance.uniform(0.0, cycle_ms)
    edges = np.sort(np.concatenate([starts, starts + BURST_MS]))
    lengths = np.diff(edges)
    speeds = np.where(np.arange(len(lengths)) % 2 == 0, IN_BURST, IN_PAUSE)
    passed = np.concatenate([[0.0], np.cumsum(lengths * speeds)]) / gap_ms
    found: Times = np.interp(_unit_poisson(passed[-1], chance), passed, edges)
    return found[found >= 0.0]
