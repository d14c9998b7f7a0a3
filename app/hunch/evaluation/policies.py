"""From a calibration, or a point of a sweep, to the policy that stages decide by."""

from hunch.core.policy import (
    Contents,
    Data,
    GoalEntry,
    MeasureEntry,
    ModelEntry,
    Models,
    Policy,
    Temperatures,
    named,
)
from hunch.errors import InvariantBroken
from hunch.evaluation.calibrating import Calibration
from hunch.evaluation.explaining import promise
from hunch.evaluation.records import Outputs, Record
from hunch.evaluation.simulator import Setting, Simulator
from hunch.evaluation.sweep_explaining import estimate_of, goal_of
from hunch.evaluation.sweep_file import Choice, SweepFile


def policy_of(calibration: Calibration, *, created: str) -> Policy:
    """The policy of a τ that was found.

    Args:
        calibration: with a τ.
        created: when, as ISO 8601 in UTC.
    """
    selection, plan, parts = calibration.selection, calibration.plan, calibration.split
    if selection.tau is None:
        raise InvariantBroken("A policy was asked for without a tau.")
    goal = plan.goal
    contents = Contents(
        created=created,
        method=selection.method,
        promise=promise(goal, selection.rows),
        goal=GoalEntry(
            name=goal.name,
            limit=goal.limit,
            confidence=None if goal.name == "joint-risk" else goal.confidence,
        ),
        measure=MeasureEntry(name=calibration.measure.name, numbers=calibration.measure.numbers),
        tau=selection.tau,
        taus=dict(calibration.taus),
        temperatures=Temperatures(
            fast=calibration.temperatures.fast, slow=calibration.temperatures.slow
        ),
        models=models_of(parts.fit),
        data=Data(
            sha256=parts.fit.sha256,
            rows=parts.rows(),
            seed=plan.seed,
        ),
        curve={name: list(column) for name, column in calibration.curve.items()},
        judged=calibration.judged.numbers(),
    )
    return named(f"{goal.name}-{goal.limit:g}", contents)


def policy_of_choice(sweep: SweepFile, choice: Choice) -> Policy:
    """The policy of a choice that has a point: τ, its measure, and Δ."""
    if choice.point is None:
        raise InvariantBroken("A policy was asked for without a point.")
    point, outcome = sweep.points[choice.point], sweep.points[choice.point].outcome
    frontier = [sweep.points[index] for index in sweep.frontier]
    contents = Contents(
        created=sweep.created,
        method=f"sweep: {choice.name} on a simulated frontier of {len(frontier)} points",
        promise=estimate_of(sweep, point),
        goal=GoalEntry(name=choice.name, limit=goal_of(sweep, choice.name)),
        measure=sweep.measure,
        tau=point.tau,
        taus=point.taus,
        temperatures=sweep.temperatures,
        delta_ms=point.delta_ms,
        models=sweep.models,
        data=Data(
            sha256=sweep.record.sha256,
            rows={"choose": sweep.record.rows},
            seed=sweep.load.seeds[0],
        ),
        curve={
            "tau": [it.tau for it in frontier],
            "delta_ms": [it.delta_ms for it in frontier],
            "accept_rate": [it.accept_rate for it in frontier],
            "accuracy": [it.outcome.accuracy.value for it in frontier],
            "p95_ms": [it.outcome.latency.p95_ms.value for it in frontier],
            "slow_calls": [it.outcome.slow_calls.value for it in frontier],
        },
        judged={
            "accept_rate": point.accept_rate,
            "accuracy": outcome.accuracy.value,
            "fast_accuracy": sweep.record.fast_accuracy,
            "slow_accuracy": sweep.record.slow_accuracy,
        },
    )
    return named(f"sweep-{choice.name}", contents)


def policy_of_setting(
    simulator: Simulator, record: Record, setting: Setting, *, created: str, stem: str
) -> Policy:
    """The policy of a τ and Δ that are to be tried out; it promises nothing."""
    rows, base = simulator.rows, simulator.base
    contents = Contents(
        created=created,
        method="sweep --live: tried out",
        promise="Nothing is promised: this policy is tried out.",
        goal=GoalEntry(name="live", limit=0.0),
        measure=MeasureEntry(name=base.measure.name, numbers=base.measure.numbers),
        tau=setting.tau,
        taus={rows.labels[column]: tau for column, tau in setting.taus},
        temperatures=Temperatures(
            fast=base.temperature or record.fast.temperature,
            slow=base.slow_temperature or record.slow.temperature,
        ),
        delta_ms=setting.delta_ms,
        models=models_of(record),
        data=Data(sha256=record.sha256, rows={"choose": len(record)}, seed=0),
    )
    return named(stem, contents)


def models_of(record: Record) -> Models:
    """The pair that a record was made with."""
    return Models(fast=_entry(record.fast), slow=_entry(record.slow))


def _entry(outputs: Outputs) -> ModelEntry:
    return ModelEntry(name=outputs.name, version=outputs.version, sha256=outputs.sha256)
