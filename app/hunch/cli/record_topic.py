"""The topic of messages as a source of rows: a stretch of every partition, fixed at the start."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from aiokafka.errors import OffsetOutOfRangeError

from hunch.cli.connection import latest_stretches
from hunch.errors import DataError
from hunch.evaluation.rows import Description, Row
from hunch.kafka.client import TopicPartition

POLL_MS = 100


class TopicRows:
    """What a topic holds when recording begins, partition by partition.

    Args:
        consumer: started, that reads what is committed.
        topic: its name.
        partitions: all of them.
        limit: about so many rows, the latest of every partition; None for all.
    """

    def __init__(
        self, consumer: Any, topic: str, partitions: Sequence[int], limit: int | None
    ) -> None:
        self._consumer = consumer
        self._topic = topic
        self._partitions = partitions
        self._limit = limit
        self._ranges: dict[int, tuple[int, int]] = {}

    async def begin(self, earlier: Description | None) -> Description:
        """The stretch of each partition; the one of an earlier start where there is one."""
        if earlier is not None and earlier.get("topic") == self._topic:
            found = earlier
        else:
            found = {"kind": "topic", "topic": self._topic, "ranges": await self._latest()}
        self._ranges = {int(p): (first, end) for p, (first, end) in found["ranges"].items()}
        return found

    async def _latest(self) -> dict[str, list[int]]:
        found = await latest_stretches(self._consumer, self._topic, self._partitions, self._limit)
        return {str(it.partition): list(stretch) for it, stretch in found.items()}

    async def rows(self, after: str | None) -> AsyncIterator[Row]:
        """The records of the stretches; their origin is partition-offset."""
        latest = (-1, -1) if after is None else tuple(map(int, after.split("-")))
        for partition, (first, end) in sorted(self._ranges.items()):
            if partition < latest[0]:
                continue
            start = max(first, latest[1] + 1) if partition == latest[0] else first
            async for row in self._stretch(partition, start, end):
                yield row

    async def _stretch(self, partition: int, start: int, end: int) -> AsyncIterator[Row]:
        consumer, assigned = self._consumer, TopicPartition(self._topic, partition)
        consumer.assign([assigned])
        consumer.seek(assigned, start)
        while await consumer.position(assigned) < end:
            try:
                found = await consumer.getmany(assigned, timeout_ms=POLL_MS)
            except OffsetOutOfRangeError as error:
                raise DataError(
                    f"The broker has deleted what was to be recorded of {self._topic}: record "
                    "again into another folder, and sooner than it deletes."
                ) from error
            for record in found.get(assigned, ()):
                if record.offset < end:
                    yield Row(f"{partition}-{record.offset}", record.value)
