"""How transactions ended, read from the broker's own files: commit and abort markers.

No client shows them. Each marker carries the producer's id and epoch; both ways to abort from
outside (a fence, a time-out) raise the epoch, so an aborted transaction is one (id, epoch), however
many partitions it touched. The layout is that of Kafka's record batches, version 2.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HEAD = struct.Struct(">qiibIhiqqqhii")
"""base offset, length, leader epoch, magic, crc, attributes, last delta, two times, producer id,
producer epoch, base sequence, records."""
LENGTH_FROM = 12
IS_CONTROL = 0x20
ABORT = 0


class Marker(NamedTuple):
    """The end of a transaction in one partition."""

    producer_id: int
    epoch: int
    is_abort: bool


def markers(data: Path, topic: str) -> Iterator[Marker]:
    """All markers in all partitions of a topic, as the files have them at this moment."""
    for segment in sorted(data.glob(f"log/{topic}-*/*.log")):
        yield from _in_segment(segment.read_bytes())


def aborted(data: Path, topics: list[str]) -> int:
    """How many transactions that wrote to these topics were aborted."""
    return len(
        {
            (marker.producer_id, marker.epoch)
            for topic in topics
            for marker in markers(data, topic)
            if marker.is_abort
        }
    )


def _in_segment(held: bytes) -> Iterator[Marker]:
    at = 0
    while at + HEAD.size <= len(held):
        _, length, _, magic, _, attributes, *_, producer_id, epoch, _, _ = HEAD.unpack_from(
            held, at
        )
        if magic != 2 or length <= 0:
            return  # the preallocated or half-written rest
        if attributes & IS_CONTROL:
            yield Marker(producer_id, epoch, _kind(held, at + HEAD.size) == ABORT)
        at += LENGTH_FROM + length


def _kind(held: bytes, at: int) -> int:
    """The type in the key of a control record: after its lengths and deltas, and a version."""
    at = _past_varint(held, at) + 1  # length of the record, attributes
    for _ in range(3):  # time delta, offset delta, length of the key
        at = _past_varint(held, at)
    kind: int = struct.unpack_from(">hh", held, at)[1]
    return kind


def _past_varint(held: bytes, at: int) -> int:
    while held[at] & 0x80:
        at += 1
    return at + 1
