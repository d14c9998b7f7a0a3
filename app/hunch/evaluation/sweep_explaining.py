"""What a sweep means, in plain words."""

from collections.abc import Mapping

from hunch.core.frontier import ChoiceName
from hunch.evaluation.explaining import percent
from hunch.evaluation.records import Record
from hunch.evaluation.simulator import Simulator
from hunch.evaluation.sweep_file import Choice, Point, SweepFile

MEANINGS: Mapping[ChoiceName, str] = {
    "least-cost": "least cost within {epsilon} of the slow model",
    "fastest": "lowest p95 within {epsilon} of the slow model",
    "most-in-time": "most right answers within {in_time:g} ms, a second",
    "knee": "nearest to the best accuracy, p95 and cost at once",
}


def meaning(sweep: SweepFile, name: ChoiceName) -> str:
    """What a choice asks for."""
    asked = sweep.asked
    return MEANINGS[name].format(epsilon=points_of(asked.epsilon), in_time=asked.in_time_ms)


def goal_of(sweep: SweepFile, name: ChoiceName) -> float:
    """The number that a choice was made by; 0 where there is none."""
    asked = sweep.asked
    return {"most-in-time": asked.in_time_ms, "knee": 0.0}.get(name, asked.epsilon)


def points_of(share: float) -> str:
    """A difference of two shares in points, as few digits as say something."""
    return f"{share * 100:.2g} points" if share else "0 points"


def estimate_of(sweep: SweepFile, point: Point) -> str:
    """What a point is expected to do, and that nothing of it is guaranteed."""
    outcome, load = point.outcome, sweep.load
    gap = outcome.gap
    beside = f"{points_of(abs(gap.value))} {'below' if gap.value > 0 else 'above'} the slow model"
    if gap.low is not None and gap.high is not None:
        beside += f", on other rows like these {100 * gap.low:.2g} to {100 * gap.high:.2g} below"
    what = "right" if sweep.record.right_by == "label" else "those of the slow model"
    return (
        f"An estimate by simulation, not a guarantee: at {load.rate_per_s:g} messages a second "
        f"({load.pattern}), with the {sweep.record.rows:,} recorded rows that also chose it, "
        f"{percent(outcome.accuracy.value)} of the answers are {what} ({beside}), the p95 is "
        f"{outcome.latency.p95_ms.value:.0f} ms, and {percent(outcome.slow_calls.value)} of the "
        "messages go through the slow model."
    )


def change(sweep: SweepFile, choice: Choice) -> str:
    """What a choice would change against today's setting; why there is none."""
    if choice.point is None or choice.changes is None:
        return f"No point is within {points_of(sweep.asked.epsilon)} of the slow model."
    if choice.point == sweep.today:
        return "That is today's setting."
    changes = choice.changes
    parts = [
        f"{changes.accuracy * 100:+.2f} points accuracy",
        f"{changes.p95_ms:+.0f} ms p95",
        f"{changes.slow_calls * 100:+.1f} points slow calls",
        f"{changes.in_time_per_s:+.1f} right in time a second",
    ]
    if sweep.asked.prices.are_given:
        parts.append(f"{changes.cost:+.3g} cost of a message")
    return ", ".join(parts)


def notes_of(simulator: Simulator, record: Record, *, has_own_taus: bool) -> list[str]:
    """What the person should know of these numbers, a sentence each."""
    scenario = simulator.scenario
    said = list(record.left_out())
    if simulator.rows.right_by == "slow":
        said.append(
            "No row has a label: an answer counts as right where the slow model gives it, so "
            "accuracy is agreement with the slow model."
        )
    if simulator.rows.unlabelled:
        said.append(
            f"Left out because they have no label: {simulator.rows.unlabelled:,} of the rows."
        )
    if has_own_taus:
        said.append("Labels with a tau of their own have it in today's setting only.")
    said.append(
        f"The first {scenario.warm_up_s:g} s of each run, and as long as the longest delta, do not "
        "count."
    )
    said.append(
        "Simulated: stages in processes of their own, cores enough, brokers and models as measured."
    )
    return said
