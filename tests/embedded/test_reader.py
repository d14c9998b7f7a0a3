"""The reader of all lanes: what one record spoils, no other partition pays for."""

import asyncio
import contextlib
import struct

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

from hunch.clock import SystemClock
from hunch.kafka.aio import KafkaClient
from hunch.kafka.readback import read_back
from hunch.kafka.reader import Reader, Unreadable

NAME, NO_TEXT = b"broken", b"\xff\xfe\xff\xfe\xff\xfe"
CRC_AT = 17
COUNT = 40
GOOD, SPOILT = TopicPartition("messages", 0), TopicPartition("messages", 1)


class Collected:
    """A lane that keeps what it is fed."""

    def __init__(self):
        self.offsets: dict[TopicPartition, list[int]] = {GOOD: [], SPOILT: []}
        self.stand_ins = {GOOD: 0, SPOILT: 0}
        self.changed = asyncio.Event()

    def feed(self, partition, records):
        """Takes records."""
        self.offsets[partition] += [record.offset for record in records]
        self.stand_ins[partition] += sum(isinstance(record, Unreadable) for record in records)
        self.changed.set()

    def passed(self, partition, position):
        """Hears of markers."""

    def is_full(self, _partition):
        """Takes all there is."""
        return False

    def broken(self, reason):
        """Must not happen."""
        raise AssertionError(reason)


async def write(producer, partition, count, broken=()):
    """Writes records in one batch; some with a header name that is no text."""
    batch = producer.create_batch()
    for number in range(count):
        headers = [(NAME.decode(), b"1")] if number in broken else []
        batch.append(timestamp=None, key=None, value=b"%d" % number, headers=headers)
    batch.close()
    written = bytearray(bytes(batch._build()).replace(NAME, NO_TEXT))
    struct.pack_into(">I", written, CRC_AT, calc_crc32c(bytes(written[CRC_AT + 4 :])))
    batch._buffer = written
    await (await producer.send_batch(batch, partition.topic, partition=partition.partition))


async def write_all(broker):
    """Three batches in each partition, one of two with a record in it that cannot be read."""
    broker.create_topic("messages", 2)
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap) as producer:
        for _ in range(3):
            await write(producer, GOOD, COUNT)
            await write(producer, SPOILT, COUNT, broken={COUNT // 2})


async def test_a_record_that_cannot_be_read_costs_no_other_one(embedded_broker):
    """Every offset of both partitions arrives, once and in order, in part as a stand-in."""
    await write_all(embedded_broker)
    clock = SystemClock()
    client = KafkaClient(embedded_broker.bootstrap, clock, fetch_max_wait_ms=10)
    reader, lane = Reader(client.consumer("read_committed"), clock), Collected()
    await reader.start()
    reader.open(lane, {GOOD: 0, SPOILT: 0})
    reading = asyncio.create_task(reader.run())
    async with asyncio.timeout(20):
        while sum(map(len, lane.offsets.values())) < 6 * COUNT:
            lane.changed.clear()
            await lane.changed.wait()
    reading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reading
    await reader.stop()
    await client.close()

    assert list(range(3 * COUNT)) == lane.offsets[GOOD]
    assert not lane.stand_ins[GOOD]
    assert list(range(3 * COUNT)) == lane.offsets[SPOILT]


async def test_reading_back_passes_what_cannot_be_read(embedded_broker):
    """A takeover is not stopped by a stranger's record; aiokafka loses the rest of its batch."""
    await write_all(embedded_broker)
    clock = SystemClock()
    client = KafkaClient(embedded_broker.bootstrap, clock, fetch_max_wait_ms=10)
    ranges = dict.fromkeys((GOOD, SPOILT), (0, 3 * COUNT))
    found = await read_back(
        client, clock, ranges, lambda record: (record.partition, record.offset), timeout_ms=5_000
    )
    await client.close()
    readable = {at for at in range(3 * COUNT) if at % COUNT < COUNT // 2}

    assert {(0, offset) for offset in range(3 * COUNT)} == {one for one in found if one[0] == 0}
    assert readable == {offset for p, offset in found if p == 1}


@pytest.mark.parametrize("turns", range(1, 12))
async def test_whoever_waits_for_a_consumer_to_stop_can_be_cancelled(embedded_broker, turns):
    """At any turn of the event loop: aiokafka takes some cancellations for its own."""
    embedded_broker.create_topic("messages", 2)
    client = KafkaClient(embedded_broker.bootstrap, SystemClock(), fetch_max_wait_ms=10)
    consumer = client.consumer("read_committed")
    await consumer.start()
    consumer.assign([GOOD, SPOILT])
    stopping = asyncio.create_task(consumer.stop())
    for _ in range(turns):
        await asyncio.sleep(0)
    is_too_late = stopping.done()
    stopping.cancel()
    await asyncio.wait({stopping}, timeout=10)

    assert stopping.cancelled() or is_too_late
    await client.close()
