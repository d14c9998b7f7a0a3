"""The command `hunch`: one file a command, imported when it is asked for.

A mistake is one sentence on stderr, `hunch: …`, and an exit code that says who has to act: 2 for
settings, arguments and models, 3 for the broker, 4 where a goal cannot be guaranteed, 130 for
Ctrl-C, 1 for everything else.
"""

import importlib
import io
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hunch import __version__
from hunch.errors import HunchError

COMMANDS = (
    "run",
    "demo",
    "send",
    "tail",
    "inspect",
    "record",
    "calibrate",
    "sweep",
    "report",
    "what-if",
    "policy",
    "topics",
    "config",
    "init",
)
ClickError: Any = typer.BadParameter.__mro__[2]
"""`click.ClickException`; where it is imported from depends on the version of Typer."""


class Commands(TyperGroup):
    """Imports a command's file when the command is asked for: models and brokers take a while."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.commands: Any = dict.fromkeys(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002  Typer's signature
        """The command, or None where there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        module = cmd_name.replace("-", "_")
        command = typer.main.get_command(importlib.import_module(f"hunch.cli.{module}").app)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    help="Answers every Kafka message with one decision, as fast as it can afford to.",
)


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Settings file; default hunch.toml."),
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Answers every Kafka message with one decision, as fast as it can afford to."""
    context.obj = config
    if version:
        typer.echo(f"hunch {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Runs the command line of this process and exits with its code."""
    sys.exit(_code())


def _code() -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a letter shows another
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone
        return 1
    except Exception as error:  # noqa: BLE001  nobody is to read a stack trace
        sentence, code = _told(error)
        sys.stderr.write(f"hunch: {sentence}\n")
    return code if isinstance(code, int) else 0


def _told(error: Exception) -> tuple[str, int]:
    if isinstance(error, ClickError):
        return " ".join(error.format_message().split()), 2
    if isinstance(error, HunchError):
        return str(error), error.exit_code
    if isinstance(error, OSError):
        return str(error), 1
    where = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(where.filename).name}, line {where.lineno}"
    return f"This is a bug in Hunch, please report it: {error!r} ({place}).", 1
