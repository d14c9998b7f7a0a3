"""The in-memory log beyond the contract: manual time, and what a test does directly."""

import asyncio

import pytest
from aiokafka.errors import (
    ConsumerStoppedError,
    NoOffsetForPartitionError,
    UnknownTopicOrPartitionError,
)
from aiokafka.structs import TopicPartition
from tests.testing.parties import T0, T1, numbers, reading, send

from hunch.testing import ManualClock, MemoryLog


async def test_append_and_records_bypass_clients(log, clock):
    """A test writes and looks without a client; the record has the time of the manual clock."""
    await clock.advance(250)

    record = log.append("topic", 1, b"k", b"v", [("h", b"x")])

    assert [record] == log.records("topic")
    assert log.records("topic", 0) == []
    assert (record.offset, record.timestamp, record.headers) == (0, 1_250, (("h", b"x"),))


async def test_getmany_waits_on_manual_time(log, clock):
    """An empty `getmany` ends when its time has passed on the clock, and not before."""
    consumer = await reading(log, T0)
    waiting = asyncio.create_task(consumer.getmany(timeout_ms=50))

    await clock.advance(49)
    assert not waiting.done()
    await clock.advance(1)

    assert waiting.result() == {}


async def test_getmany_wakes_at_once_when_a_record_arrives(log, clock):
    """A record ends the wait although no time passes."""
    consumer = await reading(log, T0, T1)
    waiting = asyncio.create_task(consumer.getmany(timeout_ms=50))
    await clock.settle()

    log.append("topic", 1, None, b"1")
    await clock.settle()

    assert {T1: [b"1"]} == {name: numbers(found) for name, found in waiting.result().items()}
    assert clock.now_ms() == 1_000


async def test_resume_and_seek_reach_a_waiting_getmany(log, clock):
    """A waiting `getmany` looks again after `resume` and after `seek`."""
    log.append("topic", 0, None, b"1")
    consumer = await reading(log, T0)
    consumer.pause(T0)
    waiting = asyncio.create_task(consumer.getmany(timeout_ms=1_000))
    await clock.settle()
    consumer.resume(T0)
    assert numbers((await waiting)[T0]) == [b"1"]
    waiting = asyncio.create_task(consumer.getmany(timeout_ms=1_000))
    await clock.settle()

    consumer.seek(T0, 0)

    assert numbers((await waiting)[T0]) == [b"1"]


async def test_a_position_is_asked_for_after_seek(log):
    """`position` of a partition that was assigned and not sought is refused, not awaited."""
    consumer = log.consumer("read_uncommitted")
    await consumer.start()
    consumer.assign([T0])

    with pytest.raises(NoOffsetForPartitionError):
        await consumer.position(T0)


async def test_stop_ends_a_waiting_getmany(log, clock):
    """Stopping a consumer ends its `getmany` with `ConsumerStoppedError`."""
    consumer = await reading(log, T0)
    waiting = asyncio.create_task(consumer.getmany(timeout_ms=1_000))
    await clock.settle()

    await consumer.stop()
    await clock.settle()

    assert isinstance(waiting.exception(), ConsumerStoppedError)


async def test_unknown_isolations_and_topics_are_refused(log):
    """What does not exist is an error at once, not a wait."""
    with pytest.raises(ValueError, match="isolation"):
        log.consumer("committed")
    with pytest.raises(ValueError, match="there already"):
        log.create_topic("topic", 1)
    with pytest.raises(UnknownTopicOrPartitionError):
        log.append("topic", 2, None, b"")
    consumer = log.consumer("read_committed")
    with pytest.raises(UnknownTopicOrPartitionError):
        await consumer.end_offsets([TopicPartition("none", 0)])


async def test_the_same_run_gives_the_same_log():
    """Two runs of concurrent writers and a reader under manual time do exactly the same."""

    async def run():
        clock = ManualClock()
        log = MemoryLog(clock)
        log.create_topic("topic", 2)
        seen: list[tuple[float, bytes]] = []

        async def write(every_ms, name):
            for number in range(10):
                await clock.sleep(every_ms)
                await (await send(log, b"%d-%d" % (name, number)))

        async def read():
            consumer = await reading(log, T0)
            while True:
                found = (await consumer.getmany(timeout_ms=7)).get(T0, [])
                seen.extend((clock.now_ms(), record.value) for record in found)

        tasks = [asyncio.create_task(work) for work in (write(3, 1), write(5, 2), read())]
        await clock.advance(100)
        for task in tasks:
            task.cancel()
        return seen

    first, second = await run(), await run()

    assert len(first) == 20
    assert first == second
