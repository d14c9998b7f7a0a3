"""What `hunch sweep --live` prints: progress, and simulated against measured side by side."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from hunch.cli.output import show_table
from hunch.evaluation.live.comparing import NAMES

if TYPE_CHECKING:
    from hunch.evaluation.sweep_file import LivePoint

MISSED = " !"
COLUMNS = ("tau", "delta_ms", "rate", "", *NAMES, "cores busy", "missed")


class Watch:
    """Where a row of trials is; without a bar it tells nobody."""

    def __init__(self, names: Sequence[str], bar: Any = None) -> None:
        self._names = list(names)
        self._done = 0
        self._bar = bar
        self._task = None if bar is None else bar.add_task("", total=float(len(names)))

    def begin(self) -> None:
        """The next trial begins."""
        name = self._names[min(self._done, len(self._names) - 1)]
        self._tell(description=f"{self._done + 1}/{len(self._names)} {name}")

    def advance(self, share: float) -> None:
        """So much of this trial has passed."""
        self._tell(completed=self._done + share)

    def end(self) -> None:
        """This trial is over."""
        self._done += 1
        self._tell(completed=self._done)

    def _tell(self, **what: Any) -> None:
        if self._bar is not None:
            self._bar.update(self._task, **what)


@contextmanager
def watching(names: Sequence[str], *, is_silent: bool) -> Iterator[Watch]:
    """A bar on a terminal; elsewhere nothing."""
    if is_silent or not sys.stderr.isatty():
        yield Watch(names)
        return
    from rich.console import Console  # noqa: PLC0415  only a terminal needs it
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("live {task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Watch(names, progress)


def show_live(points: Sequence["LivePoint"], notes: Sequence[str]) -> None:
    """Two lines a point, and a sentence; what is too far apart has a mark."""
    rows = [row for point in points for row in _rows(point)]
    show_table(COLUMNS, rows)
    for sentence in notes:
        typer.echo(f"hunch: {sentence}", err=True)
    number = sum(bool(point.missed) for point in points)
    typer.echo(
        f"Live: {len(points) - number} of {len(points)} points are as simulated: accuracy and "
        "rates within 2 points, p95 within 10 % or 10 ms."
    )


def _rows(point: "LivePoint") -> Iterator[tuple[str, ...]]:
    place = f"{point.tau:g}", str(point.delta_ms), f"{point.rate_per_s:g}"
    yield *place, "simulated", *(_cell(name, point.predicted[name]) for name in NAMES), "", ""
    measured = (
        _cell(name, point.measured[name]) + (MISSED if name in point.missed else "")
        for name in NAMES
    )
    busy = "" if point.busy is None else f"{point.busy:.0%}"
    yield *place, "measured", *measured, busy, ", ".join(point.missed)


def _cell(name: str, value: float) -> str:
    return f"{value:.0f}" if name.endswith("_ms") else f"{value:.1%}"
