"""The data consumer: reads what it is told with `assign()`, never in a group.

Records go to the lane that is open when they arrive; those of a closed lane are dropped. `assign()`
forgets every position, so all partitions are assigned and sought without an await in between.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from hunch.clock import Clock
from hunch.kafka.client import Consumer, Header, TopicPartition
from hunch.telemetry import log_event

POLL_MS = 50
PAUSE_AFTER_ERROR_MS = 200


class Feed(Protocol):
    """A lane, as the reader sees it."""

    def feed(self, partition: TopicPartition, records: list[Any]) -> None:
        """Takes records, in offset order."""

    def passed(self, partition: TopicPartition, position: int) -> None:
        """Everything below `position` was fed, or is a marker that nobody can read."""

    def is_full(self, partition: TopicPartition) -> bool:
        """Whether reading this partition should pause."""

    def broken(self, reason: str) -> None:
        """Reading failed: the lane has to take over again."""


class Unreadable(NamedTuple):
    """Stands for a record that the client library cannot take apart; nobody can decode it."""

    topic: str
    partition: int
    offset: int
    timestamp: int = -1
    key: bytes | None = None
    value: bytes | None = b""
    headers: tuple[Header, ...] = ()


class Reader:
    """One consumer for all lanes of a stage."""

    def __init__(self, consumer: Consumer, clock: Clock) -> None:
        self._consumer = consumer
        self._clock = clock
        self._feeds: dict[TopicPartition, tuple[Feed, int]] = {}
        self._opened = asyncio.Event()

    async def start(self) -> None:
        """Connects."""
        await self._consumer.start()

    async def stop(self) -> None:
        """Disconnects."""
        await self._consumer.stop()

    def open(self, lane: Feed, positions: Mapping[TopicPartition, int]) -> None:
        """Reads these partitions for a lane from now on."""
        self._feeds.update({tp: (lane, offset) for tp, offset in positions.items()})
        self._assign()
        self._opened.set()

    def close(self, lane: Feed) -> None:
        """Reads nothing for this lane any more."""
        kept = {tp: feed for tp, feed in self._feeds.items() if feed[0] is not lane}
        if len(kept) < len(self._feeds):
            self._feeds = kept
            self._assign()

    def positions(self, lane: Feed) -> dict[TopicPartition, int]:
        """How far this lane's partitions have been read, records that nobody can read included."""
        return {tp: at for tp, (feed, at) in self._feeds.items() if feed is lane}

    async def log_ends(
        self, partitions: list[TopicPartition]
    ) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
        """The first offset and the end of each partition's log."""
        first = await self._consumer.beginning_offsets(partitions)
        return first, await self._consumer.end_offsets(partitions)

    async def ends(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        """The end that this reader can reach in each partition's log."""
        return await self._consumer.end_offsets(partitions)

    async def run(self) -> None:
        """Reads for ever; an error closes the lanes that it concerns."""
        while True:
            if not self._feeds:
                self._opened.clear()
                await self._opened.wait()
            try:
                read = await self._consumer.getmany(timeout_ms=POLL_MS)
                self._hand_out(read)
                await self._follow_positions()
            except UnicodeDecodeError:
                await self._step_over_unreadable()
            except OffsetOutOfRangeError as error:
                self._break(set(error.args[0]), "the log no longer holds the next offset")
            except KafkaError as error:
                log_event("read_failed", error=type(error).__name__, text=str(error)[:200])
                self._break(set(self._feeds), f"reading failed: {type(error).__name__}")
                await self._clock.sleep(PAUSE_AFTER_ERROR_MS)

    async def _step_over_unreadable(self) -> None:
        """Finds the partition with a record whose header names are no text, and passes it.

        aiokafka refuses to hand out anything of a fetch with such a record in it, and has moved on
        behind what it drops of others: all partitions are sought again first.
        """
        self._assign()
        for partition, feed in list(self._feeds.items()):
            if partition in self._consumer.paused():
                continue
            try:
                self._hand_out(await self._consumer.getmany(partition, timeout_ms=POLL_MS))
            except UnicodeDecodeError:
                if self._feeds.get(partition) is feed:
                    await self._step_over(partition, feed[1])

    async def _step_over(self, partition: TopicPartition, known: int) -> None:
        """Reads record by record up to the one that cannot be read, and stands in for it."""
        self._consumer.seek(partition, known)
        try:
            while read := await self._consumer.getmany(
                partition, timeout_ms=POLL_MS, max_records=1
            ):
                self._hand_out(read)
        except UnicodeDecodeError:
            offset = await self._consumer.position(partition)
            log_event("warning", message="a record cannot be read", offset=offset)
            self._consumer.seek(partition, offset + 1)
            self._hand_out({partition: [Unreadable(partition.topic, partition.partition, offset)]})

    def _assign(self) -> None:
        self._consumer.assign(list(self._feeds))
        for partition, (lane, offset) in self._feeds.items():
            self._consumer.seek(partition, offset)
            if lane.is_full(partition):
                self._consumer.pause(partition)

    def _hand_out(self, read: dict[TopicPartition, list[Any]]) -> None:
        for partition, records in read.items():
            feed = self._feeds.get(partition)
            if feed is None:
                continue
            lane, known = feed
            fresh = records
            if records and records[0].offset < known:
                fresh = [record for record in records if record.offset >= known]
            if fresh:
                self._feeds[partition] = (lane, fresh[-1].offset + 1)
                lane.feed(partition, fresh)

    async def _follow_positions(self) -> None:
        paused = self._consumer.paused()
        for partition, feed in list(self._feeds.items()):
            lane, known = feed
            position = await self._consumer.position(partition)
            if self._feeds.get(partition) is not feed:
                continue
            if position > known:
                self._feeds[partition] = (lane, position)
                lane.passed(partition, position)
            if lane.is_full(partition) and partition not in paused:
                self._consumer.pause(partition)
            elif partition in paused and not lane.is_full(partition):
                self._consumer.resume(partition)

    def _break(self, partitions: set[TopicPartition], reason: str) -> None:
        lanes = {id(feed[0]): feed[0] for tp, feed in self._feeds.items() if tp in partitions}
        for lane in lanes.values():
            lane.broken(reason)
            self.close(lane)
