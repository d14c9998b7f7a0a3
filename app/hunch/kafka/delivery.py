"""How the outputs of a lane and the offsets they stand for reach the broker.

`Transactional` makes them visible together, or not at all. `AtLeastOnce` acknowledges first and
commits later: a crash in between repeats work, never loses it.
"""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from aiokafka.errors import IllegalOperation

from hunch.clock import Clock
from hunch.errors import LaneClosed
from hunch.kafka.client import OffsetAndMetadata, Producer, RecordMetadata, TopicPartition
from hunch.kafka.codec import Outgoing

Outputs = Mapping[tuple[str, int], Sequence[Outgoing]]
"""(topic, partition) → records, in order."""

Offsets = dict[TopicPartition, OffsetAndMetadata]
Ends = dict[tuple[str, int], int]
"""(topic, partition) → end of what was written there."""


class Delivery(Protocol):
    """One lane's way out.

    Attributes:
        max_batch_records: the most records in one batch, where the broker has refused larger ones.
    """

    max_batch_records: int

    async def open(self) -> None:
        """Starts the producer; whoever had this lane before can write no more, where that holds."""

    async def deliver(self, outputs: Outputs, offsets: Offsets) -> Ends:
        """Returns once all is acknowledged, or committed.

        Any error, a time-out included, leaves the outcome unknown: the lane must close.
        """

    async def close(self) -> None:
        """Stops the producer; what is not acknowledged by now is nobody's business any more."""


class Transactional:
    """Outputs and offsets in one transaction; opening it is the fence.

    Args:
        producer: with the transactional id of this lane, which nobody else has.
        group: whose offsets are committed.
        open_timeout_ms: how long the fence may take.
        timeout_ms: how long a transaction may take; the broker ends it after as long.
    """

    def __init__(
        self,
        producer: Producer,
        group: str,
        *,
        clock: Clock,
        open_timeout_ms: float,
        timeout_ms: float,
    ) -> None:
        self._producer = producer
        self._group = group
        self._clock = clock
        self.max_batch_records = sys.maxsize
        self._open_timeout_ms = open_timeout_ms
        self._timeout_ms = timeout_ms

    async def open(self) -> None:
        """Starts the producer; what a predecessor had open is settled then."""
        await self._clock.wait_for(self._producer.start(), self._open_timeout_ms)

    async def deliver(self, outputs: Outputs, offsets: Offsets) -> Ends:
        """One transaction."""
        return await self._clock.wait_for(self._transact(outputs, offsets), self._timeout_ms)

    async def close(self) -> None:
        """Stops the producer; a transaction that is open is ended by whoever comes next."""
        await self._producer.stop()

    async def _transact(self, outputs: Outputs, offsets: Offsets) -> Ends:
        try:
            await self._producer.begin_transaction()
            ends = await _send(self._producer, outputs, self.max_batch_records)
            await self._producer.send_offsets_to_transaction(offsets, self._group)
            await self._producer.commit_transaction()
        # aiokafka's words for a producer that has failed already, here or beside this send
        except (AssertionError, IllegalOperation) as error:
            msg = "the producer has failed before"
            raise LaneClosed(msg) from error
        return ends


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
        self.max_batch_records = sys.maxsize
        self._note = note
        self._clock = clock
        self._timeout_ms = timeout_ms

    async def open(self) -> None:
        """Starts the producer."""
        await self._clock.wait_for(self._producer.start(), self._timeout_ms)

    async def deliver(self, outputs: Outputs, offsets: Offsets) -> Ends:
        """Writes all batches, awaits every acknowledgement, then notes the offsets."""
        ends: Ends = {}
        if outputs:
            sending = _send(self._producer, outputs, self.max_batch_records)
            ends = await self._clock.wait_for(sending, self._timeout_ms)
        self._note(offsets)
        return ends

    async def close(self) -> None:
        """Stops the producer, whatever state it is in."""
        await self._producer.stop()


async def _send(producer: Producer, outputs: Outputs, max_batch_records: int) -> Ends:
    sent = [
        _send_partition(producer, topic, partition, records, max_batch_records)
        for (topic, partition), records in outputs.items()
    ]
    ends = await asyncio.gather(*sent)
    return dict(zip(outputs, ends, strict=True))


async def _send_partition(
    producer: Producer,
    topic: str,
    partition: int,
    records: Sequence[Outgoing],
    max_batch_records: int,
) -> int:
    futures, counts = [], []
    batch = producer.create_batch()
    for key, value, headers in records:
        taken = None
        if batch.record_count() < max_batch_records:
            taken = batch.append(timestamp=None, key=key, value=value, headers=headers)
        if taken is None:
            counts.append(batch.record_count())
            futures.append(await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(timestamp=None, key=key, value=value, headers=headers)
    counts.append(batch.record_count())
    futures.append(await producer.send_batch(batch, topic, partition=partition))
    acknowledged: list[RecordMetadata] = await asyncio.gather(*futures)
    last_batch_at: int = acknowledged[-1].offset
    end: int = last_batch_at + counts[-1]
    return end
