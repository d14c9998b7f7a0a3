"""The writer of the in-memory log: aiokafka's idempotent producer, whole batches only.

With a transactional id it is its transactional one, whose habits are kept, good and bad: a commit
succeeds although a batch has failed; after a batch was refused, every later one to that partition
fails as out of order; once fenced or refused by the coordinator, the producer is of no more use.
"""

import asyncio
from collections.abc import Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING

from aiokafka.errors import (
    IllegalOperation,
    KafkaError,
    OffsetMetadataTooLargeError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    ProducerFenced,
)
from aiokafka.structs import OffsetAndMetadata, RecordMetadata, TopicPartition

from hunch.kafka.client import Header
from hunch.testing.faults import Operation
from hunch.testing.partition import Partition

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


class _State(Enum):
    """Where a transactional producer stands."""

    READY = "READY"
    OPEN = "IN_TRANSACTION"
    FAILED = "FATAL_ERROR"


class MemoryProducer:
    """Writes batches; each is answered by a future of `RecordMetadata`.

    Args:
        log: where it writes.
        max_batch_bytes: the bound of one batch.
        transactional_id: given, it writes in transactions only.
        transaction_timeout_ms: one that is open for longer is aborted, and its producer fenced.
    """

    def __init__(
        self,
        log: "MemoryLog",
        max_batch_bytes: int,
        transactional_id: str | None,
        transaction_timeout_ms: float,
    ) -> None:
        self._log = log
        self._max_batch_bytes = max_batch_bytes
        self._id = transactional_id
        self._timeout_ms = transaction_timeout_ms
        self._is_running = False
        self._state = _State.READY
        self._epoch = -1
        self._is_empty = True
        self._wedged: set[TopicPartition] = set()
        self._unanswered: list[asyncio.Future[RecordMetadata]] = []

    async def start(self) -> None:
        """Opens the producer; with an id, fences whoever had it and ends what that had open."""
        await self._log.clock.sleep(0)
        if (name := self._id) is not None:
            transactions = self._log.transactions
            self._epoch = await self._log.ask("fence", (), lambda: transactions.fence(name))
        self._is_running = True

    async def stop(self) -> None:
        """Ends at once; held answers may come, to nobody. What is open stays open."""
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
        if self._id is not None:
            self._need_transaction()
        answer = self._log.write(TopicPartition(topic, partition), batch.entries, self)
        self._unanswered = [*(future for future in self._unanswered if not future.done()), answer]
        return answer

    async def begin_transaction(self) -> None:
        """What is sent from now on counts with the commit; the log hears of it with the first."""
        self._need_id()
        self._leave(_State.READY)
        await self._log.clock.sleep(0)
        self._state, self._is_empty = _State.OPEN, True

    async def send_offsets_to_transaction(
        self, offsets: Mapping[TopicPartition, OffsetAndMetadata], group_id: str
    ) -> None:
        """Has the offsets committed with the transaction."""
        name = self._need_transaction()
        self._is_empty = False
        await self._coordinate(
            "txn_offsets", list(offsets), lambda: self._note(name, offsets, group_id)
        )

    async def commit_transaction(self) -> None:
        """Makes all of it count, whatever has become of its batches."""
        await self._end(is_committed=True)

    async def abort_transaction(self) -> None:
        """Makes nothing of it count."""
        await self._end(is_committed=False)

    # What the log asks when a batch arrives.

    def needs_coordinator(self, partition: TopicPartition) -> bool:
        """Whether the transaction has to be told of this partition first."""
        return self._id is not None and not self._log.transactions.is_written(self._id, partition)

    def enter(self, log: Partition, count: int, *, is_refused: bool) -> None:
        """A batch of so many records is to be appended; raises why it may not.

        A batch that is refused leaves a hole in the sequence numbers of its partition.
        """
        if log.name in self._wedged:
            raise OutOfOrderSequenceNumber
        if self._id is not None:
            is_new = self.needs_coordinator(log.name)
            try:
                transactions = self._log.transactions
                transaction = transactions.opened(self._id, self._epoch, self._timeout_ms)
            except ProducerFenced as error:
                if is_new:
                    self._fail(error)
                raise
            self._is_empty = False
            written = transaction.written.setdefault(log.name, [])
            if not is_refused:
                log.begin_transaction(transaction)
                written.extend(range(log.end, log.end + count))
        if is_refused:
            self._wedged.add(log.name)

    # -- inside

    def _need_id(self) -> str:
        if self._id is None:
            raise IllegalOperation("There is no transactional id.")
        return self._id

    def _need_transaction(self) -> str:
        if self._state is not _State.OPEN:
            raise IllegalOperation("There is no transaction.")
        return self._need_id()

    def _leave(self, state: _State) -> None:
        if self._state is not state:
            raise AssertionError(f"The producer stands at {self._state.value}.")

    async def _end(self, *, is_committed: bool) -> None:
        name = self._need_id()
        self._leave(_State.OPEN)
        for answer in self._unanswered:
            await asyncio.wait([answer])
        if self._is_empty:
            self._state = _State.READY
            return
        end = self._log.transactions.end
        partitions = self._log.transactions.partitions(name)
        await self._coordinate(
            "end_txn", partitions, lambda: end(name, self._epoch, is_committed=is_committed)
        )
        self._state = _State.READY

    async def _coordinate(
        self, operation: Operation, partitions: list[TopicPartition], apply: Callable[[], None]
    ) -> None:
        try:
            await self._log.ask(operation, partitions, apply)
        except KafkaError as error:
            self._fail(error)
            raise

    def _note(
        self, name: str, offsets: Mapping[TopicPartition, OffsetAndMetadata], group_id: str
    ) -> None:
        noted, refused = self._log.group(group_id).note(offsets)
        transaction = self._log.transactions.opened(name, self._epoch, self._timeout_ms)
        transaction.offsets.setdefault(group_id, {}).update(noted)
        if refused:
            msg = "Unexpected error during batch delivery"
            raise KafkaError(msg) from OffsetMetadataTooLargeError()

    def _fail(self, error: KafkaError) -> None:
        self._state = _State.FAILED
        for answer in self._unanswered:
            if not answer.done():
                answer.set_exception(error)
