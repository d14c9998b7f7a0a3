"""Ranges of a log as they are read for a search, with records in them that cannot be read.

aiokafka takes a batch apart from its start: what stands behind such a record in its batch cannot be
read either, here and in the stages.
"""

import struct

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.record.util import calc_crc32c

from hunch.clock import SystemClock
from hunch.kafka.aio import KafkaClient
from hunch.kafka.client import TopicPartition
from hunch.kafka.log_search import LogReader, Span
from hunch.kafka.reader import Unreadable

LOG = TopicPartition("messages", 0)
COUNT = 10
BROKEN = 5
NAME, NO_TEXT = b"broken", b"\xff\xfe\xff\xfe\xff\xfe"
CRC_AT = 17
"""Where the checksum stands in a record batch; it covers all that follows."""


@pytest.fixture
async def reader(embedded_broker):
    """A reader of ten messages in one batch, of which one has a header name that is no text."""
    embedded_broker.create_topic(LOG.topic, 1)
    async with AIOKafkaProducer(bootstrap_servers=embedded_broker.bootstrap) as producer:
        batch = producer.create_batch()
        for number in range(COUNT):
            headers = [(NAME.decode(), b"1")] if number == BROKEN else []
            batch.append(timestamp=None, key=None, value=b"%d" % number, headers=headers)
        batch.close()
        written = bytearray(bytes(batch._build()).replace(NAME, NO_TEXT))
        struct.pack_into(">I", written, CRC_AT, calc_crc32c(bytes(written[CRC_AT + 4 :])))
        batch._buffer = written
        await (await producer.send_batch(batch, LOG.topic, partition=0))
    clock = SystemClock()
    client = KafkaClient(embedded_broker.bootstrap, clock, fetch_max_wait_ms=10)
    async with LogReader(client, clock, timeout_ms=5_000) as reading:
        yield reading
    await client.close()


async def test_records_that_cannot_be_read_have_stand_ins(reader):
    """Those before it in its batch are read; every offset comes in order, each once."""
    found = [record async for record in reader.range(LOG, Span(0, COUNT))]

    assert list(range(COUNT)) == [record.offset for record in found]
    assert list(range(BROKEN)) == [
        record.offset for record in found if not isinstance(record, Unreadable)
    ]
    assert COUNT == reader.records_read


@pytest.mark.parametrize(
    ("start", "end", "offset"),
    [(BROKEN, BROKEN + 1, BROKEN), (BROKEN + 1, COUNT, BROKEN + 1), (3, COUNT, 3), (4, 4, None)],
)
async def test_the_first_record_of_a_range_is_found(reader, start, end, offset):
    """Before, at and behind the one that cannot be read; nothing in an empty range."""
    record = await reader.first_from(LOG, start, end)

    assert offset == (None if record is None else record.offset)
    assert (offset in range(BROKEN, COUNT)) == isinstance(record, Unreadable)
