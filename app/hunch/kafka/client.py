"""What a lane asks of a broker, as protocols; method names and meanings are aiokafka's.

`hunch.kafka.aio.KafkaClient` answers them over the network, `hunch.testing.MemoryLog` in memory;
one contract suite (`tests/contract`) holds both to the same behaviour.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from aiokafka.structs import OffsetAndMetadata, RecordMetadata, TopicPartition

Header = tuple[str, bytes]
Isolation = str
"""`read_committed` or `read_uncommitted`."""


class Record(Protocol):
    """A record that was read (aiokafka's `ConsumerRecord`)."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[Header]


class Consumer(Protocol):
    """Reads partitions that it was told to read; belongs to no group."""

    async def start(self) -> None:
        """Connects."""

    async def stop(self) -> None:
        """Disconnects."""

    def assign(self, partitions: list[TopicPartition]) -> None:
        """Reads these from now on; forgets every position."""

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Reads from this offset next."""

    def pause(self, *partitions: TopicPartition) -> None:
        """Reads nothing from these."""

    def resume(self, *partitions: TopicPartition) -> None:
        """Reads these again, from where it paused."""

    def paused(self) -> set[TopicPartition]:
        """What is paused now."""

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[Any]]:
        """Records by partition, or an empty mapping once `timeout_ms` have passed.

        Raises `aiokafka.errors.OffsetOutOfRangeError` for a position outside the log.
        """

    async def position(self, partition: TopicPartition) -> int:
        """The next offset that would be read; passes markers and aborted records."""

    async def beginning_offsets(
        self, partitions: list[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """The first offset that each log still holds."""

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        """The end that a reader of this isolation can reach in each log."""


class Batch(Protocol):
    """Records for one partition, encoded as they are appended."""

    def append(
        self,
        *,
        timestamp: int | None,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[Header] = (),
    ) -> object | None:
        """None when the batch is full and the record was not taken (the first always is)."""

    def record_count(self) -> int:
        """How many records were taken."""


class Producer(Protocol):
    """Writes whole batches to partitions that it is told."""

    async def start(self) -> None:
        """Connects, and gets its producer id.

        With a transactional id this is the fence: whoever had the id before can write no more
        (`ProducerFenced`), and what it had open is settled when this returns.
        """

    async def stop(self) -> None:
        """Ends at once; what was not acknowledged by now may or may not be in the log."""

    def create_batch(self) -> Any:
        """An empty `Batch`."""

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> Any:
        """Queues the batch; the answer is a future of `RecordMetadata` (offset of the first)."""

    async def begin_transaction(self) -> None:
        """What is sent from now on becomes visible with the commit, all of it or nothing."""

    async def send_offsets_to_transaction(
        self, offsets: Mapping[TopicPartition, OffsetAndMetadata], group_id: str
    ) -> None:
        """Has these offsets of a group committed with the transaction."""

    async def commit_transaction(self) -> None:
        """Ends it; an error leaves the outcome unknown.

        It succeeds although a batch has failed: every `send_batch` must have been awaited.
        """

    async def abort_transaction(self) -> None:
        """Ends it without effect."""


class Client(Protocol):
    """A broker: makes readers and writers, and knows what groups have committed."""

    def consumer(self, isolation: Isolation) -> Consumer:
        """A reader, not yet started."""

    def producer(
        self, transactional_id: str | None = None, transaction_timeout_ms: int = 5_000
    ) -> Producer:
        """A writer that waits for all replicas, not yet started.

        With an id it writes in transactions only; one open for longer than the time-out is ended
        by the broker, and its writer fenced.
        """

    async def committed(
        self, group: str, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        """Committed offsets with metadata, each asked for explicitly; offset -1 means none.

        Raises `BrokerError` when a partition stays missing in the answer.
        """

    async def close(self) -> None:
        """Closes what the client itself has opened."""


class GroupConsumer(Protocol):
    """The consumer inside a group, of which Hunch uses only the seat and the commits."""

    async def commit(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        """Raises aiokafka's errors when the seat was lost."""

    def pause(self, *partitions: TopicPartition) -> None:
        """Reads nothing from these."""

    def member_id(self) -> str:
        """The name of this seat in its group; another one after the seat was lost."""


__all__ = [
    "Batch",
    "Client",
    "Consumer",
    "GroupConsumer",
    "Header",
    "Isolation",
    "OffsetAndMetadata",
    "Producer",
    "Record",
    "RecordMetadata",
    "TopicPartition",
]
