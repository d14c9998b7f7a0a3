"""The writer of the in-memory log: aiokafka's idempotent producer, whole batches only."""

import asyncio
from typing import TYPE_CHECKING

from aiokafka.errors import ProducerClosed
from aiokafka.structs import RecordMetadata, TopicPartition

from hunch.kafka.client import Header

if TYPE_CHECKING:
    from hunch.testing.log import MemoryLog

_BATCH_OVERHEAD_BYTES = 61
_RECORD_OVERHEAD_BYTES = 21
_HEADER_OVERHEAD_BYTES = 4

Entry = tuple[int | None, bytes | None, bytes | None, tuple[Header, ...]]
"""Timestamp, key, value and headers of a record that has no offset yet."""


class MemoryBatch:
    """Records for one partition, as many as fit into `max_bytes`; the first always does."""

    def __init__(self, max_bytes: int) -> None:
        self.entries: list[Entry] = []
        self._max_bytes = max_bytes
        self._size_bytes = _BATCH_OVERHEAD_BYTES
        self._is_full = False

    def append(
        self,
        *,
        timestamp: int | None,
        key: bytes | None,
        value: bytes | None,
        headers: list[Header] | None = None,
    ) -> int | None:
        """The size of the batch in bytes, or None when it is full and the record was not taken.

        Raises `TypeError` for what aiokafka cannot encode; headers must be a list.
        """
        if not all(part is None or isinstance(part, bytes) for part in (key, value)):
            raise TypeError("Key and value are bytes or None.")
        if not isinstance(headers, list | None):
            raise TypeError("Headers are a list of (str, bytes).")
        needed_bytes = _RECORD_OVERHEAD_BYTES + len(key or b"") + len(value or b"")
        for name, content in headers or ():
            needed_bytes += _HEADER_OVERHEAD_BYTES + len(name.encode()) + len(content or b"")
        is_too_much = self._size_bytes + needed_bytes > self._max_bytes
        self._is_full = self._is_full or (is_too_much and bool(self.entries))
        if self._is_full:
            return None
        self.entries.append((timestamp, key, value, tuple(headers or ())))
        self._size_bytes += needed_bytes
        return self._size_bytes

    def record_count(self) -> int:
        """How many records were taken."""
        return len(self.entries)


class MemoryProducer:
    """Writes batches; each is answered by a future of `RecordMetadata`."""

    def __init__(self, log: "MemoryLog", max_batch_bytes: int) -> None:
        self._log = log
        self._max_batch_bytes = max_batch_bytes
        self._is_running = False

    async def start(self) -> None:
        """Opens the producer."""
        await self._log.clock.sleep(0)
        self._is_running = True

    async def stop(self) -> None:
        """Ends at once; held answers may come, to nobody."""
        self._is_running = False
        await self._log.clock.sleep(0)

    def create_batch(self) -> MemoryBatch:
        """An empty batch."""
        return MemoryBatch(self._max_batch_bytes)

    async def send_batch(
        self, batch: MemoryBatch, topic: str, *, partition: int
    ) -> asyncio.Future[RecordMetadata]:
        """Queues the batch; the future names the offset of its first record, or fails."""
        await self._log.clock.sleep(0)
        if not self._is_running:
            raise ProducerClosed
        return self._log.write(TopicPartition(topic, partition), batch.entries)
