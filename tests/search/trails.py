"""Records of single messages, written as the stages write them, on any broker."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition

from hunch.core.envelope import Answer, Deferral, Path, Reason, SlowResult
from hunch.kafka.codec import (
    DeadLetter,
    Outgoing,
    encode_dead_letter,
    encode_decision,
    encode_deferral,
    encode_result,
)

PARTITIONS = 2
SIZES = {
    "messages": PARTITIONS,
    "deferrals": PARTITIONS,
    "slow-results": PARTITIONS,
    "late-results": PARTITIONS,
    "decisions": 2 * PARTITIONS,
    "dead-letters": 3 * PARTITIONS,
}
FAST = Answer(label="1", confidence=0.73, model="digits-fast@1")
SLOW = Answer(label="2", confidence=0.99, model="digits-slow@1")
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01".encode()


def now_ms() -> int:
    """The time as records carry it."""
    return int(time.time() * 1000)


def a_message(**fields: object) -> Outgoing:
    """A message with these fields."""
    return b"key", b'{"id": "%s"}' % str(fields.get("id", "m")).encode(), []


def a_deferral(origin: str, *, at_ms: float, deadline_ms: int, id: str = "m") -> Outgoing:  # noqa: A002
    """A deferral of the fast answer."""
    deferral = Deferral(
        origin=origin,
        id=id,
        fast=FAST,
        tau=0.9,
        delta_ms=max(0.0, deadline_ms - at_ms),
        policy="settings",
        ingest_ms=max(0, int(at_ms) - 50),
        wait_ms=49.0,
        fast_ms=0.3,
        deferred_ms=at_ms,
    )
    return b"key", b'{"id": "m"}', encode_deferral(deferral, deadline_ms, TRACEPARENT)


def a_result(origin: str, deferral: int) -> Outgoing:
    """The slow answer to a deferral."""
    result = SlowResult(
        origin=origin, deferral=deferral, model=SLOW.model, answer=SLOW, slow_ms=1.7
    )
    return (b"key", *encode_result(result, [0.01, 0.99]))


def a_decision(
    origin: str,
    path: Path,
    reason: Reason,
    *,
    at_ms: float,
    deferral: int | None = None,
    id: str = "m",  # noqa: A002
) -> Outgoing:
    """A decision of the fast stage, or of the joiner where a deferral is named."""
    said = {Path.ERROR: None, Path.SLOW: SLOW}.get(path, FAST)
    return encode_decision(
        key=b"key",
        traceparent=None,
        origin=origin,
        id=id,
        said=said,
        path=path,
        reason=reason,
        fast=None if path is Path.ERROR else FAST,
        slow=SLOW if path is Path.SLOW else None,
        tau=0.9,
        delta_ms=500,
        policy="settings",
        at_ms=at_ms,
        times={"wait": 50.0, "fast": 0.3, "total": 60.0},
        deferral=deferral,
        error="The value is not JSON." if path is Path.ERROR else None,
    )


def a_dead_letter(origin: str, message: Outgoing, *, at_ms: float) -> Outgoing:
    """What the fast stage puts aside of a message."""

    class Record:
        key, value, headers = message

    why = DeadLetter(origin, "fast", Reason.UNDECODABLE, "The value is not JSON.", at_ms)
    return encode_dead_letter(why, Record)


class Writer:
    """Writes records to named partitions, each at once, in order."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self._bootstrap = bootstrap
        self._prefix = prefix

    def write(
        self,
        topic: str,
        partition: int,
        records: Sequence[Outgoing],
        *,
        timestamp_ms: int | None = None,
    ) -> list[int]:
        """The offsets, once all are acknowledged."""
        return asyncio.run(self.append(topic, partition, records, timestamp_ms=timestamp_ms))

    async def append(
        self,
        topic: str,
        partition: int,
        records: Sequence[Outgoing],
        *,
        timestamp_ms: int | None = None,
        transactional_id: str | None = None,
        is_aborted: bool = False,
    ) -> list[int]:
        """The same, perhaps in a transaction of its own, which may be aborted."""
        where = TopicPartition(self._prefix + topic, partition)
        options: dict[str, Any] = {"transactional_id": transactional_id} if transactional_id else {}
        async with AIOKafkaProducer(
            bootstrap_servers=self._bootstrap, acks="all", linger_ms=2, **options
        ) as producer:
            if transactional_id:
                await producer.begin_transaction()
            futures = [
                await producer.send(
                    where.topic,
                    value,
                    key=key,
                    headers=headers,
                    partition=partition,
                    timestamp_ms=timestamp_ms,
                )
                for key, value, headers in records
            ]
            done = await asyncio.gather(*futures)
            if is_aborted:
                await producer.abort_transaction()
            elif transactional_id:
                await producer.commit_transaction()
        return [metadata.offset for metadata in done]
