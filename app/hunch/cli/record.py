"""`hunch record`: what both models answer on labelled data, for `hunch calibrate` to read."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from hunch.assembly import find_pair, make_models
from hunch.cli.connection import connected, partitions_of, told_as_sentences
from hunch.cli.options import Assignments, Bootstrap, Config, Json, loaded
from hunch.cli.output import show_json, show_table
from hunch.cli.record_progress import Progress, watching
from hunch.cli.record_topic import TopicRows
from hunch.clock import SystemClock
from hunch.errors import ConfigError
from hunch.evaluation import require_extra
from hunch.evaluation.rows import JsonLines, Labels, Source
from hunch.settings import Settings

app = typer.Typer()


@app.command()
def record(
    context: typer.Context,
    data: Annotated[
        Path | None, typer.Argument(metavar="DATA", help="JSONL file of messages.")
    ] = None,
    *,
    out: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Where to; one that is not finished is continued."),
    ],
    label_field: Annotated[
        str, typer.Option(metavar="FIELD", help="Field of the right label, where there is one.")
    ] = "label",
    topic: Annotated[
        bool, typer.Option("--topic", help="Read the topic of messages instead of a file.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="About so many of the topic's latest messages.")
    ] = None,
    fast_model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Folder or bundled model.")
    ] = None,
    slow_model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Folder or bundled model.")
    ] = None,
    config: Config = None,
    bootstrap: Bootstrap = None,
    assignments: Assignments = None,
    as_json: Json = False,
) -> None:
    """Records what both models answer, for `hunch calibrate`; goes on where it was stopped."""
    require_extra()
    if (data is None) is not topic:
        raise ConfigError("Name a JSONL file, or give --topic to read the topic of messages.")
    if data is not None and not data.is_file():
        raise ConfigError(f"There is no file {data}: correct the path.")
    if limit is not None and not topic:
        raise ConfigError("--limit is for --topic: a file is recorded as a whole.")
    settings = loaded(
        context,
        config,
        assignments,
        bootstrap=bootstrap,
        fast_model=fast_model,
        slow_model=slow_model,
    ).settings
    with watching(as_json=as_json) as progress:
        asyncio.run(
            _record(
                settings,
                data=data,
                out=out,
                label_field=label_field,
                limit=limit,
                progress=progress,
            )
        )
    _sum_up(out, as_json=as_json)


async def _record(
    settings: Settings,
    *,
    data: Path | None,
    out: Path,
    label_field: str,
    limit: int | None,
    progress: Progress,
) -> None:
    from hunch.evaluation.parts import Folder  # noqa: PLC0415  needs the extra
    from hunch.evaluation.recording import Recorder, Side  # noqa: PLC0415

    clock = SystemClock()
    pair = find_pair(settings)
    predictors = make_models(settings, pair, ("fast", "slow"), clock)
    labels = Labels(label_field, pair.fast.labels)

    async def run(source: Source) -> None:
        recorder = Recorder(
            Folder(out),
            source,
            {
                "fast": Side(pair.fast, predictors["fast"]),
                "slow": Side(pair.slow, predictors["slow"]),
            },
            labels=labels,
            max_batch_size=settings.max_batch_size,
            clock=clock,
            on_progress=progress.on_progress,
        )
        async with progress.told(clock):
            await recorder.run()

    try:
        for predictor in predictors.values():
            await predictor.start()
        if data is not None:
            await run(JsonLines(data, labels))
        else:
            async with _topic_rows(settings, limit) as source:
                await run(source)
    finally:
        for predictor in predictors.values():
            await predictor.stop()


@asynccontextmanager
async def _topic_rows(settings: Settings, limit: int | None) -> AsyncIterator[Source]:
    name = settings.topic("messages")
    with told_as_sentences(settings):
        async with connected(settings) as client:
            consumer: Any = client.consumer("read_committed")
            await consumer.start()
            try:
                found = await partitions_of(consumer, name, settings)
                yield TopicRows(consumer, name, found, limit)
            finally:
                await consumer.stop()


def _sum_up(folder: Path, *, as_json: bool) -> None:
    from hunch.evaluation.records import read  # noqa: PLC0415  needs the extra

    record = read(folder)
    labelled = record.is_labelled
    right = record.right[labelled]
    best = {
        side: outputs.best(outputs.temperature)
        for side, outputs in (("fast", record.fast), ("slow", record.slow))
    }
    agreement = float((best["fast"] == best["slow"]).mean())
    accuracy = {
        side: float((found[labelled] == right).mean()) for side, found in best.items() if len(right)
    }
    if as_json:
        show_json(
            {
                "folder": str(folder),
                "rows": len(record),
                "labelled": len(right),
                "repeats": record.repeats,
                "contradictions": len(record.contradictions),
                "failed": record.failed,
                "agreement": agreement,
                "accuracy": accuracy,
                "service_ms": record.service_ms,
                "sha256": record.sha256,
            }
        )
        return
    rows = [
        ("rows", f"{len(record):,}, {len(right):,} with a label"),
        *((f"{side} model right", f"{share:.2%}") for side, share in accuracy.items()),
        ("models agree", f"{agreement:.2%}"),
        *((f"{side} service time", _in_words(sizes)) for side, sizes in record.service_ms.items()),
    ]
    show_table(("recorded", str(folder)), rows)
    for sentence in record.left_out():
        typer.echo(f"hunch: {sentence}", err=True)


def _in_words(sizes: Mapping[int, float]) -> str:
    """The first and the last batch size with its time."""
    ends = sorted({min(sizes), max(sizes)})
    return ", ".join(f"{sizes[size]:.2f} ms for a batch of {size}" for size in ends)
