"""A coordinator that loads answers without partitions: that is no answer, and never means none."""

import asyncio

import pytest
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from hunch.errors import BrokerError
from hunch.kafka.aio import KafkaClient
from hunch.testing import ManualClock

T0, T1 = TopicPartition("topic", 0), TopicPartition("topic", 1)
FOUND = {T0: OffsetAndMetadata(7, "m"), T1: OffsetAndMetadata(-1, "")}


class Admin:
    """Stands at the edge for aiokafka's admin client; gives its answers one after another."""

    def __init__(self, *answers):
        self.answers = list(answers)

    async def list_consumer_group_offsets(self, group, partitions):
        """The next answer, or the last for ever."""
        assert ("group", [T0, T1]) == (group, partitions)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def asked(*answers):
    """What the client makes of such answers, within half a minute."""
    clock = ManualClock()
    client = KafkaClient("127.0.0.1:1", clock)
    client._admin = Admin(*answers)
    task = asyncio.create_task(client.committed("group", [T0, T1]))
    await clock.advance(30_000)
    return task


async def test_a_partition_that_is_missing_is_asked_for_again():
    """Until every partition stands in the answer; -1 in it does mean none."""
    task = await asked({}, {T0: FOUND[T0]}, FOUND)

    assert FOUND == task.result()


@pytest.mark.parametrize("answer", [{}, {T0: FOUND[T0]}], ids=["all", "one"])
async def test_what_stays_missing_is_an_error(answer):
    """It is never taken for an offset that was not committed."""
    task = await asked(answer)

    with pytest.raises(BrokerError, match="the answer lacks a partition"):
        task.result()
