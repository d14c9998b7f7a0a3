"""What aiokafka's connections do on the event loop that `hunch run` uses."""

import asyncio

import pytest
import uvloop
from aiokafka import conn
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from hunch.kafka import aio


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
