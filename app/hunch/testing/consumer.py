"""The reader of the in-memory log: aiokafka's consumer without a group."""

import asyncio
import contextlib
from typing import TYPE_CHECKING

from aiokafka.errors import (
    ConsumerStoppedError,
    IllegalStateError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from aiokafka.structs import TopicPartition

from hunch.kafka.client import Isolation
from hunch.testing.partition import MemoryRecord

if TYPE_CHECKING:
    from hunch.testing.log import MemoryLog


class MemoryConsumer:
    """Reads the partitions it is assigned, from where it was told to seek."""

    def __init__(self, log: "MemoryLog", isolation: Isolation) -> None:
        self._log = log
        self._isolation = isolation
        self._positions: dict[TopicPartition, int | None] = {}
        self._paused: set[TopicPartition] = set()
        self._is_running = False

    async def start(self) -> None:
        """Opens the consumer."""
        await self._log.clock.sleep(0)
        self._is_running = True

    async def stop(self) -> None:
        """Closes the consumer; a waiting `getmany` raises `ConsumerStoppedError`.

        A cancellation meanwhile is lost, as it is in aiokafka, which takes it for its own.
        """
        self._is_running = False
        self._log.wake()
        with contextlib.suppress(asyncio.CancelledError):
            await self._log.clock.sleep(self._log.stop_ms)

    def assign(self, partitions: list[TopicPartition]) -> None:
        """Reads these from now on; forgets every position and every pause."""
        self._positions = dict.fromkeys(partitions)
        self._paused = set()
        self._log.wake()

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Goes on at `offset`; raises `IllegalStateError` for what is not assigned."""
        self._check_assigned(partition)
        if offset < 0:
            raise ValueError("A position is 0 or more.")
        self._positions[partition] = offset
        self._log.wake()

    def pause(self, *partitions: TopicPartition) -> None:
        """Delivers nothing from these until `resume`."""
        for partition in partitions:
            self._check_assigned(partition)
            self._paused.add(partition)

    def resume(self, *partitions: TopicPartition) -> None:
        """Delivers from these again."""
        for partition in partitions:
            self._check_assigned(partition)
            self._paused.discard(partition)
        self._log.wake()

    def paused(self) -> set[TopicPartition]:
        """The partitions that are paused."""
        return set(self._paused)

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[MemoryRecord]]:
        """Records by partition; waits at most `timeout_ms` for the first.

        Raises `OffsetOutOfRangeError` for a position outside the log, `NoOffsetForPartitionError`
        for a partition without a position, `ConsumerStoppedError` once stopped.
        """
        if max_records is not None and max_records < 1:
            raise ValueError("`max_records` must be a positive integer.")
        clock = self._log.clock
        until_ms = clock.now_ms() + timeout_ms
        await clock.sleep(0)
        while True:
            if not self._is_running:
                raise ConsumerStoppedError
            # No await between taking and returning: a seek in between would be overtaken.
            found = self._take(partitions, max_records)
            left_ms = until_ms - clock.now_ms()
            if found or left_ms <= 0.0:
                return found
            await self._log.wait_for_change(left_ms)

    async def position(self, partition: TopicPartition) -> int:
        """The next offset that would be read; passes offsets that nobody can read."""
        self._check_assigned(partition)
        position = self._positions[partition]
        if position is None:
            raise NoOffsetForPartitionError(partition)
        return position

    async def beginning_offsets(
        self, partitions: list[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """The first readable offset of each partition."""
        await self._log.clock.sleep(0)
        return {name: self._log.partition(name).start for name in partitions}

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        """The end of each partition that this reader can reach: the last stable offset, or all."""
        return await self._log.ask("ends", partitions, lambda: self._ends(partitions))

    def _ends(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {name: self._log.partition(name).visible_end(self._isolation) for name in partitions}

    def _take(
        self, partitions: tuple[TopicPartition, ...], max_records: int | None
    ) -> dict[TopicPartition, list[MemoryRecord]]:
        wanted = [
            name
            for name in self._positions
            if name not in self._paused and (not partitions or name in partitions)
        ]
        self._log.raise_fault("fetch", *wanted)
        starts = {name: self._checked_position(name) for name in wanted}
        found: dict[TopicPartition, list[MemoryRecord]] = {}
        left = max_records
        for name, start in starts.items():
            if left == 0:
                break
            records, self._positions[name] = self._log.partition(name).read(
                start, left, self._isolation
            )
            if records:
                found[name] = records
                left = None if left is None else left - len(records)
        return found

    def _checked_position(self, name: TopicPartition) -> int:
        position, partition = self._positions[name], self._log.partition(name)
        if position is None:
            raise NoOffsetForPartitionError(name)
        if not partition.start <= position <= partition.end:
            raise OffsetOutOfRangeError({name: position})
        return position

    def _check_assigned(self, name: TopicPartition) -> None:
        if name not in self._positions:
            raise IllegalStateError(f"Partition {name} is not assigned")
