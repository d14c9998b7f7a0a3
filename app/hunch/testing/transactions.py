"""Transactions of the in-memory log: who may write under an id, what is open, and how it ends.

As on a broker, a transaction opens with the first write or offset, not with the client's `begin`;
it ends by commit, by abort, by the fence of a successor, or once its time has passed, which fences
its own producer. Each end leaves one offset that nobody can read in every partition written.
"""

import asyncio
from typing import TYPE_CHECKING

from aiokafka.errors import InvalidTxnState, ProducerFenced
from aiokafka.structs import OffsetAndMetadata, TopicPartition

if TYPE_CHECKING:
    from hunch.testing.log import MemoryLog


class Transaction:
    """What one producer has done since it began; nothing of it counts yet.

    Attributes:
        written: the offsets of its records, by partition.
        offsets: what it commits for groups, each with the moment at which it was sent.
        ended: set once it is committed or aborted.
    """

    def __init__(self) -> None:
        self.written: dict[TopicPartition, list[int]] = {}
        self.offsets: dict[str, dict[TopicPartition, tuple[int, OffsetAndMetadata]]] = {}
        self.ended = asyncio.Event()

    def partitions(self) -> list[TopicPartition]:
        """Every partition that it concerns."""
        return [*self.written, *(name for noted in self.offsets.values() for name in noted)]


class Transactions:
    """The coordinator of all transactional ids."""

    def __init__(self, log: "MemoryLog") -> None:
        self._log = log
        self._epochs: dict[str, int] = {}
        self._open: dict[str, Transaction] = {}

    def fence(self, name: str) -> int:
        """Another producer starts under this id: its epoch; what was open is aborted."""
        self._epochs[name] = self._epochs.get(name, -1) + 1
        self._end(name, is_committed=False)
        return self._epochs[name]

    def check(self, name: str, epoch: int) -> None:
        """Raises `ProducerFenced` for whoever is not the latest under its id."""
        if self._epochs.get(name) != epoch:
            raise ProducerFenced

    def partitions(self, name: str) -> list[TopicPartition]:
        """The partitions of the open transaction."""
        return self._open[name].partitions() if name in self._open else []

    def is_written(self, name: str, partition: TopicPartition) -> bool:
        """Whether the open transaction has this partition already."""
        return name in self._open and partition in self._open[name].written

    def opened(self, name: str, epoch: int, timeout_ms: float) -> Transaction:
        """The open transaction of this producer, begun where there was none."""
        self.check(name, epoch)
        if name not in self._open:
            self._open[name] = Transaction()
            self._log.spawn(self._end_in_time(name, self._open[name], timeout_ms))
        return self._open[name]

    def end(self, name: str, epoch: int, *, is_committed: bool) -> None:
        """Commits or aborts; raises `ProducerFenced`, and `InvalidTxnState` with nothing open."""
        self.check(name, epoch)
        if name not in self._open:
            raise InvalidTxnState
        self._end(name, is_committed=is_committed)

    def _end(self, name: str, *, is_committed: bool) -> None:
        transaction = self._open.pop(name, None)
        if transaction is None:
            return
        for partition, offsets in transaction.written.items():
            log = self._log.partition(partition)
            log.end_transaction(transaction, [] if is_committed else offsets)
        if is_committed:
            for group, noted in transaction.offsets.items():
                self._log.group(group).commit(noted)
        transaction.ended.set()
        self._log.wake()

    async def _end_in_time(self, name: str, transaction: Transaction, timeout_ms: float) -> None:
        try:
            await self._log.clock.wait_for(transaction.ended.wait(), timeout_ms)
        except TimeoutError:
            await self._log.coordinator()
            if self._open.get(name) is transaction:
                self.fence(name)
