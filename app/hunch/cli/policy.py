"""`hunch policy push|show|rollback`: the policy that running stages decide by."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from hunch.assembly import enforce, find_pair
from hunch.cli.connection import connected, require_partitions, told_as_sentences
from hunch.cli.options import Assignments, Bootstrap, Config, Json, loaded
from hunch.cli.output import show_json, show_table
from hunch.clock import SystemClock
from hunch.core.control import Change, ControlState
from hunch.core.policy import Policy
from hunch.errors import PolicyError, WireError
from hunch.kafka.aio import KafkaClient
from hunch.kafka.client import Record
from hunch.kafka.control import ControlReader
from hunch.kafka.topics import TopicAdmin
from hunch.settings import Settings, read_policy

SETTINGS = "settings"
"""What stands for the settings of each process where no policy was pushed."""

app = typer.Typer(help="Pushes, shows and takes back the policy that stages decide by.")


@app.command()
def push(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Policy that `hunch calibrate` has written.")],
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Do not hold it against the models of the settings.")
    ] = False,
    config: Config = None,
    bootstrap: Bootstrap = None,
    assignments: Assignments = None,
    as_json: Json = False,
) -> None:
    """Brings a policy into force in all running stages, and in those that start later."""
    settings = loaded(context, config, assignments, bootstrap=bootstrap).settings
    policy = read_policy(str(file))
    if not force:
        enforce(settings, find_pair(settings), policy)
    before, changes = asyncio.run(_push(settings, policy))
    _tell(policy.name, before.history[0], is_changed=bool(changes), as_json=as_json)


@app.command()
def rollback(
    context: typer.Context,
    *,
    config: Config = None,
    bootstrap: Bootstrap = None,
    assignments: Assignments = None,
    as_json: Json = False,
) -> None:
    """Brings back what was in force before the last push: a policy, or the settings."""
    settings = loaded(context, config, assignments, bootstrap=bootstrap).settings
    before = asyncio.run(_rollback(settings))
    _tell(before.history[1], before.history[0], is_changed=True, as_json=as_json)


@app.command()
def show(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(help="A policy file; default what was pushed.")
    ] = None,
    *,
    config: Config = None,
    bootstrap: Bootstrap = None,
    assignments: Assignments = None,
    as_json: Json = False,
) -> None:
    """Shows a policy file, or what was pushed: the policy in force and those before it."""
    if file is not None:
        _show(read_policy(str(file)), as_json=as_json)
        return
    settings = loaded(context, config, assignments, bootstrap=bootstrap).settings
    state = asyncio.run(_read(settings))
    policy = state.in_force()
    if as_json:
        policies = None if policy is None else policy.model_dump(mode="json")
        show_json({"in_force": policies, "before": state.history[1:]})
        return
    if policy is None:
        typer.echo("No policy is pushed: every process decides by its own settings.")
    else:
        _show(policy, as_json=False)
    for name in state.history[1:]:
        typer.echo(f"before: {name or SETTINGS}")


async def _push(settings: Settings, policy: Policy) -> tuple[ControlState, list[Change]]:
    async with _control(settings) as (client, state):
        changes = state.push(policy)
        await _write(settings, client, changes)
        return state, changes


async def _rollback(settings: Settings) -> ControlState:
    async with _control(settings) as (client, state):
        await _write(settings, client, state.rollback())
        return state


async def _read(settings: Settings) -> ControlState:
    async with _control(settings) as (_, state):
        return state


@asynccontextmanager
async def _control(settings: Settings) -> AsyncIterator[tuple[KafkaClient, ControlState]]:
    """What the control topic says by now, and the broker to write to."""
    topic, state, clock = settings.topic("control"), ControlState(), SystemClock()

    def take(records: list[Record]) -> None:
        for record in records:
            try:
                state.take(record.key, record.value)
            except WireError as error:
                typer.echo(f"hunch: {error} It is left out (offset {record.offset}).", err=True)

    with told_as_sentences(settings):
        async with connected(settings) as client:
            async with TopicAdmin(settings.bootstrap, clock, security=settings.security()) as admin:
                found = await admin.partitions()
            require_partitions(set(range(found.get(topic, 0))), topic, settings)
            reader = ControlReader(client, topic, take, clock)
            try:
                await reader.start(settings.request_timeout_ms)
                yield client, state
            finally:
                await reader.stop()


async def _write(settings: Settings, client: KafkaClient, changes: Sequence[Change]) -> None:
    """Appends all changes as one batch, so that no reader sees half of them."""
    if not changes:
        return
    producer = client.producer()
    await producer.start()
    try:
        batch: Any = producer.create_batch()
        for key, value in changes:
            if batch.append(timestamp=None, key=key, value=value, headers=[]) is None:
                raise PolicyError("The policy is too large for one record of the control topic.")
        answer = await producer.send_batch(batch, settings.topic("control"), partition=0)
        async with asyncio.timeout(settings.request_timeout_ms / 1000):
            await answer
    finally:
        await producer.stop()


def _tell(now: str | None, before: str | None, *, is_changed: bool, as_json: bool) -> None:
    now, before = now or SETTINGS, before or SETTINGS
    if as_json:
        show_json({"in_force": now, "before": before, "changed": is_changed})
    elif is_changed:
        typer.echo(f"{now} is in force, after {before}: decisions name it from the next batch on.")
    else:
        typer.echo(f"{now} is in force already.")


def _show(policy: Policy, *, as_json: bool) -> None:
    if as_json:
        show_json(policy.model_dump(mode="json"))
        return
    goal, models = policy.goal, (policy.models.fast, policy.models.slow)
    own = f", and its own for {', '.join(policy.taus)}" if policy.taus else ""
    show_table(
        ("policy", policy.name),
        [
            ("promise", policy.promise),
            ("goal", f"{goal.name} {goal.limit:g}"),
            ("method", policy.method),
            ("measure", policy.measure.name),
            ("tau", f"{policy.tau:.6g}{own}"),
            (
                "temperatures",
                f"fast {policy.temperatures.fast:g}, slow {policy.temperatures.slow:g}",
            ),
            ("models", ", ".join(f"{model.name}@{model.version}" for model in models)),
            ("created", policy.created),
        ],
    )
