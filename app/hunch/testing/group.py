"""Consumer groups of the in-memory log: seats, eager rebalances, sticky assignment, commits."""

import asyncio
import itertools
import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from aiokafka.errors import CommitFailedError, IllegalStateError, OffsetMetadataTooLargeError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from hunch.testing.log import MemoryLog

MAX_METADATA_CHARS = 4096
"""What Kafka's `offset.metadata.max.bytes` allows by default."""

Noted = dict[TopicPartition, tuple[int, OffsetAndMetadata]]
"""Offsets, each with its place in the order in which they arrived."""

_logger = logging.getLogger(__name__)


class Listener(Protocol):
    """Hears of the partitions of its seat; an exception in it is logged and changes nothing."""

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """A rebalance begins; `revoked` is all that the seat had."""

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """A rebalance has ended; the seat has these, and no others."""


class MemorySeat:
    """A consumer inside a group, of which only the seat and the commits exist.

    Attributes:
        owned: the partitions that its last assignment gave it.
        paused: those of them that were paused since.
        times_joined: how often it came into its group.
    """

    def __init__(self, log: "MemoryLog", group: "Group", listener: Listener) -> None:
        self.listener = listener
        self.group = group
        self.owned: set[TopicPartition] = set()
        self.paused: set[TopicPartition] = set()
        self.times_joined = 0
        self._log = log

    async def commit(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        """Commits offsets of any partitions; raises `CommitFailedError` once the seat is lost.

        Raises `OffsetMetadataTooLargeError` for longer metadata than Kafka takes, after the other
        partitions of the call were committed.
        """
        await self._log.ask("commit", list(offsets), lambda: self._commit(offsets))

    def pause(self, *partitions: TopicPartition) -> None:
        """Reads nothing from these; raises `IllegalStateError` for what is not assigned."""
        for partition in partitions:
            if partition not in self.owned:
                raise IllegalStateError(f"No current assignment for partition {partition}")
            self.paused.add(partition)

    def member_id(self) -> str:
        """The name of this seat; another one each time it joins."""
        return f"{id(self)}-{self.times_joined}"

    async def stop(self) -> None:
        """Leaves the group; the others hear of it in a rebalance that this does not wait for."""
        if self in self.group.seats:
            self.group.seats.remove(self)
            self._log.spawn(self.group.rebalance())
        await self._log.clock.sleep(0)

    def _commit(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        if self not in self.group.seats:
            raise CommitFailedError
        for name in offsets:
            self._log.partition(name)
        noted, refused = self.group.note(offsets)
        self.group.commit(noted)
        if refused:
            raise OffsetMetadataTooLargeError


class Group:
    """The seats and the committed offsets of one group."""

    def __init__(self, partitions: Iterable[TopicPartition] = ()) -> None:
        self.partitions = list(partitions)
        self.seats: list[MemorySeat] = []
        self.offsets: dict[TopicPartition, OffsetAndMetadata] = {}
        self._sent: dict[TopicPartition, int] = {}
        self._serial = itertools.count()
        self._one_at_a_time = asyncio.Lock()

    def note(
        self, offsets: Mapping[TopicPartition, OffsetAndMetadata]
    ) -> tuple[Noted, list[TopicPartition]]:
        """What arrives now, to be committed at once or with a transaction; and what is refused."""
        at = next(self._serial)
        refused = [tp for tp, found in offsets.items() if len(found.metadata) > MAX_METADATA_CHARS]
        return {tp: (at, found) for tp, found in offsets.items() if tp not in refused}, refused

    def commit(self, noted: Noted) -> None:
        """Makes it count, unless something has arrived later and counts already."""
        for name, (at, found) in noted.items():
            if at > self._sent.get(name, -1):
                self.offsets[name], self._sent[name] = found, at

    async def rebalance(self) -> None:
        """Revokes everything from every seat, then assigns everything; returns when all heard."""
        async with self._one_at_a_time:
            await _tell(seat.listener.on_partitions_revoked(set(seat.owned)) for seat in self.seats)
            plan = sticky(self.partitions, [seat.owned for seat in self.seats])
            for seat, owned in zip(self.seats, plan, strict=True):
                seat.owned, seat.paused = owned, set()
            await _tell(
                seat.listener.on_partitions_assigned(set(seat.owned)) for seat in self.seats
            )


def sticky(
    partitions: list[TopicPartition], owned: list[set[TopicPartition]]
) -> list[set[TopicPartition]]:
    """Splits the partitions evenly over the seats; each keeps as much as an even split allows.

    What two seats believe to own, as after one was lost and came back, stays with the earlier seat.
    """
    if not owned:
        return []
    share, extra = divmod(len(partitions), len(owned))
    by_size = sorted(range(len(owned)), key=lambda seat: -len(owned[seat]))
    quotas = {seat: share + (rank < extra) for rank, seat in enumerate(by_size)}
    plan: list[set[TopicPartition]] = []
    for seat, had in enumerate(owned):
        plan.append(set(sorted(had.difference(*plan))[: quotas[seat]]))
    free = [name for name in partitions if not any(name in kept for kept in plan)]
    for seat, kept in enumerate(plan):
        while len(kept) < quotas[seat]:
            kept.add(free.pop(0))
    return plan


async def _tell(calls: "Iterable[Coroutine[None, None, None]]") -> None:
    for problem in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(problem, Exception):
            _logger.error("A rebalance listener failed.", exc_info=problem)
