"""`hunch what-if`: what another τ or Δ would have done to what a running system has decided."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from aiokafka.errors import OffsetOutOfRangeError

from hunch.cli.connection import (
    connected,
    latest_stretches,
    partitions_of,
    told_as_sentences,
)
from hunch.cli.options import Assignments, Bootstrap, Config, Json, loaded
from hunch.cli.output import show_json, show_table
from hunch.cli.sweep_options import LARGEST_DELTA_MS, required
from hunch.errors import BrokerError, ConfigError, DataError, WireError
from hunch.evaluation import require_extra
from hunch.kafka.aio import KafkaClient
from hunch.kafka.client import Record, TopicPartition
from hunch.kafka.codec import decode_result
from hunch.settings import Settings

if TYPE_CHECKING:
    from hunch.evaluation.what_if import Decided, Hypothesis, Late, Span

MOST_POINTS = 200
POLL_MS = 500
SILENCE_S = 30.0
"""Longest wait for the next record of those that are there."""
COLUMNS = (
    "tau",
    "delta_ms",
    "exit",
    "slow",
    "fallback",
    "answered otherwise",
    "likely at most",
    "p95 ms",
)

app = typer.Typer()


@app.command(name="what-if")
def what_if(
    context: typer.Context,
    *,
    taus: Annotated[
        str | None, typer.Option("--tau", metavar="NUMBERS", help="By commas; default is today's.")
    ] = None,
    deltas: Annotated[
        str | None,
        typer.Option("--delta-ms", metavar="NUMBERS", help="By commas; default is today's."),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=2_000_000, help="About so many of the latest decisions.")
    ] = 100_000,
    config: Config = None,
    bootstrap: Bootstrap = None,
    assignments: Assignments = None,
    as_json: Json = False,
) -> None:
    """Says what another tau or delta would have done to the latest decisions, and how surely."""
    require_extra()
    from hunch.evaluation.what_if import WhatIf, decided_of  # noqa: PLC0415  needs the extra

    asked = _asked(taus, deltas)
    settings = loaded(context, config, assignments, bootstrap=bootstrap).settings
    decisions, late = asyncio.run(_read(settings, limit))
    decided = decided_of(
        [it.value or b"" for it in decisions], _late(late), deadline_from=settings.deadline_from
    )
    answers = WhatIf(decided)
    points = [
        (tau, delta)
        for tau in asked[0] or (decided.tau,)
        for delta in asked[1] or (decided.delta_ms,)
    ]
    today = decided.tau, decided.delta_ms
    found = [answers.of(tau, delta) for tau, delta in dict.fromkeys([today, *points])]
    if as_json:
        show_json(_document(decided, found))
        return
    show_table(COLUMNS, [_row(it) for it in found])
    for sentence in _sentences(decided, found):
        typer.echo(f"hunch: {sentence}", err=True)


def _asked(taus: str | None, deltas: str | None) -> tuple[list[float], list[int]]:
    """Both lists; raises `ConfigError` for what no setting can be."""
    if taus is None and deltas is None:
        raise ConfigError("Name what to ask about with --tau or --delta-ms, like --tau 0.8,0.95.")
    found = required(taus, "--tau") if taus is not None else []
    if wrong := [tau for tau in found if not 0 <= tau <= 1]:
        raise ConfigError(f"tau is {wrong[0]:g}, but it must lie between 0 and 1.")
    waits = [round(it) for it in required(deltas, "--delta-ms")] if deltas is not None else []
    if far := [delta for delta in waits if not 0 <= delta <= LARGEST_DELTA_MS]:
        raise ConfigError(
            f"delta_ms is {far[0]}, but it must lie between 0 and {LARGEST_DELTA_MS:,}."
        )
    if len(found or [0]) * len(waits or [0]) > MOST_POINTS:
        raise ConfigError(f"These are more than {MOST_POINTS} points: ask about fewer.")
    return found, waits


async def _read(settings: Settings, limit: int) -> tuple[list[Record], list[Record]]:
    """The latest decisions, and all late results that are there."""
    with told_as_sentences(settings):
        async with connected(settings) as client:
            decisions, cut = await _latest(client, settings.topic("decisions"), settings, limit)
            late, _ = await _latest(client, settings.topic("late-results"), settings, limit)
    return since_all_are_there(decisions, cut), late


def since_all_are_there(records: Sequence[Record], cut: Collection[int]) -> list[Record]:
    """Those from the moment on from which no partition lacks any.

    Fast decisions and the joiner's stand in different partitions: without this, one of them would
    be asked about over a longer time than the other, and rates would be wrong.

    Args:
        records: of all partitions, each in the order of its log.
        cut: partitions that hold, or held, earlier ones than were read.
    """
    first_ms: dict[int, int] = {}
    for record in records:
        if record.partition in cut:
            first_ms.setdefault(record.partition, record.timestamp)
    since_ms = max(first_ms.values(), default=0)
    return [record for record in records if record.timestamp >= since_ms]


async def _latest(
    client: KafkaClient, topic: str, settings: Settings, limit: int
) -> tuple[list[Record], set[int]]:
    """About so many records, and the partitions that are not read from offset 0 on."""
    consumer: Any = client.consumer("read_committed")
    await consumer.start()
    try:
        partitions = await partitions_of(consumer, topic, settings)
        stretches = await latest_stretches(consumer, topic, partitions, limit)
        for it, (start, _) in stretches.items():
            consumer.seek(it, start)
        cut = {it.partition for it, (start, _) in stretches.items() if start > 0}
        ends = {it: end for it, (_, end) in stretches.items()}
        return await _up_to(consumer, topic, ends), cut
    except OffsetOutOfRangeError as error:
        raise DataError(
            f"The broker has deleted what was to be read of {topic}: run this again."
        ) from error
    finally:
        await consumer.stop()


async def _up_to(consumer: Any, topic: str, ends: dict[TopicPartition, int]) -> list[Record]:
    """All records before these ends; raises `BrokerError` where they do not come."""
    found: list[Record] = []
    loop = asyncio.get_running_loop()
    heard_s = loop.time()
    while True:
        left = [it for it, end in ends.items() if await consumer.position(it) < end]
        if not left:
            return found
        records = await consumer.getmany(*left, timeout_ms=POLL_MS)
        for it, some in records.items():
            found += [record for record in some if record.offset < ends[it]]
        if records:
            heard_s = loop.time()
        elif loop.time() - heard_s > SILENCE_S:
            raise BrokerError(
                f"The broker sends no more of {topic}: see that it runs, then start "
                "this command again."
            )


def _late(records: Sequence[Record]) -> "dict[str, Late]":
    from hunch.evaluation.what_if import Late  # noqa: PLC0415  needs the extra

    found: dict[str, Late] = {}
    for record in records:
        try:
            said = decode_result(record.value, record.headers)
        except WireError:
            continue
        if said.answer is not None:
            found.setdefault(said.origin, Late(said.answer.label, float(record.timestamp)))
    return found


def _row(found: "Hypothesis") -> tuple[str, ...]:
    likely = found.likely_changed
    return (
        f"{found.tau:g}",
        str(found.delta_ms),
        f"{found.exits:.1%}",
        _shares(found.slow),
        _shares(found.fallback),
        _shares(found.changed),
        "" if likely is None else f"{likely:.2%}",
        _span(found.p95_ms, "{:.0f}"),
    )


def _shares(span: "Span") -> str:
    return _span(span, "{:.2%}")


def _span(span: "Span", form: str) -> str:
    low, high = form.format(span.low), form.format(span.high)
    return low if low == high else f"{low} to {high}"


def _sentences(decided: "Decided", found: Sequence["Hypothesis"]) -> list[str]:
    """What the person should know of these numbers."""
    first = (
        "Some labels have a tau of their own: the first line is the lowest one for all."
        if decided.has_own_taus
        else "The first line is what it did."
    )
    said = [
        (
            f"Asked about: {len(decided.messages):,} messages that the policy {decided.policy} "
            f"(tau {decided.tau:g}, delta_ms {decided.delta_ms}) has decided. {first}"
        )
    ]
    if decided.other_policies:
        said.append(f"Left out: {decided.other_policies:,} decisions of other policies.")
    if decided.others:
        said.append(f"Left out: {decided.others:,} decisions that neither exited nor waited.")
    if decided.repeated:
        said.append(f"Left out: {decided.repeated:,} decisions on a message that had one already.")
    if any(it.delta_ms < decided.delta_ms for it in found):
        said.append(
            "Under a shorter delta the slow stage would have taken smaller batches sooner, and "
            "refused what it could not answer slow_reserve_ms before the deadline: where delta is "
            "not well above the times of the slow answers, ask `hunch sweep`."
        )
    if any(it.unknown for it in found):
        said.append(
            "A higher tau defers what exited, and nobody knows what the slow model would have said "
            "of it: hence from … to. `likely at most` takes it to disagree no more often than with "
            "the deferrals just below tau, and holds with 95 % then."
        )
    if any(not it.slow.is_known and it.delta_ms > decided.delta_ms for it in found):
        said.append(
            "Of answers that never came nobody knows whether a longer delta had seen them: hence "
            "from … to."
        )
    said.append(
        "The slow model is taken to be as fast as it was: what more or fewer deferrals do to its "
        "queue is for `hunch sweep` to say. Without labels `answered otherwise` is not worse or "
        "better, only other than what was answered. Times are to the decision, not to a reader."
    )
    return said


def _document(decided: "Decided", found: Sequence["Hypothesis"]) -> dict[str, Any]:
    return {
        "policy": decided.policy,
        "tau": decided.tau,
        "delta_ms": decided.delta_ms,
        "messages": len(decided.messages),
        "other_policies": decided.other_policies,
        "others": decided.others,
        "repeated": decided.repeated,
        "points": [
            asdict(it)
            | {
                name: {"low": span.low, "high": span.high}
                for name in ("slow", "fallback", "changed", "p95_ms")
                for span in (getattr(it, name),)
            }
            for it in found
        ],
    }
