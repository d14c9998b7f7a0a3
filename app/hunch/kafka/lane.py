"""A lane: one owned partition in one process, from its takeover to the first error.

    takeover   open the way out → ask for the committed offsets → check them against the log →
               rebuild the state → read on from there
    work       records wait in the inbox; the stage turns them into chunks (outputs, and the offsets
               they stand for); chunks wait in the outbox; what is there goes out in one delivery
    close      any error in a delivery leaves its outcome unknown: the lane closes, and nothing is
               ever sent again from memory; whoever owns the partition takes over

State and positions move only where a chunk is made, so a commit says what its outputs say.
"""

import asyncio
import contextlib
import math
import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hunch.core.progress import Look
from hunch.errors import ConfigError, LaneClosed
from hunch.kafka.client import OffsetAndMetadata, TopicPartition
from hunch.kafka.codec import Outgoing
from hunch.kafka.delivery import AtLeastOnce, Delivery, Offsets, Transactional
from hunch.kafka.harbour import Harbour
from hunch.kafka.log_checks import LogChecks
from hunch.telemetry import Told, log_event
from hunch.telemetry.names import GaugeName

MOST_BATCHES = 50
"""Of one delivery to one partition: where they must be small, it has fewer records."""
MOST_ANSWERS = 5
"""Of a broker that is asked for committed offsets, each further on than the last."""
T = TypeVar("T")


@dataclass(slots=True)
class Chunk:
    """Outputs, the offsets they stand for, and what is to be heard of them afterwards."""

    outputs: dict[tuple[str, int], list[Outgoing]]
    offsets: Offsets
    done: list[int] = field(default_factory=list)
    told: Told = field(default_factory=Told)
    answered_bytes: int = 0

    @property
    def size(self) -> int:
        """How many records are to be written."""
        return sum(map(len, self.outputs.values()))

    @property
    def is_urgent(self) -> bool:
        """Whether a deadline is due: it waits for nothing else."""
        return bool(self.told.due)

    def extend(self, later: "Chunk") -> None:
        """Adds a chunk that was made after this one."""
        for where, records in later.outputs.items():
            self.outputs.setdefault(where, []).extend(records)
        self.offsets.update(later.offsets)
        self.done.extend(later.done)
        self.answered_bytes += later.answered_bytes
        self.told.extend(later.told)


class Lane(ABC):
    """One owned partition in one process; a stage says what is read, rebuilt and made of it."""

    stage: str

    def __init__(self, harbour: Harbour, partition: int, term: int) -> None:
        self.harbour = harbour
        self.partition = partition
        self.term = term
        self.owner_mark = random.getrandbits(32)
        self.is_draining = False
        self.inbox: dict[TopicPartition, deque[Any]] = {}
        self.seen: dict[TopicPartition, int] = {}
        self.delivered = 0
        self.wake = asyncio.Event()
        self._outbox: Chunk | None = None
        self._outbox_changed = asyncio.Event()
        self._is_full = False
        self._broken: str | None = None
        self._has_worked = False
        self._is_delivering = False
        self.is_in_transaction = False
        """What came of it is not known where the lane ends in one."""
        self._begun_ms = -math.inf
        self._delivery = self._way_out()
        self._log_checks = LogChecks(self.stage, harbour.member.group, harbour.metrics)

    @abstractmethod
    def inputs(self) -> list[TopicPartition]:
        """The partitions that this lane reads."""

    @abstractmethod
    async def rebuild(
        self,
        committed: Mapping[TopicPartition, OffsetAndMetadata],
        first: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
    ) -> dict[TopicPartition, int]:
        """Rebuilds the state from the commit and the log; the offsets to read on from.

        `committed` holds, for each input, the committed offset moved up to the log's start (-1
        where nothing was ever committed); `first` and `ends` are the bounds of each input's log.
        """

    @abstractmethod
    async def work(self) -> None:
        """Turns what is in the inbox into chunks, until draining."""

    def acknowledged(  # noqa: B027 - only some lanes want to hear of it
        self, chunk: Chunk, ends: Mapping[tuple[str, int], int]
    ) -> None:
        """A chunk is in the log; `ends` says where its last record ends, by topic partition."""

    # -- the reader's side

    def feed(self, partition: TopicPartition, records: list[Any]) -> None:
        """Takes records into the inbox."""
        self.inbox[partition].extend(records)
        self._is_full = self.waiting > self.harbour.policy.max_inbox_records
        self.wake.set()

    def passed(self, partition: TopicPartition, position: int) -> None:
        """Everything below `position` was fed or cannot be read."""
        self.seen[partition] = position
        self.wake.set()

    def is_full(self, partition: TopicPartition) -> bool:
        """Whether reading pauses: from the inbox's bound until a fifth of it is left."""
        del partition
        if self._is_full and self.waiting <= self.harbour.policy.max_inbox_records // 5:
            self._is_full = False
        return self._is_full

    def broken(self, reason: str) -> None:
        """Reading failed: closes the lane at the next step."""
        self._broken = reason
        self.wake.set()
        self._outbox_changed.set()

    @property
    def max_delivery_messages(self) -> int:
        """The most records in one delivery, as things stand."""
        most = self.harbour.policy.max_delivery_messages
        return min(most, MOST_BATCHES * self._delivery.max_batch_records)

    @property
    def waiting(self) -> int:
        """Records in the inbox."""
        return sum(map(len, self.inbox.values()))

    # -- who looks at it from outside

    def is_busy(self, now_ms: float) -> bool:
        """Whether it has work that is not done."""
        del now_ms
        return bool(self.waiting) or self._outbox is not None or self._is_delivering

    def look(self, now_ms: float) -> Look:
        """How it gets on."""
        read = self.harbour.reader.positions(self)
        return Look(
            is_waiting=self.is_busy(now_ms),
            read={f"{tp.topic}-{tp.partition}": at for tp, at in read.items()},
            life=self.owner_mark,
            delivered=self.delivered,
        )

    def oldest_ms(self, now_ms: float) -> float | None:
        """Since when the oldest work that is not done has been there, in epoch ms."""
        del now_ms
        fronts = [queue[0].timestamp for queue in self.inbox.values() if queue]
        return min((at_ms for at_ms in fronts if at_ms >= 0), default=None)

    def held(self) -> Mapping[GaugeName, int]:
        """What is held beside the inbox, by metric."""
        return {}

    def skew_ms(self, now_ms: float) -> float | None:
        """This clock minus that of whoever wrote the input, as far as it can be told."""
        del now_ms
        return None

    # -- life

    async def run(self) -> None:
        """Takes over and works until drained; raises what closed the lane."""
        harbour = self.harbour
        try:
            await self._take_over()
            async with asyncio.TaskGroup() as group:
                deliveries = group.create_task(self._deliver_all())
                await self.work()
                self._has_worked = True
                self._outbox_changed.set()
                await deliveries
        except BaseExceptionGroup as group_error:
            raise group_error.exceptions[0] from group_error
        finally:
            harbour.reader.close(self)
            with contextlib.suppress(TimeoutError):
                await harbour.clock.wait_for(self._delivery.close(), 10_000)

    def limit_batches(self, max_records: int | None) -> None:
        """Writes smaller batches: the broker has refused larger ones."""
        if max_records is not None:
            self._delivery.max_batch_records = max_records

    def drain(self) -> None:
        """Reads no more; what is in hand is finished."""
        self.is_draining = True
        self.harbour.reader.close(self)
        self.wake.set()

    async def hand_over(self, chunk: Chunk) -> None:
        """Puts a chunk into the outbox; waits while the outbox is full."""
        self.check()
        while self._outbox is not None and (
            self._outbox.size + chunk.size > self.max_delivery_messages
            or self._outbox.answered_bytes > self.harbour.policy.max_delivery_bytes
        ):
            self._outbox_changed.clear()
            await self._outbox_changed.wait()
            self.check()
        self.put(chunk)

    def put(self, chunk: Chunk) -> None:
        """Puts a chunk into the outbox at once; the caller sees to it that it stays bounded."""
        if self._outbox is None:
            self._outbox = chunk
        else:
            self._outbox.extend(chunk)
        self._outbox_changed.set()

    def check(self) -> None:
        """Raises `LaneClosed` when this lane must not go on."""
        if self._broken is not None:
            raise LaneClosed(self._broken)
        if self.harbour.member.is_frozen():
            msg = "this process stood still for longer than its session"
            raise LaneClosed(msg)

    def note(self, offsets: Offsets) -> None:
        """Offsets that may be committed."""
        if offsets:
            self.harbour.member.note(self.partition, self.term, offsets)

    def _way_out(self) -> Delivery:
        client, clock, policy = self.harbour.client, self.harbour.clock, self.harbour.policy
        if not policy.is_exactly_once:
            return AtLeastOnce(
                client.producer(), self.note, clock=clock, timeout_ms=policy.delivery_timeout_ms
            )
        member, timeout_ms = self.harbour.member, policy.transaction_timeout_ms
        name = f"{member.group}.{member.topic}.{self.partition}"
        return Transactional(
            client.producer(name, int(timeout_ms)),
            member.group,
            clock=clock,
            open_timeout_ms=policy.delivery_timeout_ms,
            timeout_ms=timeout_ms,
        )

    async def in_time(self, step: Coroutine[Any, Any, T]) -> T:
        """One step of a takeover, within its time-out."""
        harbour = self.harbour
        return await harbour.clock.wait_for(step, harbour.policy.takeover_timeout_ms)

    def note_foreign(self, offset: int) -> None:
        """A committed offset is not Hunch's own: an operator's tool or an auto-commit wrote it."""
        self.harbour.metrics.count("foreign_records", stage=self.stage)
        log_event("commit_foreign", stage=self.stage, partition=self.partition, offset=offset)

    async def _take_over(self) -> None:
        harbour, began_ms = self.harbour, self.harbour.clock.now_ms()
        inputs = self.inputs()
        self.inbox = {tp: deque() for tp in inputs}
        await self._delivery.open()
        start = await self._rebuilt(inputs)
        self.seen = dict(start)
        harbour.reader.open(self, start)
        harbour.metrics.count("takeovers", stage=self.stage)
        log_event(
            "lane_opened",
            stage=self.stage,
            partition=self.partition,
            start={tp.topic: at for tp, at in start.items()},
            took_ms=round(harbour.clock.now_ms() - began_ms, 1),
        )

    async def _rebuilt(self, inputs: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Where to read on, with the state that belongs there.

        A broker that has just started may answer with what it has loaded by then, and all behind it
        would be read once more, for minutes. After the fence nobody else commits: an answer that
        has moved on meanwhile is the better one, and by an old one nothing is refused or counted.
        """
        harbour, checks, refused = self.harbour, self._log_checks, None
        committed = await self._committed_offsets(inputs)
        for _ in range(MOST_ANSWERS):
            first, ends = await self.in_time(harbour.reader.log_ends(inputs))
            try:
                start = await self.rebuild(checks.committed(committed, first, ends), first, ends)
            except ConfigError as error:
                start, refused = {}, error
            earlier = committed
            if harbour.policy.is_exactly_once:
                committed = await self._committed_offsets(inputs)
            if all(committed[tp].offset <= at.offset for tp, at in earlier.items()):
                if refused is not None:
                    raise refused
                return checks.started(start, earlier, first)
            refused = None
        raise LaneClosed("its committed offsets move, though nobody else may commit them")

    async def _committed_offsets(
        self, inputs: list[TopicPartition]
    ) -> Mapping[TopicPartition, OffsetAndMetadata]:
        return await self.in_time(self.harbour.client.committed(self.harbour.member.group, inputs))

    async def _deliver_all(self) -> None:
        while True:
            while self._outbox is None:
                if self._has_worked:
                    return
                self._outbox_changed.clear()
                await self._outbox_changed.wait()
            await self._wait_for_company()
            self.check()
            chunk, self._outbox = self._outbox, None
            self._outbox_changed.set()
            await self._deliver(chunk)

    async def _wait_for_company(self) -> None:
        """Lets a transaction fill for its interval: more of them cost all of them more."""
        policy, clock = self.harbour.policy, self.harbour.clock
        if not policy.is_exactly_once:
            return
        while self._outbox is not None and not self.is_draining and not self._outbox.is_urgent:
            left_ms = self._begun_ms + policy.commit_interval_ms - clock.now_ms()
            if left_ms <= 0 or self._outbox.size >= self.max_delivery_messages // 2:
                return
            self._outbox_changed.clear()
            with contextlib.suppress(TimeoutError):
                await clock.wait_for(self._outbox_changed.wait(), left_ms)

    async def _deliver(self, chunk: Chunk) -> None:
        clock, metrics = self.harbour.clock, self.harbour.metrics
        began_ms, self._is_delivering = clock.now_ms(), True
        self._begun_ms, self.is_in_transaction = began_ms, self.harbour.policy.is_exactly_once
        ends = await self._delivery.deliver(chunk.outputs, chunk.offsets)
        self.is_in_transaction = False
        now_ms = clock.now_ms()
        if chunk.outputs:
            metrics.observe("delivery_seconds", [(now_ms - began_ms) / 1000], stage=self.stage)
        chunk.told.tell(metrics, self.harbour.tracer, self.stage, now_ms)
        self.acknowledged(chunk, ends)
        self.delivered, self._is_delivering = self.delivered + 1, False
