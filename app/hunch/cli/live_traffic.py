"""A live sweep's own ends of Kafka: messages at planned moments, and a reader from outside.

A message's key is its number, and so is that of its decision. While messages flow nothing is
decoded: what was read is kept with the time at which it was there.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hunch.clock import Clock
from hunch.evaluation.live.trial import Seen, SlowSeen
from hunch.kafka.aio import KafkaClient
from hunch.kafka.client import Consumer, Producer, Record, TopicPartition

AHEAD_MS = 100.0
"""From the first look at the clock to the moment that the plan begins at."""
SHORTEST_WAIT_MS = 1.0
LONGEST_WAIT_MS = 200.0
MOST_AT_ONCE = 200
"""Messages that surely fit into one batch, where they are of usual size."""
MOST_READ = 5_000
POLL_MS = 100
ANSWER_S = 30.0


class Plan:
    """Which message is to be sent when, and to which partition."""

    def __init__(
        self,
        due_ms: NDArray[np.float64],
        partitions: NDArray[np.int64],
        values: Sequence[bytes],
        first_number: int,
    ) -> None:
        self.due_ms = due_ms
        self.partitions: list[int] = partitions.tolist()
        self.values = values
        self.first_number = first_number

    def __len__(self) -> int:
        return len(self.values)


class Sender:
    """Sends a plan; a late moment of this process delays no later one."""

    def __init__(self, producer: Producer, topic: str, clock: Clock) -> None:
        self._producer = producer
        self._topic = topic
        self._clock = clock

    async def run(
        self, plan: Plan, on_progress: Callable[[float], None]
    ) -> tuple[list[float], list[float]]:
        """When each message was given to the producer, and how much later than planned that was.

        Args:
            plan: due times count from a moment that this call chooses.
            on_progress: is told the share of the plan's time that has passed.
        """
        count, clock = len(plan), self._clock
        start_ms = clock.now_ms() + AHEAD_MS
        sent_ms: list[float] = []
        waiting: list[asyncio.Future[Any]] = []
        while len(sent_ms) < count:
            now_ms = clock.now_ms()
            first = len(sent_ms)
            due = int(np.searchsorted(plan.due_ms, now_ms - start_ms, side="right"))
            end = min(due, first + MOST_AT_ONCE)
            if end > first:
                waiting += await self._send(plan, range(first, end), now_ms)
                sent_ms += [now_ms] * (end - first)
                on_progress(float(plan.due_ms[end - 1] / plan.due_ms[-1]))
            if end < count:
                wait_ms = start_ms + float(plan.due_ms[end]) - clock.now_ms()
                await clock.sleep(min(LONGEST_WAIT_MS, max(SHORTEST_WAIT_MS, wait_ms)))
        async with asyncio.timeout(ANSWER_S):
            await asyncio.gather(*waiting)
        late_ms = np.maximum(np.array(sent_ms) - start_ms - plan.due_ms, 0.0)
        return sent_ms, late_ms.tolist()

    async def _send(self, plan: Plan, numbers: range, now_ms: float) -> "list[asyncio.Future[Any]]":
        shares: dict[int, list[int]] = defaultdict(list)
        for number in numbers:
            shares[plan.partitions[number]].append(number)
        answers = []
        for partition, share in shares.items():
            batch = self._producer.create_batch()
            for number in share:
                key, value = b"%d" % (plan.first_number + number), plan.values[number]
                if batch.append(timestamp=int(now_ms), key=key, value=value) is None:
                    answers.append(await self._send_batch(batch, partition))
                    batch = self._producer.create_batch()
                    batch.append(timestamp=int(now_ms), key=key, value=value)
            answers.append(await self._send_batch(batch, partition))
        return answers

    async def _send_batch(self, batch: Any, partition: int) -> "asyncio.Future[Any]":
        async with asyncio.timeout(ANSWER_S):
            answer: asyncio.Future[Any] = await self._producer.send_batch(
                batch, self._topic, partition=partition
            )
        return answer


class Decisions:
    """All decisions that came, by the number of their message; the first one counts."""

    def __init__(self) -> None:
        self.seen: dict[int, Seen] = {}

    def take(self, now_ms: float, records: Sequence[Record]) -> None:
        """Keeps what was read."""
        for record in records:
            self.seen.setdefault(int(record.key or b"-1"), Seen(now_ms, record.value or b""))

    def of(self, plan: Plan) -> dict[int, Seen]:
        """Those of a plan, by the place of the message in it; they are forgotten here."""
        first = plan.first_number
        numbers = range(first, first + len(plan))
        return {it - first: self.seen.pop(it) for it in numbers if it in self.seen}


class SlowResults:
    """All slow results that came."""

    def __init__(self) -> None:
        self.seen: list[SlowSeen] = []

    def take(self, now_ms: float, records: Sequence[Record]) -> None:
        """Keeps what was read."""
        self.seen += [SlowSeen(it.timestamp, now_ms, it.value or b"") for it in records]


@asynccontextmanager
async def reading(
    client: KafkaClient,
    topic: str,
    partitions: int,
    take: Callable[[float, Sequence[Record]], None],
    clock: Clock,
) -> Any:
    """Reads a topic from where it ends by now, as an outside consumer does, until left.

    Yields the task that reads: it ends only with an error.
    """
    consumer: Any = client.consumer("read_committed")
    try:
        await consumer.start()
        assigned = [TopicPartition(topic, partition) for partition in range(partitions)]
        consumer.assign(assigned)
        async with asyncio.timeout(ANSWER_S):
            ends = await consumer.end_offsets(assigned)
        for partition in assigned:
            consumer.seek(partition, ends[partition])
        task = asyncio.create_task(_read(consumer, take, clock))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    finally:
        await consumer.stop()


async def _read(
    consumer: Consumer, take: Callable[[float, Sequence[Record]], None], clock: Clock
) -> None:
    while True:
        found: Mapping[TopicPartition, Sequence[Record]] = await consumer.getmany(
            timeout_ms=POLL_MS, max_records=MOST_READ
        )
        now_ms = clock.now_ms()
        for records in found.values():
            take(now_ms, records)
