"""From what a sweep has found to its file."""

from hunch import __version__
from hunch.core.policy import MeasureEntry, Temperatures
from hunch.evaluation.policies import models_of
from hunch.evaluation.records import Record
from hunch.evaluation.simulator import Simulator
from hunch.evaluation.sweep_explaining import notes_of
from hunch.evaluation.sweep_file import Asked, Load, RecordEntry, SweepFile
from hunch.evaluation.sweeping import Found


def sweep_file_of(
    found: Found,
    simulator: Simulator,
    record: Record,
    *,
    created: str,
    epsilon: float,
    arrivals: str | None = None,
    policy: str | None = None,
) -> SweepFile:
    """All that was found, with all that it depends on.

    Args:
        found: by the sweep.
        simulator: that simulated the points.
        record: whose rows these were.
        created: when, as ISO 8601 in UTC.
        epsilon: that the choices were made by.
        arrivals: the name of the file with recorded timestamps.
        policy: the name of the policy whose measure and temperatures count.
    """
    rows, base, scenario = simulator.rows, simulator.base, simulator.scenario
    has_own_taus = bool(found.points[found.today].taus)
    return SweepFile(
        created=created,
        made_by=__version__,
        record=RecordEntry(
            folder=str(record.folder),
            sha256=record.sha256,
            rows=len(rows.truth.fast_right),
            right_by=rows.right_by,
            fast_accuracy=float(rows.truth.fast_right.mean()),
            slow_accuracy=float(rows.truth.slow_right.mean()),
        ),
        models=models_of(record),
        measure=MeasureEntry(name=base.measure.name, numbers=base.measure.numbers),
        temperatures=Temperatures(
            fast=base.temperature or record.fast.temperature,
            slow=base.slow_temperature or record.slow.temperature,
        ),
        policy=policy,
        place=scenario.place,
        deployment=scenario.deployment,
        load=Load(
            rate_per_s=scenario.traffic.rate_per_s,
            pattern=scenario.traffic.pattern,
            arrivals=arrivals,
            seconds=scenario.seconds,
            warm_up_s=scenario.warm_up_s,
            seeds=simulator.seeds,
        ),
        asked=Asked(epsilon=epsilon, in_time_ms=simulator.in_time_ms, prices=simulator.prices),
        points=found.points,
        today=found.today,
        frontier=found.frontier,
        choices=found.choices,
        alone=dict(found.alone),
        gains=found.gains,
        notes=tuple(notes_of(simulator, record, has_own_taus=has_own_taus)),
    )
