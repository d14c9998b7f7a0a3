"""How the outputs of a lane and the offsets they stand for reach the broker.

`AtLeastOnce` acknowledges first and commits later: a crash in between repeats work, never loses it.
A transactional delivery takes the same place: the lane hands over outputs and offsets together.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from hunch.clock import Clock
from hunch.kafka.client import OffsetAndMetadata, Producer, RecordMetadata, TopicPartition
from hunch.kafka.codec import Outgoing

Outputs = Mapping[tuple[str, int], Sequence[Outgoing]]
"""(topic, partition) → records, in order."""

Offsets = dict[TopicPartition, OffsetAndMetadata]


class Delivery(Protocol):
    """One lane's way out."""

    async def open(self) -> None:
        """Starts the producer; whoever had this lane before can write no more, where that holds."""

    async def deliver(self, outputs: Outputs, offsets: Offsets) -> dict[tuple[str, int], int]:
        """Returns once all is acknowledged: (topic, partition) → end of what was written there.

        Any error, a time-out included, leaves the outcome unknown: the lane must close.
        """

    async def close(self) -> None:
        """Stops the producer."""


class AtLeastOnce:
    """Plain idempotent producer; offsets are noted for the next commit of the member."""

    def __init__(
        self,
        producer: Producer,
        note: Callable[[Offsets], None],
        *,
        clock: Clock,
        timeout_ms: float,
    ) -> None:
        self._producer = producer
        self._note = note
        self._clock = clock
        self._timeout_ms = timeout_ms

    async def open(self) -> None:
        """Starts the producer."""
        await self._clock.wait_for(self._producer.start(), self._timeout_ms)

    async def deliver(self, outputs: Outputs, offsets: Offsets) -> dict[tuple[str, int], int]:
        """Writes all batches, awaits every acknowledgement, then notes the offsets."""
        ends = {}
        if outputs:
            ends = await self._clock.wait_for(self._send(outputs), self._timeout_ms)
        self._note(offsets)
        return ends

    async def close(self) -> None:
        """Stops the producer, whatever state it is in."""
        await self._producer.stop()

    async def _send(self, outputs: Outputs) -> dict[tuple[str, int], int]:
        sent = [
            self._send_partition(topic, partition, records)
            for (topic, partition), records in outputs.items()
        ]
        ends = await asyncio.gather(*sent)
        return dict(zip(outputs, ends, strict=True))

    async def _send_partition(self, topic: str, partition: int, records: Sequence[Outgoing]) -> int:
        futures, counts = [], []
        batch = self._producer.create_batch()
        for key, value, headers in records:
            taken = batch.append(timestamp=None, key=key, value=value, headers=headers)
            if taken is None:
                counts.append(batch.record_count())
                futures.append(await self._producer.send_batch(batch, topic, partition=partition))
                batch = self._producer.create_batch()
                batch.append(timestamp=None, key=key, value=value, headers=headers)
        counts.append(batch.record_count())
        futures.append(await self._producer.send_batch(batch, topic, partition=partition))
        acknowledged: list[RecordMetadata] = await asyncio.gather(*futures)
        last_batch_at: int = acknowledged[-1].offset
        end: int = last_batch_at + counts[-1]
        return end
