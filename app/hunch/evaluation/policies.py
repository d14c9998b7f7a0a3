"""From a calibration to the policy that stages decide by."""

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
from hunch.evaluation.records import Outputs


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
        models=Models(fast=_entry(parts.fit.fast), slow=_entry(parts.fit.slow)),
        data=Data(
            sha256=parts.fit.sha256,
            rows=parts.rows(),
            seed=plan.seed,
        ),
        curve={name: list(column) for name, column in calibration.curve.items()},
        judged=calibration.judged.numbers(),
    )
    return named(f"{goal.name}-{goal.limit:g}", contents)


def _entry(outputs: Outputs) -> ModelEntry:
    return ModelEntry(name=outputs.name, version=outputs.version, sha256=outputs.sha256)
