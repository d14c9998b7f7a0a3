"""`hunch policy push|show|rollback`: the policy that running stages decide by."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple

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


class Turn(NamedTuple):
    """What a command has changed: names of policies, None where the settings count.

    Attributes:
        before: in force until then.
        wanted: what the command brings into force.
        now: in force after it; another one where somebody else has pushed at the same moment.
        is_written: whether there was anything to write.
    """

    before: str | None
    wanted: str | None
    now: str | None
    is_written: bool


class ControlTopic(NamedTuple):
    """The control topic, read to its end, and the way to write to it."""

    name: str
    state: ControlState
    client: KafkaClient
    reader: ControlReader
    timeout_ms: float

    async def write(self, changes: Sequence[Change], wanted: str | None) -> Turn:
        """Appends all changes as one batch, that nobody sees half of, and reads what came of it."""
        before = self.state.history[0]
        if changes:
            await self._append(changes)
            await self.reader.catch_up(self.timeout_ms)
        return Turn(before, wanted, self.state.history[0], is_written=bool(changes))

    async def _append(self, changes: Sequence[Change]) -> None:
        producer = self.client.producer()
        await producer.start()
        try:
            batch: Any = producer.create_batch()
            for key, value in changes:
                if batch.append(timestamp=None, key=key, value=value, headers=[]) is None:
                    raise PolicyError("The policy is too large for one record of control.")
            answer = await producer.send_batch(batch, self.name, partition=0)
            async with asyncio.timeout(self.timeout_ms / 1000):
                await answer
        finally:
            await producer.stop()


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
    _tell(asyncio.run(pushed(settings, policy)), as_json=as_json)


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
    _tell(asyncio.run(_rollback(settings)), as_json=as_json)


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


async def pushed(settings: Settings, policy: Policy) -> Turn:
    """Brings a policy into force where it can be; what came of it."""
    async with _control(settings) as topic:
        return await topic.write(topic.state.push(policy), policy.name)


async def _rollback(settings: Settings) -> Turn:
    async with _control(settings) as topic:
        changes = topic.state.rollback()
        return await topic.write(changes, topic.state.history[1])


async def _read(settings: Settings) -> ControlState:
    async with _control(settings) as topic:
        return topic.state


@asynccontextmanager
async def _control(settings: Settings) -> AsyncIterator[ControlTopic]:
    """What the control topic says by now, and the broker to write to."""
    name, state, clock = settings.topic("control"), ControlState(), SystemClock()

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
            require_partitions(set(range(found.get(name, 0))), name, settings)
            reader = ControlReader(client, name, take, clock)
            try:
                await reader.start(settings.request_timeout_ms)
                yield ControlTopic(name, state, client, reader, settings.request_timeout_ms)
            finally:
                await reader.stop()


def _tell(turn: Turn, *, as_json: bool) -> None:
    """Says what is in force; raises `PolicyError` where that is not what was wanted."""
    wanted, now, before = (name or SETTINGS for name in (turn.wanted, turn.now, turn.before))
    if as_json:
        show_json({"in_force": now, "before": before, "changed": turn.is_written})
    if wanted != now:
        raise PolicyError(
            f"{now} is in force: it was pushed at the same moment as {wanted}. Push or roll back "
            "once more where that is not what should be."
        )
    if as_json:
        return
    if not turn.is_written:
        typer.echo(f"{now} is in force already.")
    elif now == before:
        typer.echo(f"{now} is in force: it was broken on the control topic and is written again.")
    else:
        typer.echo(f"{now} is in force, after {before}: decisions name it from the next batch on.")


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
