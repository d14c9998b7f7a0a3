"""`Simulator`: all that a point of a sweep depends on but its τ and Δ, and the point itself."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from hunch import __version__
from hunch.core.exiting import ExitPolicy
from hunch.errors import DataError
from hunch.evaluation.arrivals import Traffic
from hunch.evaluation.records import Record
from hunch.evaluation.simulation.outcome import Outcome, Prices, Summary, Truth
from hunch.evaluation.simulation.place import Place
from hunch.evaluation.simulation.run import EDITION, Run, Scenario, run, run_alone

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows of a record as a simulation needs them.

    Attributes:
        sha256: of the record.
        labels: by column.
        probabilities: float32 [n, k] of the fast model, at the temperature in use.
        energies: [n], where it gives logits.
        truth: which answers are right.
        right_by: `label`, or `slow` where no row has one.
        unlabelled: rows left out because others have a label.
    """

    sha256: str
    labels: tuple[str, ...]
    probabilities: NDArray[np.float32]
    energies: NDArray[np.float64] | None
    truth: Truth
    right_by: Literal["label", "slow"]
    unlabelled: int

    @classmethod
    def of(cls, record: Record, *, fast_temperature: float, slow_temperature: float) -> "Rows":
        """Of the rows with a label; where none has one, the slow model's answers are right.

        A row that the slow model does not answer is one that it answers wrongly.
        """
        used, right_by = used_of(record)
        fast, slow = used.fast.best(fast_temperature), used.slow.best(slow_temperature)
        right = used.right if right_by == "label" else slow
        probabilities, energies = used.fast.probabilities(fast_temperature)
        return cls(
            sha256=record.sha256,
            labels=record.labels,
            probabilities=probabilities,
            energies=energies,
            truth=Truth(
                fast_right=np.equal(fast, right),
                slow_right=np.equal(slow, right) & used.slow.answered,
            ),
            right_by=right_by,
            unlabelled=len(record) - len(used),
        )


def used_of(record: Record) -> tuple[Record, Literal["label", "slow"]]:
    """The rows that count, and who says what is right: those with a label, or all of them."""
    is_labelled = record.is_labelled
    if is_labelled.any():
        return record.part(np.flatnonzero(is_labelled)), "label"
    return record, "slow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """τ and Δ; `taus` are of single columns, where they are not the common one."""

    tau: float
    delta_ms: int
    taus: tuple[tuple[int, float], ...] = ()


class Simulator:
    """Simulates settings, each over all seeds.

    Args:
        rows: of a record.
        base: the exit policy whose τ and Δ are to be replaced.
        scenario: what is simulated.
        seeds: each of them is a run.
        in_time_ms: the deadline that is asked about.
        prices: of both models.
    """

    def __init__(
        self,
        rows: Rows,
        base: ExitPolicy,
        scenario: Scenario,
        *,
        seeds: Sequence[int],
        in_time_ms: float,
        prices: Prices,
    ) -> None:
        self.rows = rows
        self.base = base
        self.scenario = scenario
        self.seeds = tuple(seeds)
        self.in_time_ms = in_time_ms
        self.prices = prices
        self._summary: Summary | None = None
        self._exits: dict[tuple[float, tuple[tuple[int, float], ...]], Flags] = {}

    def at(self, traffic: Traffic, *, seeds: Sequence[int]) -> "Simulator":
        """The same under another load; each setting sees messages for its own Δ only."""
        return self._with(
            replace(self.scenario, traffic=traffic, longest_delta_ms=0.0), seeds=seeds
        )

    def somewhere(self, place: Place) -> "Simulator":
        """The same in another place."""
        return self._with(replace(self.scenario, place=place), seeds=self.seeds)

    def settling(self, longest_delta_ms: float) -> "Simulator":
        """The same, where all settings up to this Δ see the same messages."""
        scenario = replace(self.scenario, longest_delta_ms=longest_delta_ms)
        return self._with(scenario, seeds=self.seeds)

    def _with(self, scenario: Scenario, *, seeds: Sequence[int]) -> "Simulator":
        return Simulator(
            self.rows,
            self.base,
            scenario,
            seeds=seeds,
            in_time_ms=self.in_time_ms,
            prices=self.prices,
        )

    @property
    def scores(self) -> NDArray[np.float64]:
        """[n], what is held against τ."""
        found = self.base.measure.scores(self.rows.probabilities, self.rows.energies)
        if not np.isfinite(found).all():
            raise DataError("The record has scores that are not finite: record again.")
        return found

    def policy(self, setting: Setting) -> ExitPolicy:
        """The base with this τ and Δ."""
        return replace(
            self.base,
            tau=setting.tau,
            taus=dict(setting.taus),
            delta_ms=setting.delta_ms,
        )

    def exits(self, setting: Setting) -> Flags:
        """Which rows exit."""
        which = setting.tau, setting.taus
        if which not in self._exits:
            judged = self.policy(setting).judge(self.rows.probabilities, self.rows.energies)
            self._exits[which] = np.array(judged.exits, dtype=np.bool_)
        return self._exits[which]

    def outcome(self, setting: Setting) -> Outcome:
        """What a setting brings about."""
        return self._summarised().of(self.runs(setting))

    def runs(self, setting: Setting) -> list[Run]:
        """What becomes of each message, a run for each seed."""
        policy, exits = self.policy(setting), self.exits(setting)
        return [run(policy, exits, self.scenario, seed) for seed in self.seeds]

    def alone(self, side: str) -> Outcome:
        """What one model alone brings about."""
        rows = len(self.rows.truth.fast_right)
        runs = [run_alone(side, rows, self.scenario, seed) for seed in self.seeds]
        return self._summarised().of(runs, alone=side)

    def key(self, setting: Setting) -> str:
        """A checksum of everything that an outcome depends on."""
        base, scenario = self.base, self.scenario
        traffic = scenario.traffic
        whole = [
            [__version__, EDITION],
            self.rows.sha256,
            [base.measure.name, base.measure.numbers, base.temperature, base.slow_temperature],
            [base.max_age_ms, base.deadline_from],
            scenario.place.model_dump(mode="json"),
            scenario.deployment.model_dump(mode="json"),
            [traffic.rate_per_s, traffic.pattern, traffic.timestamps_ms],
            [scenario.seconds, scenario.warm_up_s, scenario.longest_delta_ms, self.seeds],
            [self.in_time_ms, self.prices.model_dump(mode="json")],
            [setting.tau, setting.delta_ms, setting.taus],
        ]
        text = orjson.dumps(whole, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SORT_KEYS)
        return hashlib.sha256(text).hexdigest()

    def _summarised(self) -> Summary:
        if self._summary is None:
            self._summary = Summary(self.rows.truth, self.in_time_ms, self.prices)
        return self._summary
