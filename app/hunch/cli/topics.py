"""`hunch topics plan|apply|verify`: the topics that Hunch needs, and how they stand."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import typer

from hunch.cli.connection import CONNECT_MS, quiet, require_address
from hunch.cli.options import Assignments, Bootstrap, Config, Json, loaded, tell_problem
from hunch.cli.output import show_json, show_table
from hunch.clock import SystemClock
from hunch.errors import BrokerUnreachable
from hunch.kafka import topics
from hunch.kafka.aio import wait_for_broker
from hunch.kafka.topics import PlannedTopic, Problem, Shape, TopicAdmin
from hunch.settings import Loaded, Settings

MISMATCH = 2
"""The exit code where topics are not as Hunch needs them, as for any wrong setting."""

app = typer.Typer(help="Plans, creates and checks the topics.", no_args_is_help=False)


@app.command()
def plan(
    context: typer.Context,
    *,
    config: Config = None,
    bootstrap: Bootstrap = None,
    assignments: Assignments = None,
    as_json: Json = False,
) -> None:
    """Shows what would be created, and how existing topics differ; changes nothing."""
    settings = _settings(loaded(context, config, assignments, bootstrap=bootstrap))
    try:
        planned = asyncio.run(_plan(settings))
    except BrokerUnreachable:
        typer.echo(
            f"hunch: No broker answers at {settings.bootstrap}: "
            "this is what would be created on an empty one.",
            err=True,
        )
        planned = _plan_without_broker(settings)
    if as_json:
        show_json([_as_json(topic) for topic in planned])
        return
    show_table(
        ("topic", "partitions", "configuration", "state"),
        [
            (
                topic.shape.name,
                topic.shape.partitions,
                " ".join(f"{key}={value}" for key, value in topic.shape.config.items()),
                _state(topic),
            )
            for topic in planned
        ],
    )


@app.command()
def apply(
    context: typer.Context,
    *,
    config: Config = None,
    bootstrap: Bootstrap = None,
    assignments: Assignments = None,
    as_json: Json = False,
) -> None:
    """Creates the topics that are missing, then verifies all; alters and deletes nothing."""
    settings = _settings(loaded(context, config, assignments, bootstrap=bootstrap))
    created, found = asyncio.run(_apply(settings))
    if as_json:
        show_json({"created": [shape.name for shape in created], **_found_json(found)})
    else:
        for shape in created:
            typer.echo(f"created {shape.name} with {shape.partitions} partitions")
        if not created:
            typer.echo("All topics exist.")
        _show(found)
    _exit(found)


@app.command()
def verify(
    context: typer.Context,
    *,
    config: Config = None,
    bootstrap: Bootstrap = None,
    assignments: Assignments = None,
    as_json: Json = False,
) -> None:
    """Says what is wrong with the topics and how to mend it, with exit code 2."""
    settings = _settings(loaded(context, config, assignments, bootstrap=bootstrap))
    found = asyncio.run(_verify(settings))
    if as_json:
        show_json(_found_json(found))
    else:
        _show(found)
        if not found:
            typer.echo("All topics are as Hunch needs them.")
    _exit(found)


def _settings(found: Loaded) -> Settings:
    """With the delta of the policy file, which the shortest retention follows from."""
    tell_problem(found)
    return found.settings


@asynccontextmanager
async def _administered(settings: Settings) -> AsyncIterator[TopicAdmin]:
    require_address(settings)
    quiet()
    clock, security = SystemClock(), settings.security()
    await wait_for_broker(settings.bootstrap, clock, CONNECT_MS, security=security)
    async with TopicAdmin(settings.bootstrap, clock, security=security) as admin:
        yield admin


async def _plan(settings: Settings) -> list[PlannedTopic]:
    if settings.bootstrap == "embedded":
        return _plan_without_broker(settings)
    async with _administered(settings) as admin:
        return await topics.plan(topics.plan_of(settings), admin)


async def _apply(settings: Settings) -> tuple[list[Shape], list[Problem]]:
    wanted = topics.plan_of(settings)
    async with _administered(settings) as admin:
        created = await topics.apply(wanted, admin)
        return created, await topics.verify(wanted, admin)


async def _verify(settings: Settings) -> list[Problem]:
    async with _administered(settings) as admin:
        return await topics.verify(topics.plan_of(settings), admin)


def _plan_without_broker(settings: Settings) -> list[PlannedTopic]:
    shapes = topics.plan_of(settings).shapes(settings.partitions).values()
    return [PlannedTopic(shape=shape, exists=False, differences=()) for shape in shapes]


def _state(topic: PlannedTopic) -> str:
    if not topic.exists:
        return "to be created"
    return "; ".join(("exists", *topic.differences))


def _as_json(topic: PlannedTopic) -> dict[str, object]:
    return {
        "logical": topic.shape.logical,
        "topic": topic.shape.name,
        "partitions": topic.shape.partitions,
        "config": dict(topic.shape.config),
        "exists": topic.exists,
        "differences": list(topic.differences),
    }


def _found_json(found: Sequence[Problem]) -> dict[str, object]:
    return {
        "serves": all(problem.is_warning for problem in found),
        "problems": [
            {"topic": problem.topic, "sentence": problem.sentence, "warning": problem.is_warning}
            for problem in found
        ],
    }


def _show(found: Sequence[Problem]) -> None:
    for problem in found:
        kind = "warning: " if problem.is_warning else ""
        typer.echo(f"hunch: {kind}{problem.sentence}", err=True)


def _exit(found: Sequence[Problem]) -> None:
    if not all(problem.is_warning for problem in found):
        raise typer.Exit(MISMATCH)
