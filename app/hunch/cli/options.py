"""The options that commands share, and the settings that they make."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from hunch.errors import ConfigError
from hunch.settings import Loaded, load

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings file; default hunch.toml."),
]
Bootstrap = Annotated[
    str | None,
    typer.Option("--bootstrap", metavar="HOST:PORT", help="Kafka brokers, separated by commas."),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting; may be given several times."),
]
Json = Annotated[bool, typer.Option("--json", help="JSON for programs.")]


def loaded(
    context: typer.Context,
    config: Path | None,
    assignments: Sequence[str] | None = None,
    **named: object,
) -> Loaded:
    """The settings in force; named options win over `--set`, None means not given."""
    overrides: dict[str, object] = {}
    for assignment in assignments or ():
        key, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set {assignment} has no value: write --set KEY=VALUE.")
        overrides[key.strip()] = value
    overrides |= {key: value for key, value in named.items() if value is not None}
    return load(config or context.find_root().obj, overrides)


def tell_problem(found: Loaded) -> None:
    """Says on stderr what is wrong with the policy file, and that it is left out."""
    if found.problem is not None:
        typer.echo(f"hunch: {found.problem} It is left out here.", err=True)
