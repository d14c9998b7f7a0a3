"""A Kafka in memory: topics, readers, writers and groups, driven by a `ManualClock`.

Everything that happens is ordered by the event loop and the manual clock alone, so a test that
passes once passes always. Faults are asked for by name: see `fail_next`, `hold`, `truncate`,
`skip_offsets`, `rebalance`, `evict`, `hold_coordinator`, `latency_ms`.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Literal, TypeVar

from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError
from aiokafka.structs import OffsetAndMetadata, RecordMetadata, TopicPartition

from hunch.errors import BrokerError
from hunch.kafka.client import Header, Isolation
from hunch.testing.clock import ManualClock
from hunch.testing.consumer import MemoryConsumer
from hunch.testing.faults import Fault, Faults, Operation
from hunch.testing.group import Group, Listener, MemorySeat
from hunch.testing.partition import MemoryRecord, Partition
from hunch.testing.producer import Entry, MemoryProducer
from hunch.testing.transactions import Transactions

T = TypeVar("T")
Held = Literal["records", "acknowledgements"]

COMMITTED_MS = 4_000
"""How long `committed` asks a coordinator that does not answer."""
_CREATE_TIME = 0
"""Kafka's code for a timestamp that the producer has set."""
_COORDINATED: set[Operation] = {"commit", "committed", "fence", "txn_offsets", "end_txn"}


class MemoryLog:
    """A broker in memory; itself the `hunch.kafka.client.Client` of everyone who uses it.

    Args:
        clock: whose time stamps records and limits waits.
        max_batch_bytes: the bound of one batch.

    Attributes:
        latency_ms: how long a request and its answer take together. Over 0, a request is on its way
            for half of it, and arrives also when whoever sent it is gone by then.
        stop_ms: how long a consumer takes to stop.
        transactions: who may write under which transactional id, and what is open.
    """

    def __init__(self, clock: ManualClock, *, max_batch_bytes: int = 262_144) -> None:
        self.clock = clock
        self.latency_ms = self.stop_ms = 0.0
        self.transactions = Transactions(self)
        self._max_batch_bytes = max_batch_bytes
        self._topics: dict[str, list[Partition]] = {}
        self._groups: dict[str, Group] = {}
        self._faults = Faults()
        self._coordinates = asyncio.Event()
        self._coordinates.set()
        self._held_answers: dict[TopicPartition, list[_Answer]] = {}
        self._waiting: set[asyncio.Event] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def consumer(self, isolation: Isolation) -> MemoryConsumer:
        """A reader of what is committed, or of all that is written."""
        if isolation not in {"read_committed", "read_uncommitted"}:
            raise ValueError(f"There is no isolation {isolation!r}.")
        return MemoryConsumer(self, isolation)

    def producer(
        self, transactional_id: str | None = None, transaction_timeout_ms: int = 5_000
    ) -> MemoryProducer:
        """A writer; with an id, one that writes in transactions only."""
        return MemoryProducer(self, self._max_batch_bytes, transactional_id, transaction_timeout_ms)

    async def committed(
        self, group: str, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        """Committed offsets with metadata; offset -1 means none."""
        none = OffsetAndMetadata(-1, "")

        def found() -> dict[TopicPartition, OffsetAndMetadata]:
            known = self._groups[group].offsets if group in self._groups else {}
            return {name: known.get(name, none) for name in partitions}

        try:
            asked = self.ask("committed", partitions, found)
            return await self.clock.wait_for(asked, COMMITTED_MS + self.latency_ms)
        except TimeoutError as error:
            msg = f"The committed offsets of group {group} cannot be had."
            raise BrokerError(msg) from error

    async def close(self) -> None:
        """Closes nothing: the log outlives its clients."""

    def create_topic(self, name: str, partitions: int) -> None:
        """Makes an empty topic; raises `ValueError` when it is there already."""
        if name in self._topics:
            raise ValueError(f"Topic {name} is there already.")
        self._topics[name] = [Partition(TopicPartition(name, p)) for p in range(partitions)]

    def append(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[Header] = (),
        *,
        timestamp: int | None = None,
    ) -> MemoryRecord:
        """Puts a record at the end of a partition, past every fault; stamps it with now."""
        stamp = int(self.clock.now_ms()) if timestamp is None else timestamp
        record = self.partition(TopicPartition(topic, partition)).append(key, value, headers, stamp)
        self.wake()
        return record

    def records(self, topic: str, partition: int | None = None) -> list[MemoryRecord]:
        """The records of a partition, or of all partitions one after another; held ones too.

        Of transactions, those that a `read_committed` reader may see by now.
        """
        logs = self._topics[topic]
        chosen = logs if partition is None else [logs[partition]]
        return [record for log in chosen for record in log.committed()]

    async def join(self, group: str, topic: str, listener: Listener) -> MemorySeat:
        """Takes a seat in a group; returns when every seat has heard its partitions."""
        joined = self.group(group)
        joined.partitions = [log.name for log in self._topics[topic]]
        seat = MemorySeat(self, joined, listener)
        await self.rejoin(seat)
        return seat

    async def rejoin(self, seat: MemorySeat) -> None:
        """Brings a seat back into its group, as a process does that wakes up after `evict`."""
        seat.times_joined += 1
        seat.group.seats.append(seat)
        await seat.group.rebalance()

    async def evict(self, seat: MemorySeat) -> None:
        """Takes a seat away without telling its owner, as after a SIGSTOP past its session."""
        seat.group.seats.remove(seat)
        await seat.group.rebalance()

    async def rebalance(self, group: str) -> None:
        """Revokes and assigns every partition of a group, without anyone joining or leaving."""
        await self._groups[group].rebalance()

    def fail_next(
        self,
        operation: Operation,
        error: BaseException,
        topic: str | None = None,
        count: int = 1,
        *,
        is_applied: bool = False,
    ) -> None:
        """Makes the next `count` operations fail, on one topic or on any.

        `is_applied` lets them take effect and loses only the answer: the outcome is unknown.
        """
        fault = Fault(operation=operation, error=error, topic=topic, is_applied=is_applied)
        self._faults.add(fault, count)
        self.wake()

    def hold_coordinator(self) -> None:
        """Keeps commits, transactions and questions for offsets waiting, as one that loads does."""
        self._coordinates.clear()

    def release_coordinator(self) -> None:
        """Ends `hold_coordinator`: what still waits goes on, in order."""
        self._coordinates.set()
        self.wake()

    def hold(self, topic: str, partition: int, what: Held = "records") -> None:
        """Hides records appended from now on, or withholds the answers to batches written."""
        name = TopicPartition(topic, partition)
        log = self.partition(name)
        if what == "records":
            log.hold_end = log.visible_end("read_uncommitted")
        else:
            self._held_answers.setdefault(name, [])

    def release(self, topic: str, partition: int) -> None:
        """Ends both kinds of `hold`: shows the records, gives the answers in order."""
        name = TopicPartition(topic, partition)
        self.partition(name).hold_end = None
        for answer in self._held_answers.pop(name, []):
            answer.give()
        self.wake()

    def truncate(self, partition: TopicPartition, before: int) -> None:
        """Deletes all records below the offset `before`, as retention does."""
        self.partition(partition).truncate(before)
        self.wake()

    def skip_offsets(self, partition: TopicPartition, count: int) -> None:
        """Uses up offsets that nobody can read, as transaction markers do."""
        self.partition(partition).skip(count)
        self.wake()

    # What consumers, producers and seats ask of the log.

    def partition(self, name: TopicPartition) -> Partition:
        """One partition; raises `UnknownTopicOrPartitionError`."""
        logs: list[Partition] = self._topics.get(name.topic, [])
        if not 0 <= name.partition < len(logs):
            raise UnknownTopicOrPartitionError(f"{name.topic}-{name.partition}")
        index: int = name.partition
        return logs[index]

    def group(self, name: str) -> Group:
        """A group, made where there is none."""
        return self._groups.setdefault(name, Group())

    async def coordinator(self) -> None:
        """Returns while the coordinator answers; `hold_coordinator` keeps it waiting."""
        await self._coordinates.wait()

    async def ask(
        self, operation: Operation, names: Sequence[TopicPartition], apply: Callable[[], T]
    ) -> T:
        """One request: it is refused or applied, and answered."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self.latency_ms > 0.0:
            self.spawn(self._serve(operation, names, apply, answer))
        else:
            await self.clock.sleep(0)
            await self._serve(operation, names, apply, answer)
        return await answer

    def write(
        self, name: TopicPartition, entries: Sequence[Entry], writer: MemoryProducer
    ) -> asyncio.Future[RecordMetadata]:
        """Appends a batch and answers with the offset of its first record, or with a fault."""
        self.partition(name)
        answer: asyncio.Future[RecordMetadata] = asyncio.get_running_loop().create_future()
        if self.latency_ms > 0.0 or not self._coordinates.is_set():
            self.spawn(self._write_later(name, entries, writer, answer))
        else:
            self._write(name, entries, writer, answer)
        return answer

    def raise_fault(self, operation: Operation, *names: TopicPartition) -> None:
        """Raises what `fail_next` has asked for, once."""
        if (fault := self._faults.take(operation, names)) is not None:
            raise fault.error

    def wake(self) -> None:
        """Lets every waiting reader look again."""
        self.clock.touch()
        for event in self._waiting:
            event.set()

    async def wait_for_change(self, timeout_ms: float) -> None:
        """Returns after the next `wake`, or once `timeout_ms` have passed."""
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            await self.clock.wait_for(event.wait(), timeout_ms)
        except TimeoutError:
            return
        finally:
            self._waiting.discard(event)

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Does something that nobody waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(
        self,
        operation: Operation,
        names: Sequence[TopicPartition],
        apply: Callable[[], T],
        answer: asyncio.Future[T],
    ) -> None:
        if self.latency_ms > 0.0:
            await self.clock.sleep(self.latency_ms / 2)
        if operation in _COORDINATED:
            await self.coordinator()
        outcome: T | BaseException
        fault = self._faults.take(operation, names)
        try:
            outcome = apply() if fault is None or fault.is_applied else fault.error
        except Exception as error:  # noqa: BLE001 - the client's to hear, like any answer
            outcome = error
        if fault is not None:
            outcome = fault.error
        self.wake()
        if self.latency_ms > 0.0:
            await self.clock.sleep(self.latency_ms / 2)
        _Answer(answer, outcome).give()

    async def _write_later(
        self,
        name: TopicPartition,
        entries: Sequence[Entry],
        writer: MemoryProducer,
        answer: asyncio.Future[RecordMetadata],
    ) -> None:
        await self.clock.sleep(self.latency_ms / 2)
        if writer.needs_coordinator(name):
            await self.coordinator()
        self._write(name, entries, writer, answer)

    def _write(
        self,
        name: TopicPartition,
        entries: Sequence[Entry],
        writer: MemoryProducer,
        answer: asyncio.Future[RecordMetadata],
    ) -> None:
        log, fault = self.partition(name), self._faults.take("produce", (name,))
        outcome: RecordMetadata | BaseException
        try:
            writer.enter(log, len(entries), is_refused=fault is not None and not fault.is_applied)
        except KafkaError as error:
            outcome = error
        else:
            first = log.end
            if fault is None or fault.is_applied:
                for timestamp, key, value, headers in entries:
                    self.append(
                        name.topic, name.partition, key, value, headers, timestamp=timestamp
                    )
            outcome = RecordMetadata(
                name.topic, name.partition, name, first, None, _CREATE_TIME, log.start
            )
            outcome = outcome if fault is None else fault.error
        given = _Answer(answer, outcome)
        if name in self._held_answers:
            self._held_answers[name].append(given)
        elif self.latency_ms > 0.0:
            self.spawn(self._give_later(given))
        else:
            asyncio.get_running_loop().call_soon(given.give)
        self.wake()

    async def _give_later(self, given: "_Answer") -> None:
        await self.clock.sleep(self.latency_ms / 2)
        given.give()


class _Answer:
    """What a batch will be told."""

    def __init__(self, future: asyncio.Future[Any], outcome: Any) -> None:
        self._future = future
        self._outcome = outcome

    def give(self) -> None:
        if self._future.done():
            return
        if isinstance(self._outcome, BaseException):
            self._future.set_exception(self._outcome)
        else:
            self._future.set_result(self._outcome)
