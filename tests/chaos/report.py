"""What a run has come to, as tables for a person; the same stands in `outcome.json`."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text
from tests.chaos.run import Outcome, Progress, Run

LINES_SHOWN = 8
EVIDENCE_SHOWN = 3
SHORT_NAMES = {
    "takeovers": "takeovers, ",
    "lanes_lost": "lane lost, ",
    "logged": "logged: ",
    "ended_by_themselves": "ended by itself, code ",
}


class Screen(Progress):
    """Live progress on a terminal; elsewhere, a line for each thing that happens."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines: list[str] = []
        self._live = Live(console=console, refresh_per_second=4, transient=True)
        self._shown_s = 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def say(self, line: str) -> None:
        """Something has happened."""
        self._lines.append(line)
        if not self._console.is_terminal:
            self._console.print(line, highlight=False, markup=False)

    def show(self, run: Run) -> None:
        """Called some times a second."""
        if self._console.is_terminal and time.monotonic() - self._shown_s > 0.25:
            self._shown_s = time.monotonic()
            self._live.update(self._seen(run))

    def _seen(self, run: Run) -> Group:
        plan, witness = run.plan, run.witness
        decided = len(witness.origins)
        head = (
            f"{plan.mix.name}, seed {plan.seed}, {plan.delivery}: {run.phase}, "
            f"{time.time() - run.began_s:.0f} s"
        )
        numbers = (
            f"{run.load.sent:,} sent, {decided:,} decided, "
            f"{run.load.sent - decided:,} under way, {len(witness.seen) - decided:,} twice"
        )
        done = ", ".join(f"{count} {kind}" for kind, count in run.havoc.counts.most_common())
        return Group(
            Text(head, style="bold"),
            Text(numbers),
            Text(done or "no faults yet"),
            *(Text(line, style="dim") for line in self._lines[-LINES_SHOWN:]),
        )


def print_outcomes(console: Console, outcomes: Sequence[Outcome]) -> None:
    """One table of what was found, one of what was done, one of gaps for each sparse run."""
    console.print(_found(outcomes))
    console.print(_done(outcomes))
    for outcome in outcomes:
        if outcome.plan.mix.least_pause_s:
            console.print(_gaps(outcome))
        _print_evidence(console, outcome)


def again(outcome: Outcome) -> str:
    """The command that runs the same seed again."""
    plan = outcome.plan
    return (
        f"make chaos MIX={plan.mix.name} SEED={plan.seed} SECONDS={plan.seconds:.0f} "
        f"DELIVERY={plan.delivery} SESSION_MS={plan.session_ms}"
    )


def _found(outcomes: Sequence[Outcome]) -> Table:
    table = _table("What was found", outcomes)
    _row(table, "messages", [outcome.counts["messages"] for outcome in outcomes])
    _row(table, "decisions", [outcome.counts["decisions"] for outcome in outcomes])
    missed = [outcome.counts["missed_by_witness"] for outcome in outcomes]
    _row(table, "  found only afterwards", missed)
    for path in _names(outcome.counts["paths"] for outcome in outcomes):
        _row(table, f"  {path}", [outcome.counts["paths"].get(path, 0) for outcome in outcomes])
    for name in outcomes[0].problems:
        values = [outcome.problems[name] for outcome in outcomes]
        _row(table, name.upper(), values, style="bold red" if any(values) else "green")
    return table


def _done(outcomes: Sequence[Outcome]) -> Table:
    table = _table("What was done", outcomes)
    for kind in _names(outcome.deeds for outcome in outcomes):
        _row(table, kind, [outcome.deeds[kind] for outcome in outcomes])
    for name in ("aborted_transactions", "fences"):
        _row(table, name.replace("_", " "), [outcome.counts[name] for outcome in outcomes])
    for counted, short in SHORT_NAMES.items():
        for name in _names(outcome.counts[counted] for outcome in outcomes):
            values = [outcome.counts[counted].get(name, 0) for outcome in outcomes]
            _row(table, f"{short}{name}", values)
    _row(table, "seconds", [round(outcome.counts["wall_s"]) for outcome in outcomes])
    _row(table, "CPU seconds", [round(outcome.counts["cpu_s"]) for outcome in outcomes])
    return table


def _gaps(outcome: Outcome) -> Table:
    table = Table(
        title=f"Longest gap in decisions, seconds: median (worst), {outcome.plan.mix.name}",
        title_justify="left",
    )
    table.add_column("fault")
    for column in ("fast, hit", "fast, others", "joined, hit", "joined, others"):
        table.add_column(column, justify="right")
    for kind, found in sorted(outcome.gaps.items()):
        cells = [
            "" if value is None else f"{value['median']:.2f} ({value['max']:.2f})"
            for value in found.as_columns().values()
        ]
        table.add_row(kind, *cells)
    return table


def _print_evidence(console: Console, outcome: Outcome) -> None:
    for name, sentences in outcome.as_json()["evidence"].items():
        for sentence in sentences[:EVIDENCE_SHOWN]:
            console.print(f"{name.upper()} {sentence}", highlight=False, markup=False)
    verdict = "passed" if outcome.has_passed else "FAILED"
    console.print(
        f"{outcome.plan.mix.name}: {verdict}. Logs and outcome.json are in {outcome.folder}. "
        f"Again: {again(outcome)}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _names(counted: Any) -> list[str]:
    together: Counter[str] = Counter()
    for counts in counted:
        together.update(counts)
    return [name for name, _ in together.most_common()]


def _table(title: str, outcomes: Sequence[Outcome]) -> Table:
    """A column for each run, and one for all together where there are more."""
    table = Table(title=title, title_justify="left")
    table.add_column(no_wrap=True)
    for outcome in outcomes:
        table.add_column(outcome.plan.mix.name, justify="right", overflow="fold")
    if len(outcomes) > 1:
        table.add_column("all", justify="right", style="bold")
    return table


def _row(table: Table, name: str, values: Sequence[int], style: str | None = None) -> None:
    together = [sum(values)] if len(values) > 1 else []
    table.add_row(name, *(f"{value:,}" for value in [*values, *together]), style=style)
