"""One partition of the in-memory log: records at offsets, with gaps, a start and a hidden tail."""

import bisect
import operator
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka.structs import TopicPartition

from hunch.kafka.client import Header

_OFFSET = operator.attrgetter("offset")


@dataclass(slots=True, kw_only=True)
class MemoryRecord:
    """A record of the in-memory log, with the fields of aiokafka's `ConsumerRecord`."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]


class Partition:
    """An append-only run of records.

    Attributes:
        start: the first offset that can still be read.
        end: the offset that the next record gets.
        hold_end: while records are held, the offset from which readers see nothing.
    """

    def __init__(self, name: TopicPartition) -> None:
        self.name = name
        self.records: list[MemoryRecord] = []
        self.start = 0
        self.end = 0
        self.hold_end: int | None = None

    @property
    def visible_end(self) -> int:
        """The end as readers see it."""
        return self.end if self.hold_end is None else self.hold_end

    def append(
        self,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[Header],
        timestamp: int,
    ) -> MemoryRecord:
        """Puts one record at the end."""
        record = MemoryRecord(
            topic=self.name.topic,
            partition=self.name.partition,
            offset=self.end,
            timestamp=timestamp,
            key=key,
            value=value,
            headers=tuple(headers),
        )
        self.records.append(record)
        self.end += 1
        return record

    def skip(self, count: int) -> None:
        """Uses up `count` offsets that nobody can read."""
        self.end += count

    def truncate(self, before: int) -> None:
        """Forgets every record below the offset `before`."""
        self.start = max(self.start, min(before, self.end))
        del self.records[: bisect.bisect_left(self.records, self.start, key=_OFFSET)]

    def read(self, position: int, limit: int | None) -> tuple[list[MemoryRecord], int]:
        """Up to `limit` visible records from `position` on, and the position after them."""
        first = bisect.bisect_left(self.records, position, key=_OFFSET)
        last = bisect.bisect_left(self.records, self.visible_end, key=_OFFSET)
        if limit is not None:
            last = min(last, first + limit)
        found = self.records[first:last]
        if found:
            return found, found[-1].offset + 1
        return [], max(position, self.visible_end)
