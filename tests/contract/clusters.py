"""Three brokers under one face: in memory, embedded, and a real Kafka."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.structs import TopicPartition

from hunch.clock import Clock, SystemClock
from hunch.kafka.aio import GroupSeat, KafkaClient
from hunch.kafka.client import Client, GroupConsumer, Header
from hunch.kafka.embedded import SESSION_TIMEOUT_MS, EmbeddedBroker
from hunch.testing import ManualClock, MemoryLog

PATIENCE_MS = 20_000
MAX_BATCH_BYTES = 2_000


class Notes(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """A listener that remembers what it owns and all that it heard."""

    def __init__(self) -> None:
        self.owned: set[int] = set()
        self.heard: list[tuple[str, set[int]]] = []

    async def on_partitions_revoked(self, revoked) -> None:
        """Notes a revocation; `owned` stays until the outcome is known."""
        self.heard.append(("revoked", {name.partition for name in revoked}))

    async def on_partitions_assigned(self, assigned) -> None:
        """Notes an assignment."""
        self.owned = {name.partition for name in assigned}
        self.heard.append(("assigned", self.owned))


class Seat(GroupConsumer, Protocol):
    """A seat that can be left."""

    async def stop(self) -> None:
        """Leaves the group."""


@dataclass
class Cluster:
    """A broker, its client, and what only tests do to it; `cannot` says what it is unable to."""

    client: Client
    clock: Clock
    prefix: str
    cannot: dict[str, str] = field(default_factory=dict)
    numbers: Any = field(default_factory=itertools.count)

    def need(self, *abilities: str) -> None:
        """Skips the test, with the reason, where this broker cannot."""
        for ability in abilities:
            if ability in self.cannot:
                pytest.skip(self.cannot[ability])

    def fresh(self, kind: str) -> str:
        """A name that nothing else has."""
        return f"{self.prefix}{kind}{next(self.numbers)}"

    async def until(self, condition) -> None:
        """Waits on this cluster's clock until the condition holds."""
        until_ms = self.clock.now_ms() + PATIENCE_MS
        while not condition():
            assert self.clock.now_ms() < until_ms, "it did not come true in time"
            await self.clock.sleep(10)

    async def consumer(self, isolation: str = "read_committed"):
        """A started consumer without a group."""
        consumer = self.client.consumer(isolation)
        await consumer.start()
        return consumer

    async def write(self, topic: str, partition: int, *records) -> Any:
        """Writes (key, value, headers, timestamp) in one batch; gives its metadata."""
        producer = self.client.producer()
        await producer.start()
        try:
            batch = producer.create_batch()
            for key, value, headers, timestamp in records:
                taken = batch.append(timestamp=timestamp, key=key, value=value, headers=headers)
                assert taken is not None
            return await (await producer.send_batch(batch, topic, partition=partition))
        finally:
            await producer.stop()

    async def write_numbers(self, topic: str, partition: int, numbers: Sequence[int]) -> Any:
        """Writes one record a number, without key and headers."""
        return await self.write(topic, partition, *((None, b"%d" % n, [], None) for n in numbers))

    async def read(self, consumer, count: int) -> list[Any]:
        """The next `count` records, in the order in which they came."""
        found: list[Any] = []
        until_ms = self.clock.now_ms() + PATIENCE_MS
        while len(found) < count:
            assert self.clock.now_ms() < until_ms, f"only {len(found)} of {count} records came"
            for records in (await consumer.getmany(timeout_ms=100)).values():
                found.extend(records)
        assert len(found) == count
        return found

    @contextlib.asynccontextmanager
    async def transactional(self, name: str, timeout_ms: int = 20_000) -> AsyncIterator[Any]:
        """A started producer under a transactional id; ends in whatever state it is."""
        producer = self.client.producer(name, timeout_ms)
        await producer.start()
        try:
            yield producer
        finally:
            await producer.stop()

    @staticmethod
    async def send(producer, topic: str, numbers: Sequence[int], partition: int = 0) -> Any:
        """Sends one batch, a record a number; the answer has come."""
        batch = producer.create_batch()
        for number in numbers:
            batch.append(timestamp=None, key=None, value=b"%d" % number, headers=[])
        return await (await producer.send_batch(batch, topic, partition=partition))

    async def seen(self, topic: str, isolation: str = "read_committed") -> tuple[list[int], int]:
        """The numbers in partition 0 that a reader can reach, and its position after them."""
        name, consumer = TopicPartition(topic, 0), await self.consumer(isolation)
        consumer.assign([name])
        consumer.seek(name, 0)
        end = (await consumer.end_offsets([name]))[name]
        found: list[int] = []
        until_ms = self.clock.now_ms() + PATIENCE_MS
        while (position := await consumer.position(name)) < end:
            assert self.clock.now_ms() < until_ms, f"the position stays at {position} of {end}"
            for records in (await consumer.getmany(timeout_ms=50)).values():
                found += [int(record.value) for record in records]
        await consumer.stop()
        return found, position

    async def create_topic(self, partitions: int) -> str:
        """A fresh topic."""
        raise NotImplementedError

    async def refuse_batches(self, topic: str, *, is_refused: bool) -> None:
        """Lets the topic take no batch of more than some 100 bytes, or any again."""
        raise NotImplementedError

    async def join(self, group: str, topic: str, listener: Notes) -> Seat:
        """Takes a seat; returns once it was given its partitions."""
        raise NotImplementedError

    async def evict(self, seat: Any) -> None:
        """Takes a seat away behind its owner's back."""
        raise NotImplementedError

    async def truncate(self, name: TopicPartition, before: int) -> None:
        """Deletes the records below an offset."""
        raise NotImplementedError

    async def write_then_mark(self, topic: str, partition: int, value: bytes) -> None:
        """Writes one record and then one offset that nobody can read."""
        raise NotImplementedError

    async def close(self) -> None:
        """Ends what the test left open."""
        await self.client.close()


class MemoryCluster(Cluster):
    """The log in memory; its time runs as fast as the program comes to rest."""

    def __init__(self, prefix: str) -> None:
        clock = ManualClock()
        self.log = MemoryLog(clock, max_batch_bytes=MAX_BATCH_BYTES)
        super().__init__(self.log, clock, prefix)
        self._driver = asyncio.create_task(self._drive(clock))

    @staticmethod
    async def _drive(clock: ManualClock) -> None:
        while True:
            await clock.advance(10)

    async def create_topic(self, partitions: int) -> str:
        """A fresh topic."""
        name = self.fresh("topic")
        self.log.create_topic(name, partitions)
        return name

    async def refuse_batches(self, topic: str, *, is_refused: bool) -> None:
        """Refuses the next batch of the topic."""
        if is_refused:
            self.log.fail_next("produce", MessageSizeTooLargeError(), topic)

    async def join(self, group: str, topic: str, listener: Notes) -> Seat:
        """Takes a seat; returns once it was given its partitions."""
        return await self.log.join(group, topic, listener)

    async def evict(self, seat: Any) -> None:
        """Forgets the seat, as the broker does when a session ends."""
        await self.log.evict(seat)

    async def truncate(self, name: TopicPartition, before: int) -> None:
        """Deletes the records below an offset."""
        self.log.truncate(name, before)

    async def write_then_mark(self, topic: str, partition: int, value: bytes) -> None:
        """Writes one record and uses up one offset."""
        self.log.append(topic, partition, None, value)
        self.log.skip_offsets(TopicPartition(topic, partition), 1)

    async def close(self) -> None:
        """Ends what the test left open."""
        await super().close()
        self._driver.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._driver


class NetworkSeat(GroupSeat):
    """The seat of an aiokafka consumer that reads nothing."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        super().__init__(consumer)
        self.consumer = consumer

    async def stop(self) -> None:
        """Leaves the group."""
        await self.consumer.stop()


class NetworkCluster(Cluster):
    """A broker behind sockets."""

    def __init__(self, bootstrap: str, prefix: str, *, session_ms: int, **more: Any) -> None:
        clock = SystemClock()
        client = KafkaClient(
            bootstrap, clock, fetch_max_wait_ms=10, max_batch_bytes=MAX_BATCH_BYTES
        )
        super().__init__(client, clock, prefix, **more)
        self._bootstrap = bootstrap
        self._session_ms = session_ms
        self._seats: list[NetworkSeat] = []

    async def join(self, group: str, topic: str, listener: Notes) -> Seat:
        """Takes a seat; returns once it was given its partitions."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=self._session_ms,
            heartbeat_interval_ms=100,
            fetch_max_wait_ms=10,
            partition_assignment_strategy=(StickyPartitionAssignor,),
        )
        consumer.subscribe([topic], listener=listener)
        seat = NetworkSeat(consumer)
        self._seats.append(seat)
        await consumer.start()
        await self.until(lambda: listener.heard and listener.heard[-1][0] == "assigned")
        return seat

    async def evict(self, seat: Any) -> None:
        """Silences the consumer until its session has ended at the broker."""
        coordinator = seat.consumer._coordinator
        for task in (coordinator._coordination_task, coordinator._heartbeat_task):
            task.cancel()
        await asyncio.sleep(self._session_ms / 1000 * 1.5)

    async def close(self) -> None:
        """Ends what the test left open."""
        for seat in self._seats:
            with contextlib.suppress(KafkaError, asyncio.CancelledError):
                await seat.stop()
        await super().close()


class EmbeddedCluster(NetworkCluster):
    """librdkafka's mock cluster."""

    CANNOT: ClassVar = {
        "seats": "embedded broker: one member a group (two race in SyncGroup)",
        "truncate": "embedded broker: no DeleteRecords",
        "transactions": "embedded broker: transactions are a facade, nothing is fenced or hidden",
        "mark": "embedded broker: transactions are a facade, nothing takes an unreadable offset",
        "metadata limit": "embedded broker: takes commit metadata of any length",
    }

    def __init__(self, broker: EmbeddedBroker, prefix: str) -> None:
        super().__init__(
            broker.bootstrap, prefix, session_ms=SESSION_TIMEOUT_MS, cannot=self.CANNOT
        )
        self._broker = broker

    async def create_topic(self, partitions: int) -> str:
        """A fresh topic."""
        name = self.fresh("topic")
        self._broker.create_topic(name, partitions)
        return name


class KafkaCluster(NetworkCluster):
    """Apache Kafka."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        super().__init__(bootstrap, prefix, session_ms=1_000)

    async def create_topic(self, partitions: int) -> str:
        """A fresh topic."""
        name = self.fresh("topic")
        async with self._admin() as admin:
            await admin.create_topics([NewTopic(name, partitions, 1)])
        return name

    async def refuse_batches(self, topic: str, *, is_refused: bool) -> None:
        """Sets the topic's own bound of a batch."""
        most = {"max.message.bytes": "100" if is_refused else "1000000"}
        async with self._admin() as admin:
            await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, most)])
        await asyncio.sleep(0.5)  # the broker answers before it heeds

    async def truncate(self, name: TopicPartition, before: int) -> None:
        """Deletes the records below an offset."""
        async with self._admin() as admin:
            await admin.delete_records({name: RecordsToDelete(before_offset=before)})

    async def write_then_mark(self, topic: str, partition: int, value: bytes) -> None:
        """Commits a transaction of one record: its marker takes the second offset."""
        async with (
            AIOKafkaProducer(
                bootstrap_servers=self._bootstrap, transactional_id=self.fresh("writer")
            ) as producer,
            producer.transaction(),
        ):
            await producer.send(topic, value, partition=partition)

    @contextlib.asynccontextmanager
    async def _admin(self):
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()


HEADERS: list[Header] = [("hunch", b'{"v": 1}'), ("twice", b"1"), ("twice", b""), ("raw", b"\xff")]
