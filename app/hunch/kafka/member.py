"""A seat in a consumer group: says which partitions this process owns, reads nothing, and commits.

The seat is a consumer that pauses everything it is given (FastStream's subscriber, or the in-memory
log's). Its callbacks only take notes; lanes are opened and closed elsewhere. A *term* is one
uninterrupted ownership of a partition: what a lane of an older term wants to commit is dropped.
"""

import asyncio
import contextlib
import itertools
import math
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from aiokafka import ConsumerRebalanceListener
from aiokafka.errors import KafkaError

from hunch.clock import Clock
from hunch.kafka.client import GroupConsumer, OffsetAndMetadata, TopicPartition
from hunch.telemetry import Metrics, log_event

COMMIT_TIMEOUT_MS = 5_000
BEATS_TO_KNOW = 2.2


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberPolicy:
    """How a seat is kept.

    Attributes:
        session_timeout_ms: without a heartbeat for so long, the seat is lost.
        heartbeat_interval_ms: how often the group hears from this process.
        commit_interval_ms: how often noted offsets are committed.
    """

    session_timeout_ms: float = 6_000
    heartbeat_interval_ms: float = 500
    commit_interval_ms: float = 100

    @property
    def know_ms(self) -> float:
        """After so long without a rebalance, what the member owns is its own."""
        return BEATS_TO_KNOW * self.heartbeat_interval_ms


class Member(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is untyped
    """One stage's seat in its group."""

    def __init__(
        self,
        *,
        stage: str,
        group: str,
        topic: str,
        policy: MemberPolicy,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self.stage = stage
        self.group = group
        self.topic = topic
        self.policy = policy
        self.terms: dict[int, int] = {}
        self.changed = asyncio.Event()
        self._is_rebalancing = True
        self._doubtful_until_ms = -math.inf
        self._clock = clock
        self._metrics = metrics
        self._term_numbers = itertools.count(1)
        self._seat: Callable[[], GroupConsumer | None] = lambda: None
        self._leave: Callable[[], Awaitable[None]] | None = None
        self._member_id: str | None = None
        self._noted: dict[int, dict[TopicPartition, OffsetAndMetadata]] = {}
        self._beat_ms = clock.now_ms()

    def attach(
        self,
        seat: Callable[[], GroupConsumer | None],
        leave: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Says where the consumer inside the group is found (it may not have started yet)."""
        self._seat, self._leave = seat, leave

    async def leave(self, timeout_ms: float) -> None:
        """Gives the seat up, so that others take the partitions over at once."""
        if self._leave is not None:
            with contextlib.suppress(KafkaError, TimeoutError):
                await self._clock.wait_for(self._leave(), timeout_ms)

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """A rebalance begins; lanes go on until the outcome is known."""
        del revoked
        self._is_rebalancing = True
        self.changed.set()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """A rebalance has ended: these partitions are owned, and no others.

        A partition stays in its term unless the seat was lost in between: then somebody else may
        have had it.
        """
        seat = self._seat()
        if seat is not None and assigned:
            seat.pause(*assigned)
        member_id = None if seat is None else seat.member_id()
        kept = self.terms if self._member_id in {None, member_id} else {}
        self._member_id = member_id
        owned = {partition.partition for partition in assigned}
        self.terms = {p: kept.get(p) or next(self._term_numbers) for p in sorted(owned)}
        self._noted = {p: offsets for p, offsets in self._noted.items() if p in kept and p in owned}
        self._is_rebalancing, self._doubtful_until_ms = False, -math.inf
        self.changed.set()
        log_event("assigned", group=self.group, partitions=sorted(owned))

    @property
    def is_settled(self) -> bool:
        """Whether it is known what is owned: no rebalance is under way, or may be unheard of."""
        is_doubtful = self.is_frozen() or self._clock.now_ms() < self._doubtful_until_ms
        return not self._is_rebalancing and not is_doubtful

    def is_frozen(self) -> bool:
        """Whether this process stood still for a session time-out: its seat is lost by now."""
        return self._clock.now_ms() - self._beat_ms > self.policy.session_timeout_ms

    def note(
        self, partition: int, term: int, offsets: dict[TopicPartition, OffsetAndMetadata]
    ) -> None:
        """Offsets of work that is done, to be committed with the next beat of the clock."""
        if self.terms.get(partition) == term:
            self._noted.setdefault(partition, {}).update(offsets)

    async def run(self) -> None:
        """Commits by the clock, beside the work; notices when the process stood still.

        However long it took to come here, by models to warm or a broker to wait for, it did not.
        """
        self._beat_ms = self._clock.now_ms()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            group.create_task(self._commit_by_the_clock())

    async def _beat(self) -> None:
        while True:
            await self._clock.sleep(self.policy.heartbeat_interval_ms)
            if self.is_frozen():
                log_event("process_stood_still", group=self.group)
                self.terms = {p: next(self._term_numbers) for p in self.terms}
                self._noted.clear()
                self._doubtful_until_ms = self._clock.now_ms() + self.policy.know_ms
                self.changed.set()
            self._beat_ms = self._clock.now_ms()

    async def _commit_by_the_clock(self) -> None:
        while True:
            await self._clock.sleep(self.policy.commit_interval_ms)
            await self.commit()

    async def commit(self) -> None:
        """Commits what was noted; what is refused is kept and tried again while it is owned."""
        seat, noted = self._seat(), self._noted
        if not noted or seat is None or not self.is_settled:
            return
        self._noted, terms = {}, dict(self.terms)
        offsets = {tp: at for of_partition in noted.values() for tp, at in of_partition.items()}
        try:
            await self._clock.wait_for(seat.commit(offsets), COMMIT_TIMEOUT_MS)
        except (KafkaError, TimeoutError) as error:
            self._metrics.count("commits_failed", stage=self.stage)
            log_event("commit_failed", group=self.group, error=type(error).__name__)
            for partition, old in noted.items():
                if self.terms.get(partition) == terms.get(partition) is not None:
                    self._noted[partition] = old | self._noted.get(partition, {})
