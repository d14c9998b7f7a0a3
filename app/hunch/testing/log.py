"""A Kafka in memory: topics, readers, writers and groups, driven by a `ManualClock`.

Everything that happens is ordered by the event loop and the manual clock alone, so a test that
passes once passes always. Faults are asked for by name: see `fail_next`, `hold`, `truncate`,
`skip_offsets`, `rebalance`, `evict`.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Literal

from aiokafka.errors import UnknownTopicOrPartitionError
from aiokafka.structs import OffsetAndMetadata, RecordMetadata, TopicPartition

from hunch.kafka.client import Header, Isolation
from hunch.testing.clock import ManualClock
from hunch.testing.consumer import MemoryConsumer
from hunch.testing.group import Group, Listener, MemorySeat
from hunch.testing.partition import MemoryRecord, Partition
from hunch.testing.producer import Entry, MemoryProducer

Operation = Literal["produce", "fetch", "ends", "commit", "committed"]
Held = Literal["records", "acknowledgements"]

_CREATE_TIME = 0
"""Kafka's code for a timestamp that the producer has set."""


class MemoryLog:
    """A broker in memory; itself the `hunch.kafka.client.Client` of everyone who uses it.

    Args:
        clock: whose time stamps records and limits waits.
        max_batch_bytes: the bound of one batch.
    """

    def __init__(self, clock: ManualClock, *, max_batch_bytes: int = 262_144) -> None:
        self.clock = clock
        self._max_batch_bytes = max_batch_bytes
        self._topics: dict[str, list[Partition]] = {}
        self._groups: dict[str, Group] = {}
        self._faults: list[tuple[Operation, BaseException, str | None]] = []
        self._held_answers: dict[TopicPartition, list[_Answer]] = {}
        self._waiting: set[asyncio.Event] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def consumer(self, isolation: Isolation) -> MemoryConsumer:
        """A reader; both isolations see the same, as nothing here is transactional."""
        if isolation not in {"read_committed", "read_uncommitted"}:
            raise ValueError(f"There is no isolation {isolation!r}.")
        return MemoryConsumer(self)

    def producer(self) -> MemoryProducer:
        """A writer."""
        return MemoryProducer(self, self._max_batch_bytes)

    async def committed(
        self, group: str, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        """Committed offsets with metadata; offset -1 means none."""
        await self.clock.sleep(0)
        self.raise_fault("committed", *partitions)
        known = self._groups[group].offsets if group in self._groups else {}
        return {name: known.get(name, OffsetAndMetadata(-1, "")) for name in partitions}

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
        """The records of a partition, or of all partitions one after another; held ones too."""
        logs = self._topics[topic]
        chosen = logs if partition is None else [logs[partition]]
        return [record for log in chosen for record in log.records]

    async def join(self, group: str, topic: str, listener: Listener) -> MemorySeat:
        """Takes a seat in a group; returns when every seat has heard its partitions."""
        joined = self._groups.setdefault(group, Group())
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
    ) -> None:
        """Makes the next `count` operations fail, on one topic or on any."""
        self._faults.extend([(operation, error, topic)] * count)
        self.wake()

    def hold(self, topic: str, partition: int, what: Held = "records") -> None:
        """Hides records appended from now on, or withholds the answers to batches written."""
        name = TopicPartition(topic, partition)
        log = self.partition(name)
        if what == "records":
            log.hold_end = log.visible_end
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

    def write(
        self, name: TopicPartition, entries: Sequence[Entry]
    ) -> asyncio.Future[RecordMetadata]:
        """Appends a batch and answers with the offset of its first record, or with a fault."""
        log = self.partition(name)
        answer: asyncio.Future[RecordMetadata] = asyncio.get_running_loop().create_future()
        if (error := self._fault("produce", (name,))) is not None:
            given = _Answer(answer, error)
        else:
            first = log.end
            for timestamp, key, value, headers in entries:
                self.append(
                    name.topic, name.partition, key, value, headers=headers, timestamp=timestamp
                )
            metadata = RecordMetadata(
                name.topic, name.partition, name, first, None, _CREATE_TIME, log.start
            )
            given = _Answer(answer, metadata)
        if name in self._held_answers:
            self._held_answers[name].append(given)
        else:
            asyncio.get_running_loop().call_soon(given.give)
        self.wake()
        return answer

    def raise_fault(self, operation: Operation, *names: TopicPartition) -> None:
        """Raises what `fail_next` has asked for, once."""
        if (error := self._fault(operation, names)) is not None:
            raise error

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

    def _fault(self, operation: Operation, names: Sequence[TopicPartition]) -> BaseException | None:
        topics = {name.topic for name in names}
        for index, (wanted, error, topic) in enumerate(self._faults):
            if wanted == operation and (topic is None or topic in topics):
                del self._faults[index]
                return error
        return None


class _Answer:
    """What a batch will be told."""

    def __init__(
        self, future: asyncio.Future[RecordMetadata], outcome: RecordMetadata | BaseException
    ) -> None:
        self._future = future
        self._outcome = outcome

    def give(self) -> None:
        if self._future.done():
            return
        if isinstance(self._outcome, BaseException):
            self._future.set_exception(self._outcome)
        else:
            self._future.set_result(self._outcome)
