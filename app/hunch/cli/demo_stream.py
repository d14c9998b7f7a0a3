"""The demo's own ends of Kafka: digits onto `messages`, decisions off `decisions`."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hunch.clock import Clock
from hunch.kafka.client import Consumer, Producer, Record, TopicPartition

TICK_S = 0.02
ANSWER_S = 10.0
POLL_MS = 50
MAX_AT_ONCE = 200
"""Messages or decisions that surely fit into one batch."""


class Stream:
    """Sends messages round-robin on a schedule, and keeps the origins that the broker gave them."""

    def __init__(
        self,
        producer: Producer,
        topic: str,
        partitions: int,
        *,
        message: Callable[[int], bytes],
        clock: Clock,
        on_sent: Callable[[Sequence[int], float], None],
    ) -> None:
        self.origins: list[str] = []
        self._producer = producer
        self._topic = topic
        self._partitions = partitions
        self._message = message
        self._clock = clock
        self._on_sent = on_sent

    async def run(self, count: int, rate: float) -> None:
        """Sends `count` messages, number i when i / `rate` seconds have passed."""
        start_s, next_number = time.monotonic(), 0
        waiting: dict[asyncio.Future[Any], int] = {}
        while next_number < count:
            due = int((time.monotonic() - start_s) * rate) + 1
            due = min(count, due, next_number + MAX_AT_ONCE)
            for partition in range(self._partitions):
                first = next_number + (partition - next_number) % self._partitions
                numbers = range(first, due, self._partitions)
                if numbers:
                    future = await self._send(partition, numbers)
                    waiting[future] = len(numbers)
            next_number = due
            await asyncio.sleep(TICK_S)
        async with asyncio.timeout(ANSWER_S):
            for future, n in waiting.items():
                at = await future
                self.origins += [f"{at.topic}-{at.partition}-{at.offset + i}" for i in range(n)]

    async def _send(self, partition: int, numbers: Sequence[int]) -> "asyncio.Future[Any]":
        now_ms = self._clock.now_ms()
        batch = self._producer.create_batch()
        for number in numbers:
            batch.append(timestamp=int(now_ms), key=None, value=self._message(number))
        self._on_sent(numbers, now_ms)
        future: asyncio.Future[Any] = await self._producer.send_batch(
            batch, self._topic, partition=partition
        )
        return future


async def watch(
    consumer: Consumer,
    topic: str,
    partitions: int,
    on_records: Callable[[Sequence[Record]], None],
) -> None:
    """Reads a topic from its start, for ever."""
    assigned = [TopicPartition(topic, partition) for partition in range(partitions)]
    consumer.assign(assigned)
    for partition in assigned:
        consumer.seek(partition, 0)
    while True:
        found: Mapping[TopicPartition, Sequence[Record]] = await consumer.getmany(
            timeout_ms=POLL_MS, max_records=MAX_AT_ONCE
        )
        for records in found.values():
            on_records(records)


class Relay:
    """For `--break`: copies decisions to another topic, all but the very first."""

    def __init__(self, producer: Producer, topic: str) -> None:
        self._producer = producer
        self._topic = topic
        self._is_first = True
        self._copies: asyncio.Queue[tuple[int, Sequence[Record]]] = asyncio.Queue()

    def copy(self, records: Sequence[Record]) -> None:
        """Takes records of one partition, to be copied by `run`."""
        kept = records[1:] if self._is_first else records
        self._is_first = self._is_first and not records
        if kept:
            self._copies.put_nowait((kept[0].partition, kept))

    async def run(self) -> None:
        """Writes what is taken, for ever."""
        while True:
            partition, records = await self._copies.get()
            batch = self._producer.create_batch()
            for record in records:
                batch.append(timestamp=None, key=record.key, value=record.value)
            await (await self._producer.send_batch(batch, self._topic, partition=partition))
