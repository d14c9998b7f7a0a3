"""`hunch send`: a JSONL or CSV file onto `messages`."""

import asyncio
import functools
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hunch.cli.connection import connected, require_partitions, told_as_sentences
from hunch.cli.messages import BadLine, messages
from hunch.cli.options import Assignments, Bootstrap, Config, Json, loaded
from hunch.cli.output import show_json
from hunch.cli.sending import Feed, Sender
from hunch.errors import ConfigError
from hunch.settings import Settings

BAD_LINES_SHOWN = 10

app = typer.Typer()


class Form(StrEnum):
    """How a file is written."""

    JSONL = "jsonl"
    CSV = "csv"


class PartitionBy(StrEnum):
    """What chooses a message's partition."""

    KEY = "key"
    ROUND_ROBIN = "round-robin"


@app.command()
def send(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="JSONL or CSV; - reads stdin.")],
    *,
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="Messages a second; default full speed.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(metavar="FIELD", help="Field that becomes the record's key.")
    ] = None,
    id_field: Annotated[
        str | None, typer.Option("--id", metavar="FIELD", help="Field that becomes the `id`.")
    ] = None,
    form: Annotated[
        Form | None, typer.Option("--format", help="Default: by the suffix, else jsonl.")
    ] = None,
    repeat: Annotated[int, typer.Option(min=1, help="Send the file so many times.")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after so many messages.")] = None,
    topic: Annotated[
        str | None, typer.Option(help="Topic by its actual name; default: messages.")
    ] = None,
    partition_by: Annotated[
        PartitionBy, typer.Option(help="A message without a key goes round-robin.")
    ] = PartitionBy.KEY,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first line that is no message.")
    ] = False,
    config: Config = None,
    bootstrap: Bootstrap = None,
    assignments: Assignments = None,
    as_json: Json = False,
) -> None:
    """Sends a JSONL or CSV file to the topic of messages."""
    settings = loaded(context, config, assignments, bootstrap=bootstrap).settings
    if file == "-" and repeat > 1:
        raise ConfigError("stdin can be read only once: leave --repeat out, or name a file.")
    if file != "-" and not Path(file).is_file():
        raise ConfigError(f"There is no file {file}: correct the path, or write - for stdin.")
    by_suffix = Form.CSV if Path(file).suffix.lower() == ".csv" else Form.JSONL
    items = functools.partial(
        messages,
        form=form or by_suffix,
        key_field=key,
        id_field=id_field,
        max_bytes=settings.max_record_bytes,
    )
    feed = Feed(item for _ in range(repeat) for item in items(_lines(file)))
    tally = Tally(file=file, limit=limit, is_strict=strict, as_json=as_json)
    asyncio.run(
        _send(
            settings,
            topic=topic or settings.topic("messages"),
            feed=feed,
            tally=tally,
            rate=rate,
            partition_by=partition_by,
        )
    )


class Tally:
    """What a person sees of a run: bad lines, progress, and the sum at the end."""

    def __init__(self, *, file: str, limit: int | None, is_strict: bool, as_json: bool) -> None:
        self.limit = limit
        self._file = file
        self._is_strict = is_strict
        self._as_json = as_json
        self._shown = 0
        self._start = time.monotonic()

    def on_bad(self, line: BadLine) -> None:
        """Tells of the first few bad lines; raises `ConfigError` at the first with `--strict`."""
        sentence = f"Line {line.number} of {self._file} is no message: {line.why}."
        if self._is_strict:
            raise ConfigError(sentence)
        self._shown += 1
        if self._shown <= BAD_LINES_SHOWN:
            typer.echo(f"hunch: {sentence}", err=True)
        elif self._shown == BAD_LINES_SHOWN + 1:
            typer.echo("hunch: more lines are no messages; the sum follows at the end.", err=True)

    @contextmanager
    def watching(self, sender: Sender) -> Iterator[None]:
        """A bar on a terminal while sending; the sum at the end, also of a broken run."""
        self._start = time.monotonic()
        try:
            if sys.stderr.isatty() and not self._as_json:
                with _bar(sender, self.limit):
                    yield
            else:
                yield
        finally:
            self._sum_up(sender)

    def _sum_up(self, sender: Sender) -> None:
        seconds = time.monotonic() - self._start
        rate = sender.acknowledged / seconds if seconds > 0 else 0.0
        if self._as_json:
            show_json(
                {
                    "sent": sender.sent,
                    "acknowledged": sender.acknowledged,
                    "bad_lines": sender.bad,
                    "seconds": round(seconds, 3),
                    "per_second": round(rate, 1),
                }
            )
            return
        bad = f", bad lines: {sender.bad}," if sender.bad else ""
        typer.echo(
            f"{sender.sent} sent, {sender.acknowledged} acknowledged{bad} "
            f"in {seconds:.1f} s ({rate:,.0f}/s)."
        )


def _lines(file: str) -> Iterator[str]:
    # stdin gets an object of its own: a thread that still reads sys.stdin breaks Python's exit
    name: str | int = 0 if file == "-" else file
    with open(
        name, encoding="utf-8", errors="surrogateescape", newline="", closefd=file != "-"
    ) as lines:
        yield from lines


@contextmanager
def _bar(sender: Sender, limit: int | None) -> Iterator[None]:
    from rich.console import Console  # noqa: PLC0415  only a terminal needs it
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (
        TextColumn("sending"),
        BarColumn(),
        TextColumn("{task.completed:,} acknowledged"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=limit)
        sender.on_progress = lambda: progress.update(task, completed=sender.acknowledged)
        yield


async def _send(
    settings: Settings,
    *,
    topic: str,
    feed: Feed,
    tally: Tally,
    rate: float | None,
    partition_by: PartitionBy,
) -> None:
    with told_as_sentences(settings):
        async with connected(settings) as client:
            producer = client.producer()
            await producer.start()
            try:
                found = (await producer.client.fetch_all_metadata()).partitions_for_topic(topic)
                sender = Sender(
                    producer,
                    topic,
                    require_partitions(found, topic, settings),
                    by_key=partition_by is PartitionBy.KEY,
                    timeout_s=settings.request_timeout_ms / 1000,
                    on_bad=tally.on_bad,
                )
                with tally.watching(sender):
                    await sender.run(feed, rate=rate, limit=tally.limit)
            finally:
                await producer.stop()
