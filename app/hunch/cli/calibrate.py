"""`hunch calibrate`: from recorded answers to a policy, and what it will do in plain words."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from hunch.cli.options import Json
from hunch.cli.output import show_json, show_table
from hunch.clock import SystemClock, utc
from hunch.errors import ConfigError, NotCertified
from hunch.evaluation import require_extra

if TYPE_CHECKING:
    from hunch.core.policy import Policy
    from hunch.core.selection import Goal, GoalName
    from hunch.evaluation.calibrating import Calibration

app = typer.Typer()


@app.command()
def calibrate(
    record: Annotated[
        Path, typer.Argument(metavar="RECORD", help="Folder that `hunch record` has written.")
    ],
    *,
    goal: Annotated[
        str,
        typer.Option(
            metavar="NAME=NUMBER",
            help="accuracy-within, selective-risk, joint-risk, agreement or slow-share, and its "
            "limit from 0 to 1.",
        ),
    ],
    confidence: Annotated[
        float, typer.Option(help="How surely the goal is to be kept, below 1.")
    ] = 0.95,
    measure: Annotated[
        str,
        typer.Option(help="max_probability, margin, entropy, energy, mixture or learned."),
    ] = "max_probability",
    per_class: Annotated[
        bool, typer.Option("--per-class", help="A tau for each label with enough rows.")
    ] = False,
    judge: Annotated[
        Path | None,
        typer.Option(metavar="RECORD", help="Other rows that judge, not a part of the first."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the split.")] = 0,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Policy to write.")] = Path(
        "policy.json"
    ),
    plots: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Draw what was found, as SVG.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Chooses tau for a goal and writes the policy; code 4 where it cannot be guaranteed."""
    require_extra()
    from hunch.evaluation.calibrating import Plan, calibrate  # noqa: PLC0415  needs the extra
    from hunch.evaluation.policies import policy_of  # noqa: PLC0415
    from hunch.evaluation.records import read  # noqa: PLC0415

    plan = Plan(goal=_goal(goal, confidence), measure=measure, is_per_class=per_class, seed=seed)
    records = [read(folder) for folder in (record, judge) if folder is not None]
    found = calibrate(records[0], plan, None if judge is None else records[1])
    left_out = [f"{it.folder}: {told}" for it in records for told in it.left_out()]
    policy = None
    if found.is_certified:
        policy = policy_of(found, created=utc(SystemClock().now_ms()))
    if plots is not None:
        _draw(found, plots)
    if policy is not None:
        _write(out, policy.text())
    _show(found, policy, left_out, out, as_json=as_json)


def _goal(text: str, confidence: float) -> "Goal":
    from hunch.core.selection import GOALS, Goal  # noqa: PLC0415  needs the extra

    name, equals, number = text.partition("=")
    try:
        limit = float(number)
    except ValueError:
        raise ConfigError(
            f"--goal {text} {'is no number' if equals else 'has no limit'}: write NAME=NUMBER with "
            f"one of {', '.join(GOALS)} and a number from 0 to 1."
        ) from None
    return Goal(name=cast("GoalName", name.strip()), limit=limit, confidence=confidence)


def _write(file: Path, text: str) -> None:
    from hunch.evaluation.files import write_whole  # noqa: PLC0415  needs the extra

    try:
        write_whole(file, text.encode())
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}.") from error


def _draw(found: "Calibration", folder: Path) -> None:
    from hunch.evaluation.plots import draw  # noqa: PLC0415  matplotlib takes a while

    try:
        drawn = draw(found, folder)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}.") from error
    typer.echo(f"hunch: Drawn: {', '.join(map(str, drawn))}.", err=True)


def _show(
    found: "Calibration",
    policy: "Policy | None",
    left_out: Sequence[str],
    out: Path,
    *,
    as_json: bool,
) -> None:
    """Prints what was found; raises `NotCertified` where that is no policy."""
    from hunch.evaluation.explaining import notes, refusal, told  # noqa: PLC0415  needs the extra

    besides = [*left_out, *notes(found)]
    if as_json:
        show_json(_as_json(found, policy) | {"explanation": told(found), "notes": besides})
    else:
        show_table(("calibrated", ""), _rows(found))
        for sentence in told(found):
            typer.echo(sentence)
        for sentence in besides:
            typer.echo(f"hunch: {sentence}", err=True)
    if policy is None:
        raise NotCertified(f"{refusal(found)} No policy is written.")
    if not as_json:
        typer.echo(
            f"{out} is written: {policy.name}. Start stages with --set policy_file={out}, or bring "
            f"it into running ones with `hunch policy push {out}`."
        )


def _rows(found: "Calibration") -> list[tuple[str, str]]:
    from hunch.evaluation.explaining import percent  # noqa: PLC0415  needs the extra

    goal, judged = found.plan.goal, found.judged
    sure = "on average" if goal.name == "joint-risk" else f"at {percent(goal.confidence)}"
    rows = [
        ("goal", f"{goal.name} {goal.limit:g} {sure}"),
        ("method", found.selection.method),
        ("rows", ", ".join(f"{count:,} {name}" for name, count in found.split.rows().items())),
        ("measure", found.measure.name),
        ("temperatures", f"fast {found.temperatures.fast:.4g}, slow {found.temperatures.slow:.4g}"),
    ]
    if found.selection.tau is not None:
        labels = len(found.split.fit.labels)
        own = f", and its own for {len(found.taus)} of {labels} labels" if found.taus else ""
        rows.append(("tau", f"{found.selection.tau:.6g}{own}"))
    shares = (
        ("judged: exit", judged.accept_rate),
        ("judged: right", judged.accuracy),
        ("judged: right with the slow model alone", judged.slow_accuracy),
        ("judged: right with the fast model alone", judged.fast_accuracy),
        ("judged: wrong among exits", judged.selective_risk),
        ("judged: agree among exits", judged.agreement),
        ("judged: exit wrong where the slow model is right", judged.joint_risk),
    )
    rows += [(name, percent(share)) for name, share in shares if share is not None]
    if judged.ece is not None:
        rows.append(
            (
                "judged: calibration error of the fast model",
                f"{judged.ece:.3f}, with its own temperature {judged.ece_before:.3f}",
            )
        )
    return rows


def _as_json(found: "Calibration", policy: "Policy | None") -> dict[str, object]:
    goal = found.plan.goal
    return {
        "is_certified": policy is not None,
        "policy": None if policy is None else policy.name,
        "goal": {"name": goal.name, "limit": goal.limit, "confidence": goal.confidence},
        "method": found.selection.method,
        "promise": None if policy is None else policy.promise,
        "tau": found.selection.tau,
        "taus": found.taus,
        "measure": {"name": found.measure.name, "numbers": found.measure.numbers},
        "temperatures": {"fast": found.temperatures.fast, "slow": found.temperatures.slow},
        "rows": found.split.rows(),
        "rows_needed": found.rows_needed,
        "judged": found.judged.numbers(),
        "curve": found.curve,
    }
