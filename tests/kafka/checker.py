"""Seen from outside: what was sent, and every decision that a `read_committed` reader gets.

Nothing here knows Hunch's code: topics, headers and JSON are all that a user's program has.
"""

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One decision as it arrived.

    Attributes:
        deferral: offset of the deferral that it decides; None on decisions of the fast stage.
        timestamp_ms: of the record.
        arrived_s: when it was read, on the monotonic clock.
        arrived_ms: the same, in epoch ms.
        body: the decision.
    """

    partition: int
    offset: int
    origin: str
    path: str
    deferral: int | None
    timestamp_ms: int
    arrived_s: float
    arrived_ms: float
    body: dict[str, Any]


class Checker:
    """Reads all partitions of `decisions` from their start, and remembers all of it."""

    def __init__(self, bootstrap: str, topic: str, partitions: int) -> None:
        self.seen: list[Seen] = []
        self.by_origin: dict[str, list[Seen]] = defaultdict(list)
        self._tps = [TopicPartition(topic, number) for number in range(partitions)]
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            fetch_max_wait_ms=20,
        )
        self._read_to = dict.fromkeys(range(partitions), 0)
        self._news = asyncio.Condition()
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        self._consumer.assign(self._tps)
        for tp in self._tps:
            self._consumer.seek(tp, 0)
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        await self._consumer.stop()

    @property
    def doubled(self) -> int:
        """Decisions beyond the first, over all origins."""
        return len(self.seen) - len(self.by_origin)

    def of(self, partition: int, *paths: str) -> list[Seen]:
        """The decisions of one partition, of these paths only where any are named."""
        return [
            seen
            for seen in self.seen
            if seen.partition == partition and (not paths or seen.path in paths)
        ]

    async def ends(self) -> dict[int, int]:
        """Where each partition of `decisions` ends now."""
        found = await self._consumer.end_offsets(self._tps)
        return {tp.partition: end for tp, end in found.items()}

    async def reach(self, ends: Mapping[int, int], timeout_s: float = 20.0) -> None:
        """Returns once everything below these offsets was seen."""
        await self._until(
            lambda: all(self._read_to[p] >= end for p, end in ends.items()),
            timeout_s,
            lambda: f"read to {self._read_to}, and not to {dict(ends)}",
        )

    async def decide(self, origins: Iterable[str], timeout_s: float) -> None:
        """Returns once there is a decision for each of these."""
        missing = set(origins)

        def are_all_decided() -> bool:
            missing.difference_update(self.by_origin)
            return not missing

        await self._until(
            are_all_decided,
            timeout_s,
            lambda: f"{len(missing)} undecided, as {sorted(missing)[:5]}",
        )

    async def hear(
        self, partitions: Iterable[int], since_s: float, timeout_s: float, *paths: str
    ) -> None:
        """Returns once each of these had a decision after `since_s` of the monotonic clock.

        Where paths are named, only decisions of these paths count.
        """
        silent = set(partitions)
        looked_at = 0

        def have_all_spoken() -> bool:
            nonlocal looked_at
            fresh = self.seen[looked_at:]
            silent.difference_update(
                seen.partition
                for seen in fresh
                if seen.arrived_s > since_s and (not paths or seen.path in paths)
            )
            looked_at = len(self.seen)
            return not silent

        await self._until(have_all_spoken, timeout_s, lambda: f"nothing from {sorted(silent)}")

    async def _until(self, is_met: Any, timeout_s: float, problem: Any) -> None:
        try:
            async with asyncio.timeout(timeout_s), self._news:
                await self._news.wait_for(is_met)
        except TimeoutError:
            msg = f"After {timeout_s} s: {problem()}."
            raise AssertionError(msg) from None
        finally:
            if self._reading is not None and self._reading.done():
                self._reading.result()

    async def _read(self) -> None:
        while True:
            read = await self._consumer.getmany(timeout_ms=100)
            arrived_s, arrived_ms = time.monotonic(), time.time() * 1000
            for tp, records in read.items():
                for record in records:
                    self._note(tp.partition, record, arrived_s, arrived_ms)
                self._read_to[tp.partition] = await self._consumer.position(tp)
            if read:
                async with self._news:
                    self._news.notify_all()

    def _note(self, partition: int, record: Any, arrived_s: float, arrived_ms: float) -> None:
        headers = dict(record.headers)
        body = json.loads(record.value)
        seen = Seen(
            partition=partition,
            offset=record.offset,
            origin=headers["hunch-origin"].decode(),
            path=headers["hunch-path"].decode(),
            deferral=int(headers["hunch-deferral"]) if "hunch-deferral" in headers else None,
            timestamp_ms=record.timestamp,
            arrived_s=arrived_s,
            arrived_ms=arrived_ms,
            body=body,
        )
        assert (seen.origin, seen.path) == (body["origin"], body["path"])
        self.seen.append(seen)
        self.by_origin[seen.origin].append(seen)


class Offsets:
    """Ends of topics and committed offsets of groups, asked of the broker."""

    def __init__(self, bootstrap: str) -> None:
        self._consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
        self._admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        await self._admin.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._admin.close()
        await self._consumer.stop()

    async def ends(self, topic: str, partitions: int) -> dict[int, int]:
        """Where each partition of a topic ends now."""
        tps = [TopicPartition(topic, number) for number in range(partitions)]
        return {tp.partition: end for tp, end in (await self._consumer.end_offsets(tps)).items()}

    async def committed(self, group: str, topic: str, partitions: int) -> dict[int, int]:
        """What a group has committed; 0 where it has not."""
        tps = [TopicPartition(topic, number) for number in range(partitions)]
        found = await self._admin.list_consumer_group_offsets(group, partitions=tps)
        return {tp.partition: max(0, found[tp].offset) for tp in tps}
