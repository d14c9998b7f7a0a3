"""Faults of the in-memory log come when they are asked for, and as they were asked for."""

import asyncio

import pytest
from aiokafka.errors import (
    CommitFailedError,
    NotEnoughReplicasError,
    OffsetOutOfRangeError,
)
from aiokafka.structs import OffsetAndMetadata
from tests.testing.parties import T0, Notes, numbers, reading, send

from hunch.errors import BrokerError


async def test_a_failed_produce_writes_nothing(log):
    """`fail_next("produce")` fails the answers of so many batches of that topic, and no more."""
    log.create_topic("other", 1)
    log.fail_next("produce", NotEnoughReplicasError(), topic="other")
    log.fail_next("produce", NotEnoughReplicasError(), topic="topic", count=2)

    for _ in range(2):
        with pytest.raises(NotEnoughReplicasError):
            await (await send(log, b"lost"))

    assert (await (await send(log, b"kept"))).offset == 0
    assert numbers(log.records("topic")) == [b"kept"]


async def test_a_failed_fetch_reaches_a_waiting_reader_and_loses_nothing(log, clock):
    """`fail_next("fetch")` ends a waiting `getmany`; the next one reads on from the same place."""
    consumer = await reading(log, T0)
    waiting = asyncio.create_task(consumer.getmany(timeout_ms=1_000))
    await clock.settle()

    log.fail_next("fetch", BrokerError("gone"), topic="topic")
    await clock.settle()

    assert isinstance(waiting.exception(), BrokerError)
    log.append("topic", 0, None, b"1")
    assert numbers((await consumer.getmany())[T0]) == [b"1"]


async def test_a_failed_question_for_offsets(log):
    """`fail_next("committed")` fails the question once."""
    log.fail_next("committed", BrokerError("loading"))

    with pytest.raises(BrokerError, match="loading"):
        await log.committed("group", [T0])

    assert (await log.committed("group", [T0]))[T0].offset == -1


async def test_a_failed_commit_changes_nothing(log):
    """`fail_next("commit")` refuses the commit and leaves the offsets as they were."""
    seat = await log.join("group", "topic", Notes())
    await seat.commit({T0: OffsetAndMetadata(1, "")})
    log.fail_next("commit", CommitFailedError(), topic="topic")

    with pytest.raises(CommitFailedError):
        await seat.commit({T0: OffsetAndMetadata(2, "")})

    assert await log.committed("group", [T0]) == {T0: OffsetAndMetadata(1, "")}


async def test_held_records_are_written_and_not_seen(log):
    """Between `hold` and `release` records are acknowledged, and invisible to readers."""
    consumer = await reading(log, T0)
    log.append("topic", 0, None, b"1")
    log.hold("topic", 0)
    await (await send(log, b"2"))

    found = await consumer.getmany()

    assert numbers(found[T0]) == [b"1"]
    assert await consumer.end_offsets([T0]) == {T0: 1}
    assert await consumer.position(T0) == 1
    log.release("topic", 0)
    assert numbers((await consumer.getmany())[T0]) == [b"2"]


async def test_held_acknowledgements_come_in_order_at_release(log, clock):
    """Batches whose answers are held are written and read; `release` answers them in order."""
    log.hold("topic", 0, "acknowledgements")
    order = []
    answers = [await send(log, value) for value in (b"1", b"2")]
    for answer in answers:
        answer.add_done_callback(lambda done: order.append(done.result().offset))
    elsewhere = await send(log, b"3", partition=1)
    await clock.advance(60_000)

    assert elsewhere.done()
    assert not any(answer.done() for answer in answers)
    assert numbers(log.records("topic", 0)) == [b"1", b"2"]
    log.release("topic", 0)
    await clock.settle()
    assert order == [0, 1]


async def test_a_producer_stops_although_answers_are_held(log):
    """`stop` waits for nobody: whoever wants an answer awaits it before."""
    log.hold("topic", 0, "acknowledgements")
    producer = log.producer()
    await producer.start()
    batch = producer.create_batch()
    batch.append(timestamp=None, key=None, value=b"1", headers=[])
    answer = await producer.send_batch(batch, "topic", partition=0)

    await producer.stop()
    assert not answer.done()


async def test_truncation_moves_the_start(log):
    """After `truncate` older positions are out of range and newer ones are not."""
    for value in (b"0", b"1", b"2"):
        log.append("topic", 0, None, value)
    consumer = await reading(log, T0, offset=1)

    log.truncate(T0, 2)

    with pytest.raises(OffsetOutOfRangeError):
        await consumer.getmany()
    assert await consumer.beginning_offsets([T0]) == {T0: 2}
    consumer.seek(T0, 2)
    assert numbers((await consumer.getmany())[T0]) == [b"2"]


async def test_skipped_offsets_are_passed_and_never_delivered(log):
    """Records after a gap keep their offsets; the position passes a gap at the end."""
    log.append("topic", 0, None, b"0")
    log.skip_offsets(T0, 3)
    log.append("topic", 0, None, b"4")
    log.skip_offsets(T0, 2)
    consumer = await reading(log, T0)

    found = (await consumer.getmany())[T0]

    assert [(0, b"0"), (4, b"4")] == [(record.offset, record.value) for record in found]
    assert await consumer.getmany() == {}
    assert await consumer.position(T0) == 7
    assert await consumer.end_offsets([T0]) == {T0: 7}
