"""`calibrate`: from a record to τ for a goal, judged on rows that had no part in it.

fit     temperatures of both models, the numbers of the measure, offsets by class, candidates
choose  τ, with what is promised of it
judge   what τ does
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hunch.core.calibration import COLDEST, HOTTEST, fit_temperature
from hunch.core.confidence import Measure
from hunch.core.fitting import ClassShift, fit_class_shift, fit_measure
from hunch.core.selection import Goal, Outcomes, Selection, candidates, curve, harms_of, select
from hunch.errors import DataError, NotCertified
from hunch.evaluation.judging import (
    ByMessages,
    Check,
    Gain,
    Judged,
    by_messages,
    check,
    gain,
    judged,
)
from hunch.evaluation.records import Record
from hunch.evaluation.splitting import FIT, LEAST_ROWS, Split, share_that_chooses, split

Floats = NDArray[np.float64]
NEAR = 1.05
"""A temperature within this factor of the bounds of fitting is not fitted but at an end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is asked for.

    Attributes:
        goal: what τ is to bring about.
        measure: the name of the confidence measure.
        is_per_class: whether each fast label gets a τ of its own, where there is evidence.
        seed: of the split.
    """

    goal: Goal
    measure: str = "max_probability"
    is_per_class: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedTemperatures:
    """What divides the logits of each model.

    Attributes:
        fast: of the fast model.
        slow: of the slow model.
        kept: side → why it is the model's own.
    """

    fast: float
    slow: float
    kept: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What came of it.

    Attributes:
        plan: what was asked for.
        split: which rows had which part; without labels where the goal needs none.
        unlabelled: rows left out because the goal needs labels.
        temperatures: of both models.
        measure: with its numbers.
        selection: τ, or that there is none, and why.
        taus: fast label → its own τ.
        curve: what would come of other τ, on the judging rows.
        judged: what was found on them; at this τ, where there is one.
        check: of the goal on them; None without τ.
        by_messages: the same number where each input counts as often as it came; None without τ, or
            where none came twice.
        only_label: that all labelled rows have, where it is one.
        gain: what the slow model has over the fast one, on all rows of the record; None without
            labels.
        rows_needed: without τ, about how many rows in all would do; None where none would.
    """

    plan: Plan
    split: Split
    unlabelled: int
    temperatures: FittedTemperatures
    measure: Measure
    selection: Selection
    taus: Mapping[str, float]
    curve: Mapping[str, list[float | None]]
    judged: Judged
    check: Check | None
    by_messages: ByMessages | None
    only_label: str | None
    gain: Gain | None
    rows_needed: int | None

    @property
    def is_certified(self) -> bool:
        """Whether there is a τ, and neither judging rows nor repeats contradict it."""
        if self.check is None or self.check.contradicts:
            return False
        return self.by_messages is None or self.by_messages.is_kept


def calibrate(record: Record, plan: Plan, judge: Record | None = None) -> Calibration:
    """Chooses τ.

    Args:
        record: of which τ is made.
        plan: what is asked for.
        judge: another record, of the same models, that judges instead of a part of the first.

    Raises `DataError` where the record does not allow what is asked for, `NotCertified` where it
    has too few rows to be split, `ConfigError` for a measure that these outputs do not have.
    """
    used, unlabelled = _usable(record, plan.goal)
    others = None if judge is None else _usable(judge, plan.goal)[0]
    parts = split(used, others, plan.seed)
    apart = judge is not None
    if parts.too_small() == ["judge"] and judge is not None:
        raise NotCertified(
            f"{len(parts.judge):,} rows in {judge.folder} are too few to judge tau: record at "
            f"least {LEAST_ROWS}, or leave --judge out."
        )
    if parts.too_small():
        needed = _in_all(_least_rows(plan.goal), apart)
        more = "" if needed is None else f"; at least {needed:,} are needed"
        raise NotCertified(
            f"{len(used):,} rows are too few to fit, to choose tau and to judge it: nothing can be "
            f"guaranteed with them{more}. Record more."
        )
    temperatures = _temperatures(parts.fit)
    scored = _Scored(plan, parts.fit, temperatures)
    fit, choose, rest = (scored.outcomes(it) for it in (parts.fit, parts.choose, parts.judge))
    selection = select(plan.goal, candidates(plan.goal, fit, len(parts.choose)), choose)
    tau = selection.tau
    return Calibration(
        plan=plan,
        split=parts,
        unlabelled=unlabelled,
        temperatures=temperatures,
        measure=scored.measure,
        selection=selection,
        taus={} if tau is None else scored.taus(tau, record.labels),
        curve=curve(rest),
        judged=judged(parts.judge, rest, tau, temperatures.fast),
        check=None if tau is None else check(plan.goal, rest, tau, choose),
        by_messages=None if tau is None else _by_messages(plan.goal, scored, used, tau),
        only_label=_only_label(used),
        gain=_gain(used, temperatures),
        rows_needed=_in_all(selection.rows_needed, apart),
    )


def _by_messages(goal: Goal, scored: "_Scored", record: Record, tau: float) -> ByMessages | None:
    if (record.counts == 1).all():
        return None
    return by_messages(goal, scored.outcomes(record), tau, record.counts)


def _least_rows(goal: Goal) -> int | None:
    """Rows that choose τ without which nothing can be promised, whatever they show."""
    limit = goal.harm_limit
    if goal.name == "slow-share":
        return 1
    if limit == 0.0:
        return None
    if goal.name == "joint-risk":
        return math.ceil(1.0 / limit) - 1
    return 1 if limit == 1.0 else math.ceil(math.log1p(-goal.confidence) / math.log1p(-limit))


def _in_all(rows: int | None, apart: bool) -> int | None:
    """Rows of the record of which so many choose τ, and no part is too small."""
    if rows is None:
        return None
    return max(math.ceil(rows / share_that_chooses(apart)), math.ceil(LEAST_ROWS / FIT))


def _gain(record: Record, temperatures: FittedTemperatures) -> Gain | None:
    whole = _outcomes(np.zeros(len(record)), record, temperatures)
    if whole.fast_right is None or whole.slow_right is None:
        return None
    return gain(whole.fast_right, whole.slow_right)


class _Scored:
    """From outputs to scores, in the way that the fit rows have taught."""

    def __init__(self, plan: Plan, fit: Record, temperatures: FittedTemperatures) -> None:
        self._temperatures = temperatures
        probabilities, energies = fit.fast.probabilities(temperatures.fast)
        plain = _outcomes(np.zeros(len(fit)), fit, temperatures)
        self.measure = fit_measure(
            plan.measure,
            probabilities,
            energies,
            agrees=plain.agrees,
            fast_right=plain.fast_right,
            slow_right=plain.slow_right,
        )
        self._shift: ClassShift | None = None
        if plan.is_per_class:
            self._shift = fit_class_shift(
                self.measure.scores(probabilities, energies),
                fit.fast.best(temperatures.fast),
                harms_of(plan.goal.name, plain) > 0,
                len(fit.labels),
            )

    def outcomes(self, record: Record) -> Outcomes:
        """With scores that one τ is held against, whatever the label."""
        temperature = self._temperatures.fast
        scores = self.measure.scores(*record.fast.probabilities(temperature))
        if self._shift is not None:
            scores = self._shift.scores(scores, record.fast.best(temperature))
        return _outcomes(scores, record, self._temperatures)

    def taus(self, tau: float, labels: tuple[str, ...]) -> dict[str, float]:
        """Fast label → its own τ, where it is not the common one."""
        if self._shift is None:
            return {}
        table = self._shift.table(tau).tolist()
        return {
            label: own
            for label, own, offset in zip(labels, table, self._shift.offsets, strict=True)
            if offset
        }


def _usable(record: Record, goal: Goal) -> tuple[Record, int]:
    """The rows that the goal can use, and how many are left out for want of a label."""
    if not goal.needs_labels:
        return record, 0
    labelled = np.flatnonzero(record.is_labelled)
    if not len(labelled):
        raise DataError(
            f"The goal {goal.name} needs labels, and no row in {record.folder} has one: record "
            "labelled data, or choose agreement or slow-share."
        )
    only = _only_label(record)
    if only is not None:
        raise DataError(
            f"All labelled rows in {record.folder} have the label {only!r}: nothing follows from "
            "one class for the others. Record rows of all of them."
        )
    return record.part(labelled), len(record) - len(labelled)


def _only_label(record: Record) -> str | None:
    found = np.unique(record.right[record.is_labelled])
    return record.labels[found[0]] if len(found) == 1 else None


def _temperatures(fit: Record) -> FittedTemperatures:
    """Fitted where the rows say anything about them, else the models' own."""
    found, kept = {}, {}
    labelled = fit.part(np.flatnonzero(fit.is_labelled))
    for side, outputs in (("fast", labelled.fast), ("slow", labelled.slow)):
        found[side] = outputs.temperature
        answered = outputs.answered
        if answered.sum() < LEAST_ROWS or len(np.unique(labelled.right[answered])) == 1:
            kept[side] = "fitting one needs labels of several classes"
            continue
        fitted = fit_temperature(outputs.part(answered).log_scores, labelled.right[answered])
        if fitted < NEAR * COLDEST:
            kept[side] = "it is right on all rows that fit, and nothing limits how sure it may be"
        elif fitted > HOTTEST / NEAR:
            kept[side] = "how sure it is says nothing about whether it is right"
        else:
            found[side] = fitted
    return FittedTemperatures(fast=found["fast"], slow=found["slow"], kept=kept)


def _outcomes(scores: Floats, record: Record, temperatures: FittedTemperatures) -> Outcomes:
    fast, slow = record.fast.best(temperatures.fast), record.slow.best(temperatures.slow)
    is_labelled = bool(record.is_labelled.all())
    return Outcomes(
        scores=scores,
        agrees=fast == slow,
        fast_right=fast == record.right if is_labelled else None,
        slow_right=slow == record.right if is_labelled else None,
    )
