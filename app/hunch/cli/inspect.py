"""`hunch inspect`: every hop of one message, found in Kafka itself."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Annotated, Any

import typer

from hunch.cli.connection import connected, require_partitions, told_as_sentences
from hunch.cli.inspect_account import Account, account_of
from hunch.cli.options import Assignments, Bootstrap, Config, Json, loaded
from hunch.cli.output import show_json
from hunch.clock import SystemClock
from hunch.errors import ConfigError, TopicMismatch
from hunch.kafka.aio import KafkaClient
from hunch.kafka.finding import NEAR, Finder
from hunch.kafka.finding_ids import Matches, find_id
from hunch.kafka.log_search import LogReader
from hunch.kafka.names import Names
from hunch.kafka.trail import Origin
from hunch.settings import STAGES, Settings

UNDECIDED = 1
"""The exit code where there is no such message, or no decision of it yet."""
SHARES = {"decisions": 2, "dead-letters": 3}
"""Topics with more partitions than `messages` has, and how many times as many."""
SHOWN = 10
PATIENCE_S = 2.0
TURN_S = 0.2

HELP = (
    "Shows every hop of one message, found in Kafka itself.\n\n"
    "ORIGIN is the message's topic-partition-offset, as decisions and logs name it. Only parts of "
    "the topics are read; of what is missing the answer says why that may be.\n\n"
    "--json prints one object: origin, id, is_decided, trace_id; message (presence: there, "
    "unreadable, deleted, not written, not a message; timestamp, key, bytes); the lists deferrals, "
    "slow_results, decisions, late_results, dead_letters (each with topic, partition, offset, "
    "timestamp, after_ms); missing (hop: why); notes; now_ms; others (origins with the same id, "
    "newest first); searched (offsets: from, to, log_start, log_end); records_read. Times are "
    "epoch milliseconds, ends are exclusive. Where no message has the id, origin is null and the "
    "hops are left out.\n\n"
    "Exit codes: 0 decided; 1 no decision yet, or no such message; 2 a wrong origin, setting or "
    "topic; 3 the broker."
)

app = typer.Typer()


@app.command(help=HELP)
def inspect(
    context: typer.Context,
    origin: Annotated[
        str | None, typer.Argument(metavar="[ORIGIN]", help="As messages-1-42.")
    ] = None,
    *,
    name: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="The newest message with this id.")
    ] = None,
    payload: Annotated[bool, typer.Option("--payload", help="Show the message's value.")] = False,
    window: Annotated[
        int,
        typer.Option(
            min=NEAR, help="Offsets of a partition that are searched at most, to each side."
        ),
    ] = 10_000,
    whole: Annotated[
        bool, typer.Option("--all", help="Read the partitions of this message from end to end.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="Longest search for an id.")
    ] = 30.0,
    config: Config = None,
    bootstrap: Bootstrap = None,
    assignments: Assignments = None,
    json: Json = False,
) -> None:
    """Shows every hop of one message."""
    wanted = _wanted(origin, name)
    settings = loaded(context, config, assignments, bootstrap=bootstrap).settings
    inspection = Inspection(
        settings, window=window, is_whole=whole, with_payload=payload, timeout_s=timeout
    )
    account = asyncio.run(inspection.run(wanted))
    if json:
        show_json(account)
    elif account["origin"] is None:
        typer.echo(
            f"hunch: No message with the id {name} was found {inspection.searched_in_words}.",
            err=True,
        )
    else:
        from hunch.cli.inspect_tree import show_tree  # noqa: PLC0415  JSON needs none of it

        show_tree(account)
        _show_others(account["others"])
    if not account["is_decided"]:
        raise typer.Exit(UNDECIDED)


class Inspection:
    """One search on one broker."""

    def __init__(
        self,
        settings: Settings,
        *,
        window: int,
        is_whole: bool,
        with_payload: bool,
        timeout_s: float,
    ) -> None:
        self.searched_in_words = f"among the last {window:,} offsets of each partition"
        self._settings = settings
        self._window = window
        self._is_whole = is_whole
        self._with_payload = with_payload
        self._timeout_s = timeout_s
        self._clock = SystemClock()

    async def run(self, wanted: Origin | str) -> Account:
        """The account of the message at this origin, or of the newest with this id."""
        with told_as_sentences(self._settings):
            async with (
                connected(self._settings) as client,
                LogReader(
                    client, self._clock, timeout_ms=self._settings.request_timeout_ms
                ) as reader,
                _progress(reader),
            ):
                names = _names(await reader.partitions(), self._settings)
                if isinstance(wanted, Origin):
                    return await self._account(client, reader, names, wanted, Matches())
                matches = await self._matches(reader, names, wanted)
                if not matches.origins:
                    return _nothing(wanted, reader.records_read, self._clock.now_ms())
                return await self._account(client, reader, names, matches.origins[0], matches)

    async def _matches(self, reader: LogReader, names: Names, name: str) -> Matches:
        matches = await find_id(
            name,
            reader=reader,
            clock=self._clock,
            names=names,
            window=self._window,
            limit_ms=self._timeout_s * 1000,
        )
        advice = "--window N looks further back"
        if matches.is_out_of_time:
            self.searched_in_words = f"within {self._timeout_s:g} s"
            advice = "--timeout SECONDS gives it longer"
        self.searched_in_words += f": {advice}"
        return matches

    async def _account(
        self,
        client: KafkaClient,
        reader: LogReader,
        names: Names,
        origin: Origin,
        matches: Matches,
    ) -> Account:
        groups = {stage: self._settings.group(stage) for stage in STAGES}
        finder = Finder(
            client,
            self._clock,
            reader,
            names,
            groups,
            window=self._window,
            is_whole=self._is_whole,
        )
        trail = await finder.find(origin)
        account = account_of(
            trail,
            self._clock.now_ms(),
            records_read=reader.records_read,
            with_payload=self._with_payload,
        )
        return account | {"others": [str(other) for other in matches.origins if other != origin]}


def _wanted(origin: str | None, name: str | None) -> Origin | str:
    if (origin is None) == (name is None):
        raise ConfigError("Give an origin as messages-1-42, or an id with --id ID, and not both.")
    if name is not None:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ConfigError("The id is no text in UTF-8, so no message has it.") from None
        return name
    found = Origin.parse(str(origin))
    if found is None:
        raise ConfigError(
            f"{origin!r} is no origin: give topic-partition-offset, as in messages-1-42."
        )
    return found


def _names(found: dict[str, set[int]], settings: Settings) -> Names:
    """The topics in force; raises `TopicMismatch` where they are missing or do not fit together."""
    messages = settings.topic("messages")
    partitions = len(require_partitions(found.get(messages), messages, settings))
    for logical in ("deferrals", "slow-results", "late-results", "decisions", "dead-letters"):
        topic = settings.topic(logical)
        count = len(require_partitions(found.get(topic), topic, settings))
        if count != partitions * SHARES.get(logical, 1):
            raise TopicMismatch(
                f"{topic} has {count} partitions, which does not fit the {partitions} of "
                f"{messages}: `hunch topics verify` says what to do."
            )
    return Names(
        messages=messages,
        deferrals=settings.topic("deferrals"),
        slow_results=settings.topic("slow-results"),
        late_results=settings.topic("late-results"),
        decisions=settings.topic("decisions"),
        dead_letters=settings.topic("dead-letters"),
        partitions=partitions,
    )


def _nothing(name: str, records_read: int, now_ms: float) -> Account:
    """The account where no message has the id."""
    return {
        "origin": None,
        "id": name,
        "is_decided": False,
        "others": [],
        "records_read": records_read,
        "now_ms": round(now_ms, 3),
    }


def _show_others(others: list[str]) -> None:
    if others:
        more = f" and {len(others) - SHOWN:,} more" if len(others) > SHOWN else ""
        typer.echo(f"The same id: {', '.join(others[:SHOWN])}{more}")


@contextlib.asynccontextmanager
async def _progress(reader: LogReader) -> AsyncIterator[None]:
    """Shows on a terminal how much was read, once that takes longer than two seconds."""
    showing = asyncio.create_task(_show_progress(reader)) if sys.stderr.isatty() else None
    try:
        yield
    finally:
        if showing is not None:
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)


async def _show_progress(reader: LogReader) -> Any:
    await asyncio.sleep(PATIENCE_S)
    from rich.console import Console  # noqa: PLC0415  only a terminal needs it

    with Console(stderr=True).status("Searching") as status:
        while True:
            status.update(f"Searching: {reader.records_read:,} records read")
            await asyncio.sleep(TURN_S)
