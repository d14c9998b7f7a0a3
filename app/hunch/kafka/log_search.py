"""Reads pieces of partitions for a search: one record at an offset, a range, a place by bisection.

Offsets have gaps (transaction markers, aborted and compacted records), so every reading says "the
first record at or after". Every wait ends at a time-out, and every record handed out is counted.
Two consumers read: one for single records, whose fetches are small, and one for ranges.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple, Self

from aiokafka.errors import OffsetOutOfRangeError

from hunch.clock import Clock
from hunch.kafka.aio import KafkaClient
from hunch.kafka.client import Consumer, Record, TopicPartition
from hunch.kafka.reader import Unreadable

POLL_MS = 50
STOP_MS = 5_000
PROBE_BYTES = 16_384
RANGE_RECORDS = 500
MAX_FOREIGN = 1_000
"""Records without a key of ours that a probe reads over; so many in a row count as a gap."""

Key = Callable[[Record], int | None]
"""What a log is ordered by; None for a record that is somebody else's."""
Probe = Callable[[int, int], Awaitable["Keyed | None"]]
"""The first keyed record at or after an offset and below an end, or None."""


class Span(NamedTuple):
    """A half-open range of offsets."""

    first: int
    end: int


class Keyed(NamedTuple):
    """Where a record stands, and its key."""

    offset: int
    key: int


async def lowest_from(probe: Probe, span: Span, target: int, pivot: float = 0.5) -> int:
    """An offset that no smaller key follows and no larger or equal one precedes.

    That holds of a log in ascending order of its keys. In one that is only roughly so the answer
    lies where the disorder around the target does, or in a run that was written far from its
    place; another `pivot` (the share of the range below each probe) misses such a run.
    """
    low, high = span
    while low < high:
        middle = low + int((high - low) * pivot)
        found = await probe(middle, high)
        if found is None or found.key >= target:
            high = middle
        else:
            low = found.offset + 1
    return low


class LogReader:
    """Reads from any partition, one at a time; `records_read` counts what it handed out.

    Raises `TimeoutError` where the broker brings nothing for `timeout_ms`.
    """

    def __init__(self, client: KafkaClient, clock: Clock, *, timeout_ms: float) -> None:
        self.records_read = 0
        self._clock = clock
        self._timeout_ms = timeout_ms
        self._singly: Any = client.consumer("read_committed", fetch_bytes=PROBE_BYTES)
        self._in_ranges: Any = client.consumer("read_committed")

    async def __aenter__(self) -> Self:
        for consumer in (self._singly, self._in_ranges):
            await self._clock.wait_for(consumer.start(), self._timeout_ms)
        return self

    async def __aexit__(self, *_: object) -> None:
        for consumer in (self._singly, self._in_ranges):
            await self._clock.wait_for(consumer.stop(), STOP_MS)

    async def partitions(self) -> dict[str, set[int]]:
        """All topics of the broker and their partitions; asking for one by name may create it."""
        cluster = await self._clock.wait_for(
            self._singly._client.fetch_all_metadata(),  # noqa: SLF001
            self._timeout_ms,
        )
        return {topic: cluster.partitions_for_topic(topic) or set() for topic in cluster.topics()}

    async def span(self, partition: TopicPartition) -> Span:
        """Where the log begins and ends now."""
        first = await self._asked(self._singly.beginning_offsets([partition]))
        end = await self._asked(self._singly.end_offsets([partition]))
        return Span(first[partition], end[partition])

    async def first_from(self, partition: TopicPartition, start: int, end: int) -> Record | None:
        """The first record of a range, or None."""
        async for record in self._read(self._singly, partition, Span(start, end), 1):
            return record
        return None

    def range(self, partition: TopicPartition, span: Span) -> AsyncIterator[Record]:
        """The records of a range, in order."""
        return self._read(self._in_ranges, partition, span, RANGE_RECORDS)

    async def lowest_from(
        self, partition: TopicPartition, span: Span, key: Key, target: int, pivot: float = 0.5
    ) -> int:
        """`lowest_from` in the log of a partition."""

        async def probe(start: int, end: int) -> Keyed | None:
            left = MAX_FOREIGN
            async for record in self._read(self._singly, partition, Span(start, end), 1):
                found = key(record)
                if found is not None:
                    return Keyed(record.offset, found)
                left -= 1
                if left == 0:
                    break
            return None

        return await lowest_from(probe, span, target, pivot)

    async def _read(
        self, consumer: Consumer, partition: TopicPartition, span: Span, at_once: int
    ) -> AsyncIterator[Record]:
        position, end = span
        if position >= end:
            return
        consumer.assign([partition])
        consumer.seek(partition, position)
        latest_ms = self._clock.now_ms()
        while position < end:
            records: list[Any] = []
            try:
                read = await self._asked(
                    consumer.getmany(partition, timeout_ms=POLL_MS, max_records=at_once)
                )
                records = read.get(partition, [])
                reached = await self._asked(consumer.position(partition))
            except OffsetOutOfRangeError:  # the log was cut while it was read
                reached = (await self.span(partition)).first
                if reached <= position:
                    return
                consumer.seek(partition, reached)
            except UnicodeDecodeError:
                reached = position
                if at_once > 1:
                    at_once = 1
                    consumer.seek(partition, position)
                else:
                    at = await self._asked(consumer.position(partition))
                    records = [Unreadable(partition.topic, partition.partition, at)]
                    consumer.seek(partition, at + 1)
                    reached = at + 1
            for record in records:
                if record.offset >= end:
                    return
                self.records_read += 1
                yield record
            now_ms = self._clock.now_ms()
            if reached > position:
                position, latest_ms = reached, now_ms
            elif now_ms - latest_ms > self._timeout_ms:
                raise TimeoutError

    async def _asked(self, answer: Awaitable[Any]) -> Any:
        return await self._clock.wait_for(answer, self._timeout_ms)
