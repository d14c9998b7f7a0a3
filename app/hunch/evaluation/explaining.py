"""What a calibration means, in plain words."""

from hunch.core.selection import Goal
from hunch.evaluation.calibrating import Calibration
from hunch.evaluation.judging import Check

DOUBTFUL = 0.05
"""Above this, chance alone may have made the slow model look better."""

LEAST_EXITS = 20
"""Of fewer exits a share says nothing."""


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
            below = f"at most {points(goal.limit)} below the slow model's"
            return f"The cascade's accuracy is {below}, {sure}."
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
    kept = "for messages like the recorded ones, each different input counted once"
    others = [
        "that it stays so when the messages change",
        "that it holds in every class by itself",
    ]
    if goal.name == "joint-risk":
        others.insert(0, "that this one tau keeps the limit, only that such a tau does on average")
    if goal.name in {"agreement", "slow-share"}:
        others.append("anything about right and wrong")
    held = f"{kept}, {late}" if late else kept
    once = "A promise is one of one calibration: of several seeds, measures or goals that are tried"
    return (
        f"Promised {held}. Not promised: {'; '.join(others)}. {once}, the one that passes has no "
        "such confidence."
    )


def told(calibration: Calibration) -> list[str]:
    """What the chosen τ will do, a sentence each; nothing where there is no promise."""
    judged = calibration.judged
    if not calibration.is_certified or judged.accept_rate is None:
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
    cost = calibration.split.fit.message_ms
    mean_ms = cost["fast"] + (1.0 - judged.accept_rate) * cost["slow"]
    said.append(
        f"A message takes about {mean_ms:.3g} ms of a model's time, with the slow model alone "
        f"{cost['slow']:.3g} ms."
    )
    own = promise(calibration.plan.goal, calibration.selection.rows)
    return [*said, own, conditions(calibration), _checked(calibration)]


def _checked(calibration: Calibration) -> str:
    found, goal = calibration.check, calibration.plan.goal
    if found is None or found.found is None:
        return "None of the judging rows exits: they say nothing about the promise."
    if goal.name == "accuracy-within" and found.found <= 0.0:
        return "On the judging rows the cascade is no less accurate than the slow model."
    if found.is_kept:
        return f"{_on_judging_rows(goal, found)}, as promised."
    return (
        f"{_on_judging_rows(goal, found)}: chance alone brings that about in up to "
        f"{percent(found.chance)} of cases where the promise holds."
    )


def _on_judging_rows(goal: Goal, found: Check) -> str:
    sides = ("at least", "below") if goal.name == "agreement" else ("at most", "above")
    side = sides[0] if found.is_kept else sides[1]
    value, limit = _in_unit(goal, found.found), _in_unit(goal, goal.limit)
    return f"On the judging rows {_what(goal)} is {value}, {side} {limit}"


def _in_unit(goal: Goal, number: float | None) -> str:
    return points(number) if goal.name == "accuracy-within" else percent(number)


def _what(goal: Goal) -> str:
    return {
        "selective-risk": "the share of wrong answers among the exits",
        "agreement": "the share of exits that agree with the slow model",
        "accuracy-within": "what the cascade lacks of the slow model's accuracy",
        "joint-risk": "the share that exits wrong where the slow model is right",
        "slow-share": "the share that goes to the slow model",
    }[goal.name]


def refusal(calibration: Calibration) -> str:
    """Why there is no policy, and what would help."""
    goal, selection = calibration.plan.goal, calibration.selection
    repeated = calibration.by_messages
    if repeated is not None and not repeated.is_kept:
        found = _in_unit(goal, repeated.found)
        return (
            f"Counted as often as each input came, {_what(goal)} is {found}, against the limit of "
            f"{_in_unit(goal, goal.limit)}: some inputs that come often do worse than the others. "
            "Ask for a stricter limit, or answer such inputs by a rule of their own."
        )
    if calibration.check is not None:
        return (
            f"{_on_judging_rows(goal, calibration.check)}, against what the rows that chose tau "
            "promise, and chance hardly explains that: the two are not alike. Record rows like "
            "those that the policy is for."
        )
    sure = "" if goal.name == "joint-risk" else f" with a confidence of {percent(goal.confidence)}"
    start = f"{goal.name} {goal.limit:g} cannot be guaranteed{sure}"
    if calibration.rows_needed is not None:
        return (
            f"{start} with this much data: {selection.rows:,} rows chose, of "
            f"{_all_rows(calibration):,} in all; about {calibration.rows_needed:,} would do. "
            "Record more, once, or ask for less."
        )
    return (
        f"{start}, and more rows like these would not change that{_lowest(calibration)}. Ask for "
        "less, or take a better fast model."
    )


def _lowest(calibration: Calibration) -> str:
    """How low the risk of the exits gets on the judging rows, where that is above the limit."""
    curve, goal = calibration.curve, calibration.plan.goal
    match goal.name:
        case "selective-risk":
            harm, risks = "are wrong", curve["selective_risk"]
        case "agreement":
            harm = "disagree"
            risks = [None if share is None else 1.0 - share for share in curve["agreement"]]
        case _:
            return ""
    least = min(
        risk
        for risk, share in zip(risks, curve["accept_rate"], strict=True)
        if risk is not None and share is not None
        if share * calibration.judged.rows >= LEAST_EXITS or share == 1.0
    )
    if least <= goal.harm_limit:
        return ""
    return f": whatever tau, {percent(least)} of the exits or more {harm}"


def _all_rows(calibration: Calibration) -> int:
    parts = calibration.split
    return len(parts.fit) + len(parts.choose) + (0 if parts.is_judged_apart else len(parts.judge))


def notes(calibration: Calibration) -> list[str]:
    """What the person should know besides, a sentence each."""
    said = []
    if (repeated := calibration.by_messages) is not None and repeated.is_kept:
        goal = calibration.plan.goal
        found = _in_unit(goal, repeated.found)
        said.append(f"Counted as often as each input came, {_what(goal)} is {found}.")
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
    if calibration.only_label is not None:
        said.append(
            f"All labelled rows have the label {calibration.only_label!r}: they say nothing about "
            "the others."
        )
    if calibration.judged.accept_rate == 0.0:
        said.append("With this tau hardly any message exits: the slow model is asked for all.")
    if calibration.selection.tau == 0.0:
        said.append("With a tau of 0 every message exits, and the slow model is never asked.")
    return said


def percent(share: float | None) -> str:
    """A share as people read it."""
    return "unknown" if share is None else f"{share * 100:.4g} %"


def points(share: float | None) -> str:
    """A difference of two shares as people read it."""
    return "unknown" if share is None else f"{share * 100:.4g} points"
