"""One partition of the in-memory log: records at offsets, with gaps, a start and a hidden tail.

Records of transactions stand among the others from the moment they are written. Until the earliest
open transaction ends, a `read_committed` reader sees nothing from its first record on, whoever
wrote it; aborted records it never sees.
"""

import bisect
import operator
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka.structs import TopicPartition

from hunch.kafka.client import Header, Isolation

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
        self._open: dict[object, int] = {}
        self._aborted: set[int] = set()

    def visible_end(self, isolation: Isolation) -> int:
        """The end as readers see it: the last stable offset, or all that is written."""
        end = self.end if self.hold_end is None else self.hold_end
        return end if isolation == "read_uncommitted" else min([end, *self._open.values()])

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

    def begin_transaction(self, transaction: object) -> None:
        """The next record belongs to a transaction; only the first call counts."""
        self._open.setdefault(transaction, self.end)

    def end_transaction(self, transaction: object, aborted: Sequence[int]) -> None:
        """Writes its marker; the records at the offsets `aborted` never were."""
        self._open.pop(transaction, None)
        self._aborted.update(aborted)
        self.skip(1)

    def skip(self, count: int) -> None:
        """Uses up `count` offsets that nobody can read."""
        self.end += count

    def truncate(self, before: int) -> None:
        """Forgets every record below the offset `before`."""
        self.start = max(self.start, min(before, self.end))
        del self.records[: bisect.bisect_left(self.records, self.start, key=_OFFSET)]

    def committed(self) -> list[MemoryRecord]:
        """All records that count: neither aborted nor beyond the first open transaction."""
        last = min(self._open.values(), default=self.end)
        kept = self.records[: bisect.bisect_left(self.records, last, key=_OFFSET)]
        return self._without_aborted(kept)

    def read(
        self, position: int, limit: int | None, isolation: Isolation
    ) -> tuple[list[MemoryRecord], int]:
        """Up to `limit` visible records from `position` on, and the position after them."""
        end = self.visible_end(isolation)
        first = bisect.bisect_left(self.records, position, key=_OFFSET)
        last = bisect.bisect_left(self.records, end, key=_OFFSET)
        found = self.records[first:last]
        if isolation != "read_uncommitted":
            found = self._without_aborted(found)
        if limit is not None:
            found = found[:limit]
        if found:
            return found, found[-1].offset + 1
        return [], max(position, end)

    def _without_aborted(self, records: list[MemoryRecord]) -> list[MemoryRecord]:
        if not self._aborted:
            return records
        return [record for record in records if record.offset not in self._aborted]
