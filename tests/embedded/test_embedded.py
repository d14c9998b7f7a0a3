"""The embedded broker: serves aiokafka, ends with its parent, refuses with sentences."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from tests.brokers import is_alive, wait_until_gone

from hunch.errors import BrokerError
from hunch.kafka import embedded

PARENT = """
import os, sys
from hunch.kafka.embedded import EmbeddedBroker
with EmbeddedBroker() as broker:
    holder = os.fork()  # holds the broker's stdin open, as a forked worker would
    if holder == 0:
        os.execvp("sleep", ["sleep", "60"])
    print(broker.pid, holder, flush=True)
    sys.stdin.read()
"""


async def test_keeps_what_was_written_to_each_partition(embedded_broker):
    """Records come back from the partition that they were written to, with key and headers."""
    embedded_broker.create_topic("messages", 3)
    address = embedded_broker.bootstrap
    async with AIOKafkaProducer(bootstrap_servers=address) as producer:
        for partition in range(3):
            await producer.send_and_wait(
                "messages",
                b"%d" % partition,
                key=b"key",
                partition=partition,
                headers=[("name", b"value")],
            )
    partitions = [TopicPartition("messages", partition) for partition in range(3)]
    found: dict[int, tuple[bytes, bytes, list[tuple[str, bytes]]]] = {}
    async with AIOKafkaConsumer(
        bootstrap_servers=address,
        fetch_max_wait_ms=embedded.FETCH_MAX_WAIT_MS,
        auto_offset_reset="earliest",
    ) as consumer:
        consumer.assign(partitions)
        while len(found) < 3:
            for partition, records in (await consumer.getmany(timeout_ms=100)).items():
                record = records[0]
                found[partition.partition] = (record.key, record.value, list(record.headers))

    assert {p: (b"key", b"%d" % p, [("name", b"value")]) for p in range(3)} == found


def test_refuses_a_topic_twice(embedded_broker):
    """Creating a topic that exists is an error that names it."""
    embedded_broker.create_topic("messages", 3)

    with pytest.raises(BrokerError, match="refused the topic messages"):
        embedded_broker.create_topic("messages", 3)


def test_says_so_when_it_has_died(embedded_broker):
    """After the death of its process every request is refused with a sentence."""
    os.kill(embedded_broker.pid, signal.SIGKILL)

    with pytest.raises(BrokerError, match=r"has ended|does not answer"):
        embedded_broker.create_topic("messages", 3)


def test_ends_with_its_context(embedded_broker):
    """No process is left when the broker is stopped."""
    pid = embedded_broker.pid
    embedded_broker.stop()

    assert wait_until_gone(pid, 5.0)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.usefixtures("embedded_broker")  # where it cannot start, this is skipped as well
def test_ends_with_its_parent(how):
    """The broker ends however its parent dies, although a child still holds its stdin."""
    paths = os.pathsep.join([str(Path(embedded.__file__).parents[2]), *sys.path])
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
        stderr=subprocess.DEVNULL,
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    broker, holder = map(int, parent.stdout.readline().split())
    try:
        was_alive = is_alive(broker)
        parent.send_signal(how)
        parent.wait(10)
        is_gone = wait_until_gone(broker, 5.0)
    finally:
        os.kill(holder, signal.SIGKILL)
        parent.stdin.close()
        parent.stdout.close()

    assert (True, True) == (was_alive, is_gone)
