"""What `hunch sweep` prints: progress, the frontier, the choices and the throughput gained."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hunch.cli.output import show_table

if TYPE_CHECKING:
    from hunch.evaluation.kept_points import KeptPoints
    from hunch.evaluation.simulation.outcome import Outcome
    from hunch.evaluation.sweep_file import Gain, Point, SweepFile

MOST_SHOWN = 14
"""Points of a frontier in the table; the file has all of them."""
OnProgress = Callable[[int, int], None]
POINT_COLUMNS = (
    "exit",
    "right",
    "to slow",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "slow calls",
    "fallback",
    "cost",
)


@contextmanager
def watching(file: Path, known: "KeptPoints", *, as_json: bool) -> Iterator[OnProgress]:
    """A bar on a terminal; elsewhere one line where points are known already."""
    if len(known) and not as_json:
        typer.echo(f"hunch: {len(known):,} points are in {file} already.", err=True)
    if not sys.stderr.isatty() or as_json:
        yield lambda _done, _total: None
        return
    from rich.console import Console  # noqa: PLC0415  only a terminal needs it
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("simulating", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def show_sweep(sweep: "SweepFile", results: Path) -> None:
    """Tables for people, tab-separated text in a pipe."""
    from hunch.evaluation.sweep_explaining import change, meaning  # noqa: PLC0415  needs the extra

    rows = [(*_setting(sweep, index), *_cells(sweep.points[index])) for index in _shown(sweep)]
    alone = [(f"{side} alone", "", "", *_alone(sweep.alone[side])) for side in ("fast", "slow")]
    show_table(("point", "tau", "delta_ms", *POINT_COLUMNS), [*rows, *alone])
    show_table(
        ("choice", "is the", "tau", "delta_ms", "would change against today"),
        [
            (
                choice.name,
                meaning(sweep, choice.name),
                *(("", "") if choice.point is None else _place(sweep.points[choice.point])),
                change(sweep, choice),
            )
            for choice in sweep.choices
        ],
    )
    show_table(
        ("tau", "wait", "messages/s at most", "by", "x slow", "x fast", "1 / wait", "at this rate"),
        [
            (
                f"{gain.tau:g}",
                f"{gain.deferral_rate:.2%}",
                f"{gain.capacity_per_s:,.0f}",
                gain.bottleneck,
                f"{gain.over_slow:.2f}",
                f"{gain.over_fast:.2f}",
                "" if gain.limit is None else f"{gain.limit:.2f}",
                "" if gain.at_load_over_slow is None else f"{gain.at_load_over_slow:.2f} x slow",
            )
            for gain in _gains(sweep)
        ],
    )
    for sentence in sweep.notes:
        typer.echo(f"hunch: {sentence}", err=True)
    typer.echo(f"{results} is written: {len(sweep.points):,} points.")


def _shown(sweep: "SweepFile") -> list[int]:
    """Today and the choices, and of the rest of the frontier evenly spaced ones, by cost."""
    own = [sweep.today, *(it.point for it in sweep.choices if it.point is not None)]
    count = len(sweep.frontier)
    step = max(1.0, count / MOST_SHOWN)
    some = {sweep.frontier[int(index * step)] for index in range(min(count, MOST_SHOWN))}
    points = sweep.points
    return sorted(
        some.union(own), key=lambda it: (points[it].cost, points[it].outcome.accuracy.value)
    )


def _gains(sweep: "SweepFile") -> list["Gain"]:
    """Those of the τ in the first table, and of both ends."""
    taus = {sweep.points[index].tau for index in _shown(sweep)}
    last = len(sweep.gains) - 1
    return [
        gain for index, gain in enumerate(sweep.gains) if gain.tau in taus or index in {0, last}
    ]


def _setting(sweep: "SweepFile", index: int) -> tuple[str, str, str]:
    names = ["today"] if index == sweep.today else []
    names += [choice.name for choice in sweep.choices if choice.point == index]
    return ", ".join(names), *_place(sweep.points[index])


def _place(point: "Point") -> tuple[str, str]:
    return f"{point.tau:g}{' …' if point.taus else ''}", str(point.delta_ms)


def _cells(point: "Point") -> tuple[str, ...]:
    return f"{point.accept_rate:.1%}", *_numbers(point.outcome, point.cost)


def _alone(outcome: "Outcome") -> tuple[str, ...]:
    return "", *_numbers(outcome, None)


def _numbers(outcome: "Outcome", cost: float | None) -> tuple[str, ...]:
    accuracy, latency = outcome.accuracy, outcome.latency
    half = max(accuracy.value - (accuracy.low or 0.0), (accuracy.high or 0.0) - accuracy.value)
    late = "" if outcome.keeps_up else " (overload)"
    return (
        f"{accuracy.value:.2%} ± {half:.2%}",
        f"{0.0 - 100 * outcome.gap.value:+.2f}",
        f"{latency.p50_ms.value:.0f}",
        f"{latency.p95_ms.value:.0f}{late}",
        f"{latency.p99_ms.value:.0f}",
        "" if cost is None else f"{outcome.slow_calls.value:.2%}",
        "" if cost is None else f"{outcome.rates['fallback'].value:.2%}",
        "" if cost is None else f"{cost:.4g}",
    )
