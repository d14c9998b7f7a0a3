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
from hunch.errors import DataError, InvariantBroken
from hunch.evaluation.calibrating import Calibration
from hunch.evaluation.explaining import promise
from hunch.evaluation.records import Outputs


def policy_of(calibration: Calibration, *, created: str, is_timeout_aware: bool) -> Policy:
    """The policy of a τ that was found.

    Args:
        calibration: with a τ.
        created: when, as ISO 8601 in UTC.
        is_timeout_aware: whether τ is to fall as the slow path congests.

    Raises `DataError` where the rows do not say what a τ that falls depends on.
    """
    selection, plan, parts = calibration.selection, calibration.plan, calibration.split
    if is_timeout_aware and calibration.slow_accuracy is None:
        raise DataError(
            "A tau that falls as the slow path congests needs the slow model's accuracy on what "
            "waits, and these rows do not show it: leave --timeout-aware out, or record labels."
        )
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
        slow_accuracy=calibration.slow_accuracy if is_timeout_aware else None,
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
