"""What a calibration means, in plain words."""

from hunch.core.selection import Goal
from hunch.evaluation.calibrating import Calibration
from hunch.evaluation.judging import Check

DOUBTFUL = 0.05
"""Above this, chance alone may have made the slow model look better."""
STRANGE = 0.01
"""Below this, chance hardly explains why the judging rows miss the goal."""


def promise(goal: Goal, rows: int) -> str:
    """What holds of τ, and how surely, as it stands in the policy.

    Args:
        goal: that τ was chosen for.
        rows: that chose it.
    """
    limit = percent(goal.limit)
    sure = f"with a confidence of {percent(goal.confidence)} over the {rows:,} rows that chose tau"
    match goal.name:
        case "selective-risk":
            return f"Of the answers that exit, at most {limit} are wrong, {sure}."
        case "agreement":
            return (
                f"Of the answers that exit, at least {limit} are those of the slow model, {sure}."
            )
        case "accuracy-within":
            points = f"{goal.limit * 100:g} percentage points"
            return f"The cascade is right at most {points} less often than the slow model, {sure}."
        case "joint-risk":
            return (
                f"Of all messages, at most {limit} exit wrong where the slow model is right, on "
                f"average over draws of the {rows:,} rows that choose tau."
            )
        case _:
            return f"At most {limit} of the messages go to the slow model, {sure}."


def conditions(calibration: Calibration) -> str:
    """What the promise rests on, and what is not promised."""
    goal = calibration.plan.goal
    late = {
        "accuracy-within": "while every slow answer comes in time",
        "selective-risk": "whatever becomes of the messages that wait",
        "agreement": "whatever becomes of the messages that wait",
    }.get(goal.name)
    kept = "for messages that come from where the recorded ones came from"
    others = [
        "that it stays so when the messages change",
        "that it holds in every class by itself",
    ]
    if goal.name == "joint-risk":
        others.insert(0, "that this one tau keeps the limit, only that such a tau does on average")
    if goal.name in {"agreement", "slow-share"}:
        others.append("anything about right and wrong")
    if goal.name == "slow-share":
        others.append("anything about the answers that exit")
    held = f"{kept}, {late}" if late else kept
    return f"Promised {held}. Not promised: {'; '.join(others)}."


def told(calibration: Calibration) -> list[str]:
    """What the chosen τ will do, a sentence each; nothing without one."""
    tau, judged = calibration.selection.tau, calibration.judged
    if tau is None or judged.accept_rate is None:
        return []
    exits = round(judged.accept_rate * 1000)
    rows = f"the {judged.rows:,} rows that had no part in choosing tau"
    said = [f"Of 1,000 messages about {exits:,} exit and {1000 - exits:,} wait, as on {rows}."]
    if judged.accuracy is not None:
        said.append(
            f"Of all answers {percent(judged.accuracy)} are right when every slow answer comes in "
            f"time (slow model alone {percent(judged.slow_accuracy)}, fast model alone "
            f"{percent(judged.fast_accuracy)})."
        )
    own = promise(calibration.plan.goal, calibration.selection.rows)
    return [*said, own, conditions(calibration), *_checked(calibration)]


def _checked(calibration: Calibration) -> list[str]:
    found, goal = calibration.check, calibration.plan.goal
    if found is None or found.found is None:
        return ["None of the judging rows exits, so that they say nothing about the promise."]
    sides = ("at least", "below") if goal.name == "agreement" else ("at most", "above")
    value, limit = percent(found.found), percent(goal.limit)
    start = f"On the judging rows {_what(goal)} is {value}"
    if found.is_kept:
        return [f"{start}: {sides[0]} {limit}, as promised."]
    return [f"{start}, {sides[1]} {limit}: {_explained(found)}"]


def _explained(found: Check) -> str:
    if found.chance < STRANGE:
        return (
            f"chance alone would bring that about in {percent(found.chance)} of cases. These rows "
            "are not like those that chose tau: do not rely on the promise for them."
        )
    return (
        f"chance alone brings that about in up to {percent(found.chance)} of cases where the "
        "promise holds."
    )


def _what(goal: Goal) -> str:
    return {
        "selective-risk": "the share of wrong answers among the exits",
        "agreement": "the share of exits that agree with the slow model",
        "accuracy-within": "what the cascade lacks of the slow model's accuracy",
        "joint-risk": "the share that exits wrong where the slow model is right",
        "slow-share": "the share that goes to the slow model",
    }[goal.name]


def refusal(calibration: Calibration) -> str:
    """Why there is no τ, and what would help."""
    goal, selection = calibration.plan.goal, calibration.selection
    asked = f"{goal.name} {goal.limit:g}"
    sure = "" if goal.name == "joint-risk" else f" with a confidence of {percent(goal.confidence)}"
    if calibration.rows_needed is not None:
        return (
            f"{asked} cannot be guaranteed{sure} with this much data: {selection.rows:,} rows "
            f"chose, of {_all_rows(calibration):,} in all; about {calibration.rows_needed:,} would "
            "do. Record more, or ask for less."
        )
    return (
        f"{asked} cannot be guaranteed{sure}, and more data like this would not change it: "
        f"{_surest(calibration)}. Ask for less, or take a better fast model."
    )


def _surest(calibration: Calibration) -> str:
    """What the first candidate shows, which is where the fast model is surest."""
    tested = calibration.selection.tested
    if not tested or not tested[0].exits:
        return "no tau keeps it on these rows"
    first = tested[0]
    among = f"of the {first.exits:,} rows of which the fast model is surest"
    if calibration.plan.goal.name == "accuracy-within":
        return f"{among} too many are right with the slow model alone"
    harm = "are wrong" if calibration.plan.goal.name != "agreement" else "disagree"
    return f"{among} {percent(first.estimate)} {harm}"


def _all_rows(calibration: Calibration) -> int:
    parts = calibration.split
    return len(parts.fit) + len(parts.choose) + (0 if parts.is_judged_apart else len(parts.judge))


def notes(calibration: Calibration) -> list[str]:
    """What the person should know besides, a sentence each."""
    said = []
    if calibration.unlabelled:
        said.append(f"Left out because they have no label: {calibration.unlabelled:,} of the rows.")
    if calibration.gain is not None:
        fast, slow, chance = calibration.gain
        both = f"the slow model is right on {percent(slow)} and the fast one on {percent(fast)}"
        if slow <= fast:
            said.append(
                f"A cascade does not pay here: {both}, so the fast model alone is as good and "
                "costs less."
            )
        elif chance > DOUBTFUL:
            said.append(
                f"It is not certain that a cascade pays: {both}, and chance alone makes as large a "
                f"difference in {percent(chance)} of cases."
            )
    said += [
        f"The {side} model keeps its own temperature: {why}."
        for side, why in calibration.temperatures.kept.items()
    ]
    if calibration.selection.tau == 0.0:
        said.append("tau is 0: every message exits, and the slow model is not asked at all.")
    return said


def percent(share: float | None) -> str:
    """A share as people read it."""
    return "unknown" if share is None else f"{share * 100:.4g} %"
