"""`hunch run`: the stages of this process, until SIGTERM."""

from typing import Annotated

import typer

from hunch.cli.options import Assignments, Bootstrap, Config, loaded

app = typer.Typer()


@app.command()
def run(
    context: typer.Context,
    *,
    stages: Annotated[
        list[str] | None, typer.Argument(metavar="[fast|slow|join]...", help="Default: all.")
    ] = None,
    config: Config = None,
    bootstrap: Bootstrap = None,
    topic_prefix: Annotated[
        str | None, typer.Option("--topic-prefix", help="What topics and groups begin with.")
    ] = None,
    fast_model: Annotated[
        str | None, typer.Option("--fast-model", help="Folder or bundled name.")
    ] = None,
    slow_model: Annotated[
        str | None, typer.Option("--slow-model", help="Folder or bundled name.")
    ] = None,
    tau: Annotated[
        str | None, typer.Option("--tau", help="Confidence that is enough, 0 to 1.")
    ] = None,
    delta_ms: Annotated[
        str | None, typer.Option("--delta-ms", help="Time of the slow model, in milliseconds.")
    ] = None,
    assignments: Assignments = None,
) -> None:
    """Runs the stages, and logs one JSON object a line on stderr."""
    settings = loaded(
        context,
        config,
        assignments,
        stages=tuple(stages) if stages else None,
        bootstrap=bootstrap,
        topic_prefix=topic_prefix,
        fast_model=fast_model,
        slow_model=slow_model,
        tau=tau,
        delta_ms=delta_ms,
    ).decided()
    from hunch.main import run as serve  # noqa: PLC0415  a mistake in the settings needs no models

    raise typer.Exit(serve(settings, settings.stages))
