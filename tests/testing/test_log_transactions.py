"""Transactions of the in-memory log beyond the contract: faults on command, and time on the way."""

import asyncio

import pytest
from aiokafka.errors import (
    CoordinatorLoadInProgressError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    ProducerFenced,
)
from aiokafka.structs import OffsetAndMetadata
from tests.testing.parties import T0, numbers, reading

from hunch.errors import BrokerError


async def begun(log, name="id", timeout_ms=5_000):
    """A transactional producer that has begun."""
    producer = log.producer(name, timeout_ms)
    await producer.start()
    await producer.begin_transaction()
    return producer


async def send(producer, *values, partition=0):
    """Sends a batch; its answer, or why there is none."""
    batch = producer.create_batch()
    for value in values:
        batch.append(timestamp=None, key=None, value=value, headers=[])
    return await producer.send_batch(batch, "topic", partition=partition)


def committed(log):
    """What the group has committed of the first partition."""
    return log.group("group").offsets.get(T0, OffsetAndMetadata(-1, "")).offset


@pytest.mark.parametrize(("is_applied", "outcome"), [(False, ([], -1)), (True, ([b"1"], 4))])
async def test_a_commit_fails_before_or_after_it_counts(log, is_applied, outcome):
    """The client hears the same; only who looks at the log, or takes over, can tell."""
    producer = await begun(log)
    await (await send(producer, b"1"))
    await producer.send_offsets_to_transaction({T0: OffsetAndMetadata(4, "")}, "group")
    log.fail_next("end_txn", KafkaTimeoutError(), topic="topic", is_applied=is_applied)

    with pytest.raises(KafkaTimeoutError):
        await producer.commit_transaction()

    with pytest.raises(AssertionError):
        await producer.begin_transaction()
    await log.producer("id").start()
    assert outcome == (numbers(log.records("topic")), committed(log))


@pytest.mark.parametrize(("is_applied", "outcome"), [(False, [b"2"]), (True, [b"1", b"2"])])
async def test_a_batch_fails_before_or_after_it_is_written(log, is_applied, outcome):
    """Refused, or written and not answered for."""
    producer = log.producer()
    await producer.start()
    log.fail_next("produce", KafkaTimeoutError(), is_applied=is_applied)

    with pytest.raises(KafkaTimeoutError):
        await (await send(producer, b"1"))

    await (await send(await begun_plain(log), b"2"))
    assert outcome == numbers(log.records("topic"))


async def begun_plain(log):
    """A producer without transactions."""
    producer = log.producer()
    await producer.start()
    return producer


async def test_refused_offsets_and_fences_are_heard(log):
    """`txn_offsets` ends the use of its producer, `fence` the start of one."""
    producer = await begun(log)
    log.fail_next("txn_offsets", CoordinatorLoadInProgressError())
    log.fail_next("fence", KafkaTimeoutError())

    with pytest.raises(CoordinatorLoadInProgressError):
        await producer.send_offsets_to_transaction({T0: OffsetAndMetadata(4, "")}, "group")
    with pytest.raises(KafkaTimeoutError):
        await log.producer("id").start()

    with pytest.raises(AssertionError):
        await producer.commit_transaction()


async def test_a_refused_batch_leaves_the_rest_of_its_transaction(log):
    """It is the batch's own answer that tells; what was not awaited is lost."""
    producer = await begun(log)
    log.fail_next("produce", MessageSizeTooLargeError(), topic="topic")
    refused = await send(producer, b"1")
    await (await send(producer, b"2", partition=1))

    await producer.commit_transaction()

    assert isinstance(refused.exception(), MessageSizeTooLargeError)
    assert [b"2"] == numbers(log.records("topic"))


async def test_an_open_transaction_ends_by_the_clock(log, clock):
    """To the millisecond, and its producer is fenced."""
    producer = await begun(log, timeout_ms=100)
    await clock.advance(500)
    await (await send(producer, b"1"))
    consumer = log.consumer("read_committed")
    await clock.advance(99)
    before = await consumer.end_offsets([T0])
    await clock.advance(1)

    assert ({T0: 0}, {T0: 2}) == (before, await consumer.end_offsets([T0]))
    with pytest.raises(ProducerFenced):
        await producer.commit_transaction()


async def test_while_the_coordinator_loads_all_that_needs_it_waits(log, clock):
    """Fences, commits and new partitions wait; a question for offsets gives up after a while."""
    producer = await begun(log)
    await (await send(producer, b"1"))
    log.hold_coordinator()
    known, fresh = await send(producer, b"2"), await send(producer, b"3", partition=1)
    starting = asyncio.create_task(log.producer("other").start())
    asking = asyncio.create_task(log.committed("group", [T0]))
    await clock.advance(3_000)
    answered = [known.done(), fresh.done(), starting.done(), asking.done()]
    await clock.advance(1_000)
    error = asking.exception()
    log.release_coordinator()
    await clock.settle()

    assert [True, False, False, False] == answered
    assert isinstance(error, BrokerError)
    assert fresh.done()
    assert starting.done()
    await producer.commit_transaction()
    assert [b"1", b"2", b"3"] == numbers(log.records("topic"))


async def test_latency_is_the_time_there_and_back(log, clock):
    """Half of it passes before the log has the record, half before the client knows."""
    log.latency_ms = 10
    producer = log.producer()
    await producer.start()
    answer = await send(producer, b"1")
    seen = []
    for _ in range(3):
        seen.append((len(log.records("topic")), answer.done()))
        await clock.advance(5)

    assert [(0, False), (1, False), (1, True)] == seen


@pytest.mark.parametrize(("after_ms", "expected"), [(4, [b"1"]), (6, [b"1"])])
async def test_a_commit_on_its_way_arrives_after_its_sender_is_gone(log, clock, after_ms, expected):
    """A killed client calls nothing back: what was sent before counts, there or not yet."""
    producer = await begun(log)
    await (await send(producer, b"1"))
    log.latency_ms = 10
    committing = asyncio.create_task(producer.commit_transaction())
    await clock.advance(after_ms)

    committing.cancel()

    await clock.advance(10)
    assert committing.cancelled()
    assert expected == numbers(log.records("topic"))


async def test_a_commit_on_its_way_loses_against_a_fence(log, clock):
    """Whoever starts first under the id wins: the commit comes to nothing."""
    old = await begun(log)
    await (await send(old, b"1"))
    log.latency_ms = 10
    committing = asyncio.create_task(old.commit_transaction())
    await clock.advance(1)
    log.transactions.fence("id")
    await clock.advance(10)

    assert isinstance(committing.exception(), ProducerFenced)
    assert [] == log.records("topic")
    consumer = await reading(log, T0)
    assert {} == await consumer.getmany()
    assert await consumer.position(T0) == 2
