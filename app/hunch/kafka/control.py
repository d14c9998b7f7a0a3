"""The control topic, read by every process from its start: to the end first, then as it grows."""

import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from hunch.clock import Clock
from hunch.errors import BrokerError
from hunch.kafka.client import Client, Record, TopicPartition

POLL_MS = 1_000
PAUSE_MS = 1_000
STOP_MS = 2_000
Take = Callable[[list[Record]], None]


class ControlReader:
    """Hands every record of `control` to `take`, a poll's share at a time, in their order."""

    def __init__(self, client: Client, topic: str, take: Take, clock: Clock) -> None:
        self._consumer = client.consumer("read_committed")
        self._partition = TopicPartition(topic, 0)
        self._take = take
        self._clock = clock

    async def start(self, timeout_ms: float) -> None:
        """Reads all that is there by now; raises `BrokerError` where that takes too long."""
        await self._within(self._begin(), timeout_ms)

    async def catch_up(self, timeout_ms: float) -> None:
        """Reads what has come since, while nobody is in `run`; raises as `start` does."""
        await self._within(self._read_to_the_end(), timeout_ms)

    async def _within(self, reading: Coroutine[Any, Any, None], timeout_ms: float) -> None:
        try:
            await self._clock.wait_for(reading, timeout_ms)
        except (KafkaError, TimeoutError) as error:
            raise BrokerError(
                f"The topic {self._partition.topic} cannot be read: {type(error).__name__}. See "
                "that the broker runs and that this process may read it."
            ) from error

    async def _begin(self) -> None:
        await self._consumer.start()
        self._consumer.assign([self._partition])
        await self._rewind()
        await self._read_to_the_end()

    async def _read_to_the_end(self) -> None:
        consumer, partition = self._consumer, self._partition
        ends = await consumer.end_offsets([partition])
        while await consumer.position(partition) < ends[partition]:
            await self._poll()

    async def _rewind(self) -> None:
        first = await self._consumer.beginning_offsets([self._partition])
        self._consumer.seek(self._partition, first[self._partition])

    async def run(self) -> None:
        """Goes on reading until cancelled; a broker that is away is waited for."""
        is_lost = False
        while True:
            try:
                if is_lost:
                    await self._rewind()
                    is_lost = False
                await self._poll()
            except OffsetOutOfRangeError:  # the broker has removed what was to be read next
                is_lost = True
            except KafkaError:
                await self._clock.sleep(PAUSE_MS)

    async def stop(self) -> None:
        """Closes the consumer."""
        with contextlib.suppress(KafkaError, TimeoutError):
            await self._clock.wait_for(self._consumer.stop(), STOP_MS)

    async def _poll(self) -> None:
        found = await self._consumer.getmany(self._partition, timeout_ms=POLL_MS)
        for records in found.values():
            self._take(records)
