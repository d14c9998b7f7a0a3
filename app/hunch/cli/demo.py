"""`hunch demo`: the whole cascade on handwritten digits, and proof that each has one decision."""

import asyncio
import signal
from typing import Annotated, Any

import typer

from hunch.cli.options import Bootstrap, Config, Json, loaded
from hunch.cli.output import show_json
from hunch.errors import HunchError
from hunch.kafka import embedded
from hunch.settings import Settings

TAU = 0.9
DELTA_MS = 300
PARTITIONS = 4
DRAIN_MS = 3_000
TRACED = 300
"""About how many messages are traced, so that each path is among them."""
CONNECTION = ("bootstrap", "security_protocol", "sasl_", "ssl_")
"""How the keys begin that the demo takes from the user's settings; all others are its own."""

app = typer.Typer()


@app.command()
def demo(
    context: typer.Context,
    *,
    count: Annotated[int, typer.Option(min=1, help="How many messages.")] = 3_000,
    rate: Annotated[float, typer.Option(min=1, max=5_000, help="Messages a second.")] = 200.0,
    bootstrap: Bootstrap = None,
    jaeger: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Where Jaeger shows traces; default http://localhost:16686."
        ),
    ] = None,
    config: Config = None,
    as_json: Json = False,
    is_broken: Annotated[bool, typer.Option("--break", hidden=True)] = False,
) -> None:
    """Shows the cascade at work on handwritten digits; brings its own broker, or uses yours."""
    connection: dict[str, Any] = {"bootstrap": embedded.ADDRESS}
    if bootstrap not in {None, embedded.ADDRESS}:
        theirs = loaded(context, config, bootstrap=bootstrap).settings
        given = (key for key in theirs.model_fields_set if key.startswith(CONNECTION))
        connection = {key: getattr(theirs, key) for key in given}
    settings = Settings(
        **connection,
        tau=TAU,
        delta_ms=DELTA_MS,
        partitions=PARTITIONS,
        drain_ms=DRAIN_MS,
        trace_ratio=min(1.0, TRACED / count),
    )
    from hunch.cli.demo_jaeger import jaeger_at  # noqa: PLC0415  as the next
    from hunch.cli.demo_run import Demonstration, Show  # noqa: PLC0415  --help needs no models

    show = Show(
        count=count,
        rate=rate,
        is_broken=is_broken,
        is_silent=as_json,
        jaeger=jaeger_at(jaeger),
    )
    try:
        figures = asyncio.run(_until_stopped(Demonstration(settings, show)))
    except asyncio.CancelledError:
        raise typer.Abort from None
    if as_json:
        show_json(figures)
    _require_exact(figures["verdict"], figures["log"])


async def _until_stopped(demonstration: Any) -> dict[str, Any]:
    """Ends in order for SIGTERM and for a closed terminal, too."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    if task is not None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, task.cancel)
    figures: dict[str, Any] = await demonstration.run()
    return figures


def _require_exact(verdict: dict[str, Any], log: str) -> None:
    if verdict["is_exact"]:
        return
    wrong = [
        f"{verdict[kind]:,} {'has' if verdict[kind] == 1 else 'have'} {what}"
        for kind, what in (("missing", "no decision"), ("doubled", "more than one"))
        if verdict[kind]
    ]
    msg = (
        f"Of {verdict['sent']:,} messages {' and '.join(wrong)}, for example "
        f"{verdict['examples'][0]}: please report this with the log {log}."
    )
    raise HunchError(msg)
