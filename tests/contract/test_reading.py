"""What every broker's consumer does, whether in memory, embedded or real."""

import asyncio

import pytest
from aiokafka.errors import IllegalStateError, NoOffsetForPartitionError, OffsetOutOfRangeError
from aiokafka.structs import TopicPartition
from tests.contract.clusters import HEADERS


def values(records):
    """The numbers that the records carry."""
    return [int(record.value) for record in records]


async def test_records_come_as_they_were_written(cluster):
    """Key, value, headers and timestamp come back, in order, with their place in the log."""
    topic = await cluster.create_topic(2)
    name = TopicPartition(topic, 1)
    written = [
        (b"key", b"value", HEADERS, 1_700_000_000_123),
        (None, b"", [], 1_700_000_000_001),
        (b"", None, [("only", b"header")], 1_700_000_000_999),
    ]
    await cluster.write(topic, 1, *written)
    consumer = await cluster.consumer()
    consumer.assign([name])
    consumer.seek(name, 0)

    records = await cluster.read(consumer, 3)

    assert [(topic, 1, offset) for offset in range(3)] == [
        (record.topic, record.partition, record.offset) for record in records
    ]
    assert written == [
        (record.key, record.value, list(record.headers), record.timestamp) for record in records
    ]
    assert all(isinstance(record.headers, tuple) for record in records)
    await consumer.stop()


async def test_without_a_timestamp_a_record_gets_the_time_of_writing(cluster):
    """A record appended with timestamp None is stamped in epoch milliseconds."""
    topic = await cluster.create_topic(1)
    name = TopicPartition(topic, 0)
    before_ms = cluster.clock.now_ms()
    await cluster.write_numbers(topic, 0, [1])
    consumer = await cluster.consumer()
    consumer.assign([name])
    consumer.seek(name, 0)

    (record,) = await cluster.read(consumer, 1)

    assert int(before_ms) <= record.timestamp <= cluster.clock.now_ms()
    await consumer.stop()


async def test_a_waiting_getmany_gets_what_arrives(cluster):
    """A record written while `getmany` waits ends the wait long before its time-out."""
    topic = await cluster.create_topic(1)
    name = TopicPartition(topic, 0)
    await cluster.write_numbers(topic, 0, [1])
    consumer = await cluster.consumer()
    consumer.assign([name])
    consumer.seek(name, 1)
    waiting = asyncio.create_task(consumer.getmany(timeout_ms=15_000))
    before_ms = cluster.clock.now_ms()
    await cluster.write_numbers(topic, 0, [2])

    found = await waiting

    assert values(found[name]) == [2]
    assert cluster.clock.now_ms() - before_ms < 10_000
    await consumer.stop()


async def test_getmany_ends_empty_at_its_timeout(cluster):
    """With nothing to read, `getmany` returns an empty mapping, and not before its time-out."""
    topic = await cluster.create_topic(1)
    name = TopicPartition(topic, 0)
    await cluster.write_numbers(topic, 0, [1])
    consumer = await cluster.consumer()
    consumer.assign([name])
    consumer.seek(name, 1)
    before_ms = cluster.clock.now_ms()

    found = await consumer.getmany(timeout_ms=150)

    assert found == {}
    assert cluster.clock.now_ms() - before_ms >= 140
    await consumer.stop()


async def test_getmany_minds_its_partitions_and_max_records(cluster):
    """`getmany(tp, max_records=n)` gives at most n records, of that partition alone."""
    topic = await cluster.create_topic(2)
    names = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
    await cluster.write_numbers(topic, 0, range(5))
    await cluster.write_numbers(topic, 1, range(10, 15))
    consumer = await cluster.consumer()
    consumer.assign(names)
    for name in names:
        consumer.seek(name, 0)

    found = await consumer.getmany(names[1], timeout_ms=5_000, max_records=3)

    assert {names[1]: [10, 11, 12]} == {name: values(found[name]) for name in found}
    assert await consumer.position(names[1]) == 3
    await consumer.stop()


async def test_max_records_bounds_all_partitions_together(cluster):
    """`max_records` is the bound of one answer; what it left behind comes with the next."""
    topic = await cluster.create_topic(2)
    names = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
    consumer = await cluster.consumer()
    consumer.assign(names)
    for name in names:
        await cluster.write_numbers(topic, name.partition, range(4))
        consumer.seek(name, 0)

    sizes: list[int] = []
    while sum(sizes) < 8:
        found = await consumer.getmany(timeout_ms=5_000, max_records=3)
        sizes.append(sum(len(records) for records in found.values()))

    assert max(sizes) <= 3
    assert [4, 4] == [await consumer.position(name) for name in names]
    await consumer.stop()


async def test_assign_forgets_positions_and_pauses(cluster):
    """After another `assign`, a kept partition has no position and is not paused."""
    topic = await cluster.create_topic(2)
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
    await cluster.write_numbers(topic, 0, range(5))
    consumer = await cluster.consumer()
    consumer.assign([first])
    consumer.seek(first, 3)
    consumer.pause(first)

    consumer.assign([first])

    assert consumer.paused() == set()
    with pytest.raises(NoOffsetForPartitionError):
        await consumer.getmany(timeout_ms=5_000)
    consumer.assign([first, second])
    consumer.seek(first, 1)
    consumer.seek(second, 0)
    assert [1, 2, 3, 4] == values(await cluster.read(consumer, 4))
    await consumer.stop()


async def test_seek_goes_back_and_forth(cluster):
    """Reading goes on at the offset that was sought, as often as one likes."""
    topic = await cluster.create_topic(1)
    name = TopicPartition(topic, 0)
    await cluster.write_numbers(topic, 0, range(6))
    consumer = await cluster.consumer()
    consumer.assign([name])
    consumer.seek(name, 4)
    assert values(await cluster.read(consumer, 2)) == [4, 5]

    consumer.seek(name, 2)

    assert await consumer.position(name) == 2
    assert values(await cluster.read(consumer, 4)) == [2, 3, 4, 5]
    assert await consumer.position(name) == 6
    await consumer.stop()


async def test_a_paused_partition_delivers_nothing(cluster):
    """A pause stops one partition and no other; `resume` goes on where it stopped."""
    topic = await cluster.create_topic(2)
    paused, running = TopicPartition(topic, 0), TopicPartition(topic, 1)
    await cluster.write_numbers(topic, 0, [1, 2])
    await cluster.write_numbers(topic, 1, [3, 4])
    consumer = await cluster.consumer()
    consumer.assign([paused, running])
    consumer.seek(paused, 0)
    consumer.seek(running, 0)

    consumer.pause(paused)

    assert {paused} == consumer.paused()
    assert values(await cluster.read(consumer, 2)) == [3, 4]
    assert await consumer.getmany(timeout_ms=100) == {}
    assert await consumer.position(paused) == 0
    consumer.resume(paused)
    assert consumer.paused() == set()
    assert values(await cluster.read(consumer, 2)) == [1, 2]
    await consumer.stop()


async def test_what_is_not_assigned_cannot_be_sought_or_paused(cluster):
    """`seek`, `pause`, `resume` and `position` refuse a partition that was not assigned."""
    topic = await cluster.create_topic(2)
    consumer = await cluster.consumer()
    consumer.assign([TopicPartition(topic, 0)])
    stranger = TopicPartition(topic, 1)

    with pytest.raises(IllegalStateError):
        consumer.seek(stranger, 0)
    with pytest.raises(IllegalStateError):
        consumer.pause(stranger)
    with pytest.raises(IllegalStateError):
        consumer.resume(stranger)
    with pytest.raises(IllegalStateError):
        await consumer.position(stranger)
    await consumer.stop()


async def test_a_position_beyond_the_end_is_an_error(cluster):
    """Beyond the end `getmany` raises `OffsetOutOfRangeError` with partition and offset."""
    topic = await cluster.create_topic(1)
    name = TopicPartition(topic, 0)
    await cluster.write_numbers(topic, 0, range(3))
    consumer = await cluster.consumer()
    consumer.assign([name])
    consumer.seek(name, 50)

    with pytest.raises(OffsetOutOfRangeError) as raised:
        await consumer.getmany(timeout_ms=5_000)

    assert ({name: 50},) == raised.value.args
    await consumer.stop()


async def test_a_position_below_a_truncated_log_is_an_error(cluster):
    """Below the start of a truncated log `getmany` raises; from the start on it reads."""
    cluster.need("truncate")
    topic = await cluster.create_topic(1)
    name = TopicPartition(topic, 0)
    await cluster.write_numbers(topic, 0, range(6))
    await cluster.truncate(name, 4)
    consumer = await cluster.consumer()
    consumer.assign([name])
    consumer.seek(name, 1)

    with pytest.raises(OffsetOutOfRangeError) as raised:
        await consumer.getmany(timeout_ms=5_000)

    assert ({name: 1},) == raised.value.args
    assert await consumer.beginning_offsets([name]) == {name: 4}
    consumer.seek(name, 4)
    assert values(await cluster.read(consumer, 2)) == [4, 5]
    await consumer.stop()


async def test_beginning_and_end_offsets(cluster):
    """The offsets name the log's start and the next offset of partitions assigned or not."""
    topic = await cluster.create_topic(2)
    written, empty = TopicPartition(topic, 0), TopicPartition(topic, 1)
    await cluster.write_numbers(topic, 0, range(7))
    consumer = await cluster.consumer()

    assert await consumer.beginning_offsets([written, empty]) == {written: 0, empty: 0}
    assert await consumer.end_offsets([written, empty]) == {written: 7, empty: 0}
    await consumer.stop()


async def test_position_passes_offsets_that_nobody_can_read(cluster):
    """Reading goes past a transaction marker: the position reaches the end of the log."""
    cluster.need("mark")
    topic = await cluster.create_topic(1)
    name = TopicPartition(topic, 0)
    await cluster.write_then_mark(topic, 0, b"1")
    await cluster.write_then_mark(topic, 0, b"2")
    consumer = await cluster.consumer()
    consumer.assign([name])
    consumer.seek(name, 0)

    records = await cluster.read(consumer, 2)

    assert [record.offset for record in records] == [0, 2]
    for _ in range(20):
        assert await consumer.getmany(timeout_ms=50) == {}
        if await consumer.position(name) == 4:
            break
    assert await consumer.position(name) == 4
    assert await consumer.end_offsets([name]) == {name: 4}
    await consumer.stop()
