"""`hunch config`: the settings in force and where each value came from."""

import json

import typer

from hunch.cli.options import Assignments, Bootstrap, Config, Json, loaded
from hunch.cli.output import show_json, show_table

app = typer.Typer()


@app.command()
def config(
    context: typer.Context,
    *,
    config: Config = None,
    bootstrap: Bootstrap = None,
    assignments: Assignments = None,
    as_json: Json = False,
) -> None:
    """Shows the settings in force and where each value came from."""
    found = loaded(context, config, assignments, bootstrap=bootstrap)
    values = found.settings.shown()
    if as_json:
        show_json(
            {key: {"value": values[key], "source": found.sources[key]} for key in found.sources}
        )
        return
    show_table(
        ("setting", "value", "from", "meaning"),
        [
            (key, _shown(values[key]), source, field.description)
            for (key, source), field in zip(
                found.sources.items(), type(found.settings).model_fields.values(), strict=True
            )
        ],
    )


def _shown(value: object) -> str:
    if value is None:
        return "off"
    return value if isinstance(value, str) else json.dumps(value)
