"""What aiokafka's connections do on the event loop that `hunch run` uses."""

import asyncio

import pytest
import uvloop
from aiokafka import conn
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError
from aiokafka.protocol.metadata import MetadataRequest

from hunch.clock import SystemClock
from hunch.kafka import aio
from hunch.kafka.client import TopicPartition


def test_a_transport_that_is_closed_is_a_broken_connection(kafka_bootstrap):
    """Who sends on it is told so with Kafka's error, and not with uvloop's RuntimeError."""
    host, port = kafka_bootstrap.split(":")

    async def send_after_the_end():
        connection = await conn.create_conn(host, int(port))
        assert isinstance(connection, aio.Connection)
        writer = connection._writer
        writer.transport.abort()
        while connection._writer is not None:
            await asyncio.sleep(0)
        connection._writer = writer  # as in the moment before the connection has noticed
        try:
            await connection.send(MetadataRequest([]))
        finally:
            connection.close()

    with pytest.raises(KafkaConnectionError):
        uvloop.run(send_after_the_end())


async def test_a_consumer_stops_while_a_fetch_waits_after_an_error(
    kafka_bootstrap, topic_prefix, fresh_topics
):
    """As when the broker goes away: nothing is raised, and its connections are closed."""
    await fresh_topics(partitions=1)
    client = aio.KafkaClient(kafka_bootstrap, SystemClock())
    consumer = client.consumer("read_committed")
    await consumer.start()
    partition = TopicPartition(f"{topic_prefix}messages", 0)
    consumer.assign([partition])
    consumer.seek(partition, 0)
    has_failed = asyncio.Event()

    async def refuse(*_args, **_more):
        has_failed.set()
        raise NodeNotReadyError

    consumer._client.send = refuse
    async with asyncio.timeout(10):
        await has_failed.wait()
    await asyncio.sleep(0)
    await consumer.stop()

    assert not any(connection.connected() for connection in consumer._client._conns.values())
