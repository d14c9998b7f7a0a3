"""What came of simulated messages, in numbers, each with an interval of 95 %.

Accuracy and the gap come with a bootstrap over the rows of the record: how much other rows like
these would change it. All else comes with a Student interval over the seeds: how much chance in
arrivals and times does. Both are about the simulation, not about how well it is like the world.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.stats import t as student

from hunch.core.envelope import Path
from hunch.errors import ConfigError
from hunch.evaluation.simulation.run import ENDS, Run

LEVEL = 0.95
RESAMPLES = 400
LEAST_RESAMPLES = 100
MOST_DRAWN = 20_000_000
"""Rows in all resamples, 4 bytes each: of more rows there are fewer resamples."""
PERCENTILES = (50, 95, 99)
QUANTILES = (0, 1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 99.9, 100)
"""In percent."""
KEEPS_UP = 0.98
"""Whoever decides less of what comes than this does not keep up."""
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
Finite = Annotated[float, Field(allow_inf_nan=False)]
PathName = Literal["fast", "slow", "fallback"]
PATHS: Mapping[PathName, Path] = {
    "fast": Path.FAST,
    "slow": Path.SLOW,
    "fallback": Path.FALLBACK,
}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Estimate(_Part):
    """A number and its interval of 95 %; None where one run says nothing about it."""

    value: Finite
    low: Finite | None = None
    high: Finite | None = None


class Latency(_Part):
    """Milliseconds from a message's arrival until its decision can be seen.

    Attributes:
        quantiles_ms: at `QUANTILES`, the mean over the seeds: the shape of it.
    """

    quantiles_ms: Annotated[
        tuple[Finite, ...], Field(min_length=len(QUANTILES), max_length=len(QUANTILES))
    ]
    p50_ms: Estimate
    p95_ms: Estimate
    p99_ms: Estimate


class Outcome(_Part):
    """What one τ and Δ bring about.

    Attributes:
        messages: that count, of all seeds.
        accuracy: share of right answers.
        gap: what it lacks of the slow model's accuracy on the same messages.
        latency: of all messages.
        by_path: `fast`, `slow`, `fallback`, those that occur.
        rates: share of the messages by path, all three.
        reasons: share of the messages by reason of a fallback.
        offered_per_s: messages that come; `decided_per_s`, decisions that can be seen.
        keeps_up: whether these two are the same but for chance.
        slow_calls: messages that go through the slow model, a share of all.
        wasted_calls: of those, the share whose answer came too late.
        cost: of a message, where prices are given.
        in_time_per_s: right answers by the deadline that was asked about, a second.
        longest_queue: deferrals that waited for one slow model at once, at most.
    """

    messages: int
    accuracy: Estimate
    gap: Estimate
    latency: Latency
    by_path: dict[PathName, Latency]
    rates: Annotated[dict[PathName, Estimate], Field(min_length=3)]
    reasons: dict[str, Estimate]
    offered_per_s: Estimate
    decided_per_s: Estimate
    keeps_up: bool
    slow_calls: Estimate
    wasted_calls: Estimate
    cost: Estimate | None = None
    in_time_per_s: Estimate
    longest_queue: int


class Prices(_Part):
    """What a call of a model costs, and a second of its time, in any currency."""

    fast_call: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    slow_call: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    fast_second: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    slow_second: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    @property
    def are_given(self) -> bool:
        """Whether anything costs anything."""
        return any(self.model_dump().values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Which answers are right, by row of the record."""

    fast_right: Flags
    slow_right: Flags


class Summary:
    """From runs to their outcome.

    Args:
        truth: of the rows.
        in_time_ms: the deadline that is asked about.
        prices: of both models.
    """

    def __init__(self, truth: Truth, in_time_ms: float, prices: Prices) -> None:
        self._truth = truth
        self._in_time_ms = in_time_ms
        self._prices = prices
        rows = len(truth.fast_right)
        chance = np.random.default_rng(0)
        count = max(LEAST_RESAMPLES, min(RESAMPLES, MOST_DRAWN // rows))
        self._weights = np.empty((count, rows), dtype=np.float32)
        for weights in self._weights:
            weights[:] = chance.multinomial(rows, np.full(rows, 1.0 / rows))

    def of(self, runs: Sequence[Run], *, alone: str | None = None) -> Outcome:
        """The outcome of runs that differ in their seed.

        Args:
            runs: one or more.
            alone: `slow` where the slow model has answered in the fast one's place.

        Raises `ConfigError` where no message of a run counts.
        """
        looks = [_Look(run, self._truth, alone) for run in runs]
        if not all(len(look.rows) for look in looks):
            raise ConfigError(
                "In one of the runs no message came that counts: raise --rate or --seconds."
            )
        accuracy, gap = self._of_rows(looks)
        return Outcome(
            messages=sum(len(look.latency_ms) for look in looks),
            accuracy=accuracy,
            gap=gap,
            latency=_latency([look.latency_ms for look in looks]),
            by_path={
                name: _latency([look.latency_ms[look.on(path)] for look in looks])
                for name, path in PATHS.items()
                if all(look.on(path).any() for look in looks)
            },
            rates={
                name: _estimate([float(look.on(path).mean()) for look in looks])
                for name, path in PATHS.items()
            },
            reasons={
                reason.value: _estimate([float((look.ends == number).mean()) for look in looks])
                for number, (path, reason) in enumerate(ENDS)
                if path is Path.FALLBACK
            },
            offered_per_s=_over_seeds(looks, lambda look: look.offered_per_s),
            decided_per_s=_over_seeds(looks, lambda look: look.decided_per_s),
            keeps_up=sum(look.decided_per_s for look in looks)
            >= KEEPS_UP * sum(look.offered_per_s for look in looks),
            slow_calls=_over_seeds(looks, lambda look: look.is_called.mean()),
            wasted_calls=_over_seeds(looks, lambda look: look.wasted),
            cost=_over_seeds(looks, self._cost) if self._prices.are_given else None,
            in_time_per_s=_over_seeds(looks, self._in_time_per_s),
            longest_queue=max(run.longest_queue for run in runs),
        )

    def _of_rows(self, looks: Sequence["_Look"]) -> tuple[Estimate, Estimate]:
        """Accuracy and gap, with a bootstrap over rows: a row's messages stand or fall together."""
        rows = len(self._truth.fast_right)
        counts, right = np.zeros(rows), np.zeros(rows)
        for look in looks:
            counts += np.bincount(look.rows, minlength=rows)
            right += np.bincount(look.rows, weights=look.right, minlength=rows)
        slow = counts * self._truth.slow_right
        columns = np.stack([counts, right, slow - right], axis=1)
        drawn = self._weights @ columns.astype(np.float32)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = drawn[:, 1:] / drawn[:, :1]
        total = columns.sum(axis=0)
        tails = 100 * (1 - LEVEL) / 2
        lows, highs = np.nanpercentile(shares, [tails, 100 - tails], axis=0)
        found = [
            Estimate(value=total[1 + it] / total[0], low=float(lows[it]), high=float(highs[it]))
            for it in (0, 1)
        ]
        return found[0], found[1]

    def _cost(self, look: "_Look") -> float:
        prices, run = self._prices, look.run
        seconds = (
            prices.fast_second * run.fast_busy_ms + prices.slow_second * run.slow_busy_ms
        ) / 1000
        calls = 0.0 if look.is_slow_alone else prices.fast_call
        calls += prices.slow_call * float(look.is_called.mean())
        return calls + seconds / len(run.rows)

    def _in_time_per_s(self, look: "_Look") -> float:
        return float((look.right & (look.latency_ms <= self._in_time_ms)).sum()) / look.seconds


class _Look:
    """The messages of a run that count."""

    def __init__(self, run: Run, truth: Truth, alone: str | None) -> None:
        counts = (run.arrived_ms >= run.from_ms) & (run.arrived_ms < run.until_ms)
        self.run = run
        self.seconds = (run.until_ms - run.from_ms) / 1000
        self.rows, self.ends = run.rows[counts], run.ends[counts]
        self.latency_ms = run.seen_ms[counts] - run.arrived_ms[counts]
        self.is_called = run.is_called[counts]
        self.is_slow_alone = alone == "slow"
        is_slow = np.full(len(self.ends), self.is_slow_alone) | self.on(Path.SLOW)
        fast_right, slow_right = truth.fast_right[self.rows], truth.slow_right[self.rows]
        self.right: Flags = np.where(is_slow, slow_right, fast_right)
        is_seen = (run.seen_ms >= run.from_ms) & (run.seen_ms < run.until_ms)
        self.decided_per_s = float(is_seen.sum()) / self.seconds
        self.offered_per_s = float(counts.sum()) / self.seconds
        calls = int(self.is_called.sum())
        self.wasted = float((self.is_called & ~is_slow).sum()) / calls if calls else 0.0

    def on(self, path: Path) -> Flags:
        """Which messages were decided on that path."""
        found: Flags = np.isin(self.ends, [it for it, (own, _) in enumerate(ENDS) if own is path])
        return found


def _latency(columns: Sequence[Floats]) -> Latency:
    found = np.array([np.percentile(column, QUANTILES) for column in columns])
    p50, p95, p99 = (_estimate(found[:, QUANTILES.index(it)].tolist()) for it in PERCENTILES)
    shape = found.mean(axis=0).round(3).tolist()
    return Latency(quantiles_ms=tuple(shape), p50_ms=p50, p95_ms=p95, p99_ms=p99)


def _over_seeds(looks: Sequence[_Look], value: Callable[[_Look], float]) -> Estimate:
    return _estimate([float(value(look)) for look in looks])


def _estimate(values: Sequence[float]) -> Estimate:
    mean = float(np.mean(values))
    if len(values) < 2:
        return Estimate(value=mean)
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5
    half = float(student.ppf((1 + LEVEL) / 2, len(values) - 1)) * error
    return Estimate(value=mean, low=mean - half, high=mean + half)
