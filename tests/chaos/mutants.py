"""Shows that the harness can fail: rules of Hunch are broken one at a time, and each must be seen.

A mutant is a small textual change to a copy of `app/`, described in `mutants.toml`. The run that
shows it is the short one, unless the mutant names another; the same run must pass without any
change. The exit code is 1 where a mutant survives, does not apply any more, or the control fails.

    python -m tests.chaos.mutants [NAME …]
"""

import shutil
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from tests.brokers import ROOT, KafkaBroker, Missing
from tests.chaos.package import copy_app
from tests.chaos.report import Screen
from tests.chaos.run import Outcome, Plan, run
from tests.chaos.schedule import MIXES
from tests.chaos.short import SHORT

DESCRIBED = Path(__file__).with_name("mutants.toml")
CONTROL = "unchanged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Text that is replaced in a file of the package."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One broken rule.

    Attributes:
        why: what comes of it.
        mix: the faults that show it.
    """

    name: str
    why: str
    changes: tuple[Change, ...]
    mix: str = "short"
    seed: int = SHORT.seed
    seconds: float = SHORT.seconds

    def plan(self, app: Path) -> Plan:
        """The run that must see it."""
        return replace(SHORT, mix=MIXES[self.mix], seed=self.seed, seconds=self.seconds, app=app)


class DoesNotApply(Exception):  # noqa: N818 - said to whoever maintains the mutants
    """The code has changed, and the mutant has to follow it."""


def described() -> list[Mutant]:
    """All mutants of `mutants.toml`."""
    found = tomllib.loads(DESCRIBED.read_text())["mutant"]
    return [
        Mutant(
            changes=tuple(Change(**change) for change in one["change"]),
            **{key: value for key, value in one.items() if key != "change"},
        )
        for one in found
    ]


def mutate(mutant: Mutant, app: Path) -> None:
    """Changes a copy of the package; raises `DoesNotApply` where a text is not there just once."""
    for change in mutant.changes:
        path = app / "hunch" / change.file
        text = path.read_text()
        if text.count(change.old) != 1:
            raise DoesNotApply(
                f"{mutant.name} does not apply: {change.file} holds its text "
                f"{text.count(change.old)} times, so mutants.toml has to follow the code."
            )
        path.write_text(text.replace(change.old, change.new))


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Default: all.")] = None,
    *,
    app: Annotated[Path, typer.Option(help="The folder that holds the package.")] = ROOT / "app",
    control: Annotated[bool, typer.Option(help="Run the unchanged code, too.")] = True,
) -> None:
    """Breaks rules of Hunch one at a time; the harness must see each."""
    console = Console()
    mutants = [one for one in described() if not names or one.name in names]
    if control:
        mutants.insert(0, Mutant(name=CONTROL, why="", changes=()))
    folder = Path(tempfile.mkdtemp(prefix="hunch-mutants-"))
    broker = KafkaBroker(folder / "broker")
    rows: list[tuple[Mutant, Outcome | str]] = []
    try:
        broker.start()
        with Screen(console) as screen:
            for mutant in mutants:
                copied = copy_app(app.resolve(), folder / mutant.name)
                try:
                    mutate(mutant, copied)
                    screen.say(f"--- {mutant.name}")
                    rows.append((mutant, run(mutant.plan(copied), broker, screen)))
                except (DoesNotApply, AssertionError) as problem:
                    rows.append((mutant, str(problem)))
    except Missing as missing:
        console.print(str(missing))
        sys.exit(1)
    finally:
        broker.kill()
        shutil.rmtree(folder, ignore_errors=True)
    console.print(_table(rows))
    raise typer.Exit(0 if all(_is_as_it_should(*row) for row in rows) else 1)


def _is_as_it_should(mutant: Mutant, outcome: Outcome | str) -> bool:
    is_control = mutant.name == CONTROL
    return isinstance(outcome, Outcome) and outcome.has_passed == is_control


def _table(rows: Sequence[tuple[Mutant, Outcome | str]]) -> Table:
    table = Table(title="Mutants", title_justify="left")
    for column in ("mutant", "faults", "caught by", "after"):
        table.add_column(column)
    for mutant, outcome in rows:
        faults = f"{mutant.mix}, seed {mutant.seed}"
        if isinstance(outcome, str):
            table.add_row(mutant.name, faults, outcome, "", style="bold red")
            continue
        problems = ", ".join(f"{count} {name}" for name, count in outcome.problems.items() if count)
        after_s = outcome.counts["found_after_s"]
        after = "" if after_s is None else f"{after_s:.0f} s"
        style = "green" if _is_as_it_should(mutant, outcome) else "bold red"
        table.add_row(mutant.name, faults, problems or "nothing", after, style=style)
    return table


if __name__ == "__main__":
    typer.run(main)
