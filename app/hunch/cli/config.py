"""`hunch config`: the settings in force and where each value came from."""

import json

import typer

from hunch.cli.options import Assignments, Bootstrap, Config, Json, loaded, tell_problem
from hunch.cli.output import show_json, show_table
from hunch.settings import Settings

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
    tell_problem(found)
    values = found.settings.shown()
    meanings = {key: field.description for key, field in Settings.model_fields.items()}
    if as_json:
        show_json(
            {
                key: {"value": values[key], "source": found.sources[key], "meaning": meaning}
                for key, meaning in meanings.items()
            }
        )
        return
    rows = [(key, _shown(values[key]), source) for key, source in found.sources.items()]
    show_table(("setting", "value", "from"), rows)


def _shown(value: object) -> str:
    if value is None:
        return "off"
    return value if isinstance(value, str) else json.dumps(value)
