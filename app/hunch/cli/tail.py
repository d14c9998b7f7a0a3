"""`hunch tail`: what arrives on one of Hunch's topics."""

import asyncio
import sys
import time
from enum import StrEnum
from typing import Annotated, Any

import typer
from aiokafka.errors import OffsetOutOfRangeError

from hunch.cli.connection import connected, partitions_of, told_as_sentences
from hunch.cli.lines import as_json, as_text
from hunch.cli.options import Assignments, Bootstrap, Config, Json, loaded
from hunch.kafka.client import Record, TopicPartition
from hunch.settings import Settings

POLL_MS = 100

app = typer.Typer()


class Tailed(StrEnum):
    """The topics that can be followed."""

    DECISIONS = "decisions"
    DEFERRALS = "deferrals"
    SLOW_RESULTS = "slow-results"
    LATE_RESULTS = "late-results"
    DEAD_LETTERS = "dead-letters"
    MESSAGES = "messages"


@app.command()
def tail(
    context: typer.Context,
    topic: Annotated[Tailed, typer.Argument(help="Which topic.")] = Tailed.DECISIONS,
    *,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Start with the oldest record.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after so many records.")] = None,
    timeout: Annotated[
        float | None,
        typer.Option(min=0.0, metavar="SECONDS", help="Stop when nothing came for so long."),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Wait for more at the end.")
    ] = True,
    config: Config = None,
    bootstrap: Bootstrap = None,
    assignments: Assignments = None,
    json: Json = False,
) -> None:
    """Shows what arrives on one of Hunch's topics, one record a line."""
    settings = loaded(context, config, assignments, bootstrap=bootstrap).settings
    tailing = Tailing(
        settings, topic, limit=limit, timeout_s=timeout, is_endless=follow, is_json=json
    )
    asyncio.run(tailing.run(from_beginning=from_beginning))


class Tailing:
    """One run through a topic: which records are written, and when it ends."""

    def __init__(
        self,
        settings: Settings,
        logical: Tailed,
        *,
        limit: int | None,
        timeout_s: float | None,
        is_endless: bool,
        is_json: bool,
    ) -> None:
        self._settings = settings
        self._logical = logical
        self._left = limit
        self._timeout_s = timeout_s
        self._is_endless = is_endless
        self._is_json = is_json

    async def run(self, *, from_beginning: bool) -> None:
        """Writes records until the limit, the time-out or the end; for ever without these."""
        name = self._settings.topic(self._logical)
        with told_as_sentences(self._settings):
            async with connected(self._settings) as client:
                consumer: Any = client.consumer("read_committed")
                await consumer.start()
                try:
                    found = await partitions_of(consumer, name, self._settings)
                    await self._read(
                        consumer, [TopicPartition(name, p) for p in found], from_beginning
                    )
                finally:
                    await consumer.stop()

    async def _read(self, consumer: Any, assigned: list[TopicPartition], oldest: bool) -> None:
        consumer.assign(assigned)
        ends = await consumer.end_offsets(assigned)
        starts = await consumer.beginning_offsets(assigned) if oldest else ends
        for partition, offset in starts.items():
            consumer.seek(partition, offset)
        latest_s = time.monotonic()
        while self._is_endless or not await self._is_at(consumer, ends):
            try:
                found = await consumer.getmany(timeout_ms=POLL_MS)
            except OffsetOutOfRangeError as error:  # the broker deleted what was to be read next
                await consumer.seek_to_beginning(*error.args[0])
                continue
            records = sorted(
                (record for share in found.values() for record in share),
                key=lambda record: record.timestamp,
            )
            if records:
                latest_s = time.monotonic()
                if not self._wants_more_after(records):
                    return
            elif self._timeout_s is not None and time.monotonic() - latest_s >= self._timeout_s:
                return

    def _wants_more_after(self, records: list[Record]) -> bool:
        records = records[: self._left]
        for record in records:
            if self._is_json:
                sys.stdout.buffer.write(as_json(record))
            else:
                typer.echo(as_text(record, self._logical))
        sys.stdout.flush()
        if self._left is not None:
            self._left -= len(records)
        return self._left != 0

    @staticmethod
    async def _is_at(consumer: Any, ends: dict[TopicPartition, int]) -> bool:
        return all([await consumer.position(p) >= end for p, end in ends.items()])
