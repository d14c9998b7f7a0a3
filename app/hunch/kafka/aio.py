"""A broker over the network: aiokafka behind the protocols of `client`.

What aiokafka does that one would not guess, and what is done about it here:

* `committed()` drops the metadata, and the admin's answer is `{}` while a coordinator loads: each
  partition is asked for by name, and one missing in the answer is asked for again;
* `stop()` of a consumer that has just started raises `CancelledError` and leaks a task: `start()`
  waits one turn of the loop;
* offsets of a topic that a consumer has not heard of yet cost its retry back-off, 100 ms a topic:
  its metadata is waited for first;
* `stop()` of an idempotent producer sends what it still holds, and hangs while the broker is away:
  here it ends the sender, as whoever wants an answer has awaited it before;
* a failed batch or transaction is told to futures that nobody awaits, beside the answer;
* `stop()` of a consumer whose fetch has just failed raises `CancelledError` and closes no
  connection: such a fetch ends in silence;
* sending on a connection that uvloop has closed raises `RuntimeError`, where asyncio says nothing:
  to every client it is a broken connection.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, conn
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.consumer import consumer
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.errors import (
    CommitFailedError,
    KafkaConnectionError,
    KafkaError,
    ProducerClosed,
)
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from hunch.clock import Clock
from hunch.errors import BrokerError, BrokerUnreachable
from hunch.kafka.client import Isolation

MAX_BATCH_BYTES = 262_144
FETCH_BYTES = 1_048_576
"""What one fetch brings of a partition, at least one batch: the client's own default."""
STOP_MS = 3_000
ADMIN_TRIES = 20
ADMIN_PAUSE_MS = 200


class Connection(AIOKafkaConnection):  # type: ignore[misc]  # aiokafka is untyped
    """A connection that is broken once its transport is, whoever says so."""

    def send(self, request: Any, expect_response: bool = True) -> Any:
        """The answer to come; raises `KafkaConnectionError`."""
        try:
            return super().send(request, expect_response)
        except KafkaError:  # a RuntimeError, too
            raise
        except RuntimeError as error:
            self.close(reason=CloseReason.CONNECTION_BROKEN)
            raise KafkaConnectionError(f"The connection is broken: {error}") from error


class CalmFetcher(Fetcher):  # type: ignore[misc]  # aiokafka is untyped
    """A fetcher that can be closed while one of its fetches waits after an error."""

    async def _proc_fetch_request(self, assignment: Any, node_id: int, request: Any) -> bool:
        try:
            return bool(await super()._proc_fetch_request(assignment, node_id, request))
        except asyncio.CancelledError:
            return False


conn.AIOKafkaConnection = Connection
consumer.Fetcher = CalmFetcher


class SettledConsumer(AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka is untyped
    """A consumer that can be stopped at any time after its start, and knows offsets at once."""

    async def start(self) -> None:
        """Starts, and lets the fetcher's tasks begin: `stop()` right after would hit them cold."""
        await super().start()
        await asyncio.sleep(0)  # noqa: TID251 - a turn of the loop, not a wait

    async def stop(self) -> None:
        """Stops; aiokafka's own takes a cancellation of its caller for one of its tasks."""
        stopping = asyncio.ensure_future(super().stop())
        try:
            await asyncio.shield(stopping)
        except asyncio.CancelledError:
            await asyncio.wait({stopping}, timeout=STOP_MS / 1000)
            raise

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> Any:
        """The first offset that each log still holds."""
        await self._hear_of(partitions)
        return await super().beginning_offsets(partitions)

    async def end_offsets(self, partitions: list[TopicPartition]) -> Any:
        """The end that a reader of this isolation can reach in each log."""
        await self._hear_of(partitions)
        return await super().end_offsets(partitions)

    async def _hear_of(self, partitions: list[TopicPartition]) -> None:
        for topic in sorted({partition.topic for partition in partitions}):
            await self._client._wait_on_metadata(topic)  # noqa: SLF001


class StoppableProducer(AIOKafkaProducer):  # type: ignore[misc]  # aiokafka is untyped
    """An idempotent producer that can be stopped while its broker is away."""

    _closed: bool

    async def start(self) -> None:
        """Starts, and lets the sender's task begin, for the same reason."""
        try:
            await super().start()
        except AssertionError as error:  # aiokafka's word for a broker that knows of none yet
            raise KafkaConnectionError("the broker is still starting") from error
        await asyncio.sleep(0)  # noqa: TID251 - a turn of the loop, not a wait

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> Any:
        """Queues the batch; raises `ProducerClosed` after `stop()`."""
        if self._closed:
            raise ProducerClosed
        answer = await super().send_batch(batch, topic, partition=partition)
        batches = self._message_accumulator._batches  # noqa: SLF001
        if queued := batches.get(TopicPartition(topic, partition)):
            queued[-1]._drain_waiter.add_done_callback(_hear)  # noqa: SLF001
        return answer

    async def stop(self) -> None:
        """Ends at once: what was not acknowledged by now is not tried again."""
        if self._closed:
            return
        self._closed = True
        if (waiter := self._txn_manager._transaction_waiter) is not None:  # noqa: SLF001
            waiter.add_done_callback(_hear)
        for ending in (self._sender.close, self.client.close):
            with contextlib.suppress(KafkaError, TimeoutError):
                async with asyncio.timeout(STOP_MS / 1000):
                    await ending()


def _hear(told: asyncio.Future[Any]) -> None:
    """Takes note of an error that was told elsewhere: asyncio logs those that nobody hears."""
    if not told.cancelled():
        told.exception()


class KafkaClient:
    """Readers and writers for one broker address."""

    def __init__(
        self,
        bootstrap: str,
        clock: Clock,
        *,
        security: Mapping[str, Any] | None = None,
        fetch_max_wait_ms: int = 20,
        request_timeout_ms: int = 10_000,
        max_batch_bytes: int = MAX_BATCH_BYTES,
    ) -> None:
        self._clock = clock
        self._connection = {"bootstrap_servers": bootstrap, **(security or {})}
        self._fetch_max_wait_ms = fetch_max_wait_ms
        self._request_timeout_ms = request_timeout_ms
        self._max_batch_bytes = max_batch_bytes
        self._admin: AIOKafkaAdminClient | None = None
        self._admin_lock = asyncio.Lock()

    def consumer(self, isolation: Isolation, *, fetch_bytes: int = FETCH_BYTES) -> SettledConsumer:
        """A consumer without a group; it reads only where it was told to seek."""
        return SettledConsumer(
            **self._connection,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level=isolation,
            fetch_max_wait_ms=self._fetch_max_wait_ms,
            max_partition_fetch_bytes=fetch_bytes,
            request_timeout_ms=max(self._request_timeout_ms, self._fetch_max_wait_ms + 1_000),
        )

    def producer(
        self, transactional_id: str | None = None, transaction_timeout_ms: int = 5_000
    ) -> StoppableProducer:
        """An idempotent producer that waits for all replicas; a transactional one with an id."""
        return StoppableProducer(
            **self._connection,
            enable_idempotence=True,
            transactional_id=transactional_id,
            transaction_timeout_ms=transaction_timeout_ms,
            acks="all",
            max_batch_size=self._max_batch_bytes,
            request_timeout_ms=self._request_timeout_ms,
            retry_backoff_ms=50,
        )

    async def committed(
        self, group: str, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        """Committed offsets and metadata; raises `BrokerError` when they cannot be had."""
        problem = "the answer lacks a partition"
        for _ in range(ADMIN_TRIES):
            try:
                admin = await self._started_admin()
                found = await self._clock.wait_for(
                    admin.list_consumer_group_offsets(group, partitions=list(partitions)),
                    self._request_timeout_ms,
                )
                if all(partition in found for partition in partitions):
                    return {partition: found[partition] for partition in partitions}
            except (KafkaError, TimeoutError) as error:
                problem = f"{type(error).__name__} {error}".strip()
                await self._drop_admin()
            await self._clock.sleep(ADMIN_PAUSE_MS)
        msg = f"The committed offsets of group {group} cannot be had: {problem}."
        raise BrokerError(msg)

    async def close(self) -> None:
        """Closes what this client itself has opened."""
        await self._drop_admin()

    async def _started_admin(self) -> AIOKafkaAdminClient:
        async with self._admin_lock:
            if self._admin is None:
                admin = AIOKafkaAdminClient(
                    **self._connection, request_timeout_ms=self._request_timeout_ms
                )
                try:
                    await self._clock.wait_for(admin.start(), self._request_timeout_ms)
                except BaseException:
                    await admin.close()
                    raise
                self._admin = admin
            return self._admin

    async def _drop_admin(self) -> None:
        async with self._admin_lock:
            admin, self._admin = self._admin, None
        if admin is not None:
            with contextlib.suppress(KafkaError, TimeoutError):
                await self._clock.wait_for(admin.close(), STOP_MS)


class GroupSeat:
    """The consumer inside a group: pauses what it is given, and commits.

    `AIOKafkaConsumer.commit` refuses partitions of topics it did not subscribe to, which the broker
    itself does not; the joiner commits a pair while its member subscribes to one half.
    """

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def commit(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        """Commits as the current member of the group; raises `CommitFailedError` when it is not."""
        subscription = self._consumer._subscription.subscription  # noqa: SLF001
        if subscription is None or subscription.assignment is None:
            msg = "No partitions are assigned."
            raise CommitFailedError(msg)
        await self._consumer._coordinator.commit_offsets(  # noqa: SLF001
            subscription.assignment, dict(offsets)
        )

    def pause(self, *partitions: TopicPartition) -> None:
        """Reads nothing from these."""
        self._consumer.pause(*partitions)

    def member_id(self) -> str:
        """The name under which the group knows this seat; a lost seat comes back as another."""
        return str(self._consumer._coordinator.member_id)  # noqa: SLF001


async def wait_for_broker(
    bootstrap: str, clock: Clock, timeout_ms: float, *, security: Mapping[str, Any] | None = None
) -> None:
    """Returns once the broker answers; raises `BrokerUnreachable` when `timeout_ms` have passed."""
    until_ms = clock.now_ms() + timeout_ms
    while True:
        admin = AIOKafkaAdminClient(
            bootstrap_servers=bootstrap, request_timeout_ms=5_000, **(security or {})
        )
        try:
            await clock.wait_for(admin.start(), max(1.0, until_ms - clock.now_ms()))
        except (KafkaError, TimeoutError, OSError) as error:
            problem = error
        else:
            return
        finally:
            with contextlib.suppress(KafkaError, TimeoutError):
                await clock.wait_for(admin.close(), STOP_MS)
        if clock.now_ms() >= until_ms:
            msg = (
                f"No Kafka broker answers at {bootstrap} ({type(problem).__name__}); start one, "
                f"or set bootstrap in hunch.toml or HUNCH_BOOTSTRAP."
            )
            raise BrokerUnreachable(msg) from problem
        await clock.sleep(500)
