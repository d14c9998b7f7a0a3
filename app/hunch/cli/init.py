"""`hunch init`: a settings file with every key, its default and its meaning, all commented out."""

import json
from pathlib import Path
from typing import Annotated

import typer

from hunch.errors import ConfigError
from hunch.settings import CONFIG_FILE, LOGICAL_TOPICS, Settings

app = typer.Typer()


@app.command()
def init(
    file: Annotated[Path, typer.Argument(help="File to write.")] = Path(CONFIG_FILE),
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Writes a commented settings file."""
    try:
        with file.open("w" if force else "x", encoding="utf-8") as opened:
            opened.write(as_toml())
    except FileExistsError:
        raise ConfigError(f"{file} exists: add --force to overwrite it.") from None
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}.") from error
    typer.echo(f"{file} is written; `hunch config` shows what is in force.")


def as_toml() -> str:
    """Every setting as TOML with its default, commented out."""
    defaults = Settings().model_dump(mode="json")
    lines = [
        "# Settings of Hunch. Every line shows a default: remove the # to change one.",
        "# HUNCH_<KEY> in the environment and the command line win over this file.",
    ]
    for key, field in Settings.model_fields.items():
        lines += ["", f"# {field.description}"]
        if key == "topics":
            lines += ["# [topics]", *(f'# {name} = "{name}"' for name in LOGICAL_TOPICS)]
        else:
            value = "off" if defaults[key] is None else defaults[key]
            lines += [f"# {key} = {json.dumps(value)}"]
    return "\n".join(lines) + "\n"
