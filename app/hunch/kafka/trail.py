"""What was found of one message, and how its records name it."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import orjson

from hunch.core.envelope import origin_of
from hunch.errors import WireError
from hunch.kafka.client import Record, TopicPartition
from hunch.kafka.codec import DEFERRAL, HUNCH, ORIGIN, header_of, integer, read_deferral
from hunch.kafka.log_search import Key, Span

SKEW_MS = 1_000
"""How far the clocks of Hunch's own hosts may differ."""
AFTER_MS = 60_000
"""How long after a deadline a decision or result of it may still come."""


class Origin(NamedTuple):
    """The name of an input record, taken apart."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return origin_of(*self)

    @classmethod
    def parse(cls, text: str) -> "Origin | None":
        """The origin that a text spells, or None; a topic's own name may contain hyphens."""
        topic, *numbers = text.rsplit("-", 2)
        partition, offset = (
            integer(number.encode(errors="replace")) for number in [*numbers, "", ""][:2]
        )
        if not topic or partition is None or offset is None:
            return None
        return cls(topic, partition, offset)


class Presence(StrEnum):
    """How a message stands in its log."""

    THERE = "there"
    UNREADABLE = "unreadable"
    DELETED = "deleted"
    NOT_WRITTEN = "not written"
    NOT_A_MESSAGE = "not a message"


class Searched(NamedTuple):
    """Which offsets of a partition a search has looked at; `first` and `end` are the log's own."""

    partition: TopicPartition
    low: int
    high: int
    first: int
    end: int


class Behind(NamedTuple):
    """What a stage has committed of its input (-1: nothing), and where that ends."""

    committed: int
    end: int


@dataclass(slots=True, kw_only=True)
class Trail:
    """All that was found of one message.

    Attributes:
        span: of the message's own partition.
        progress: stage → how far it is, where that was asked for and answered.
    """

    origin: Origin
    presence: Presence
    span: Span
    message: Record | None = None
    decisions: list[Record] = field(default_factory=list)
    deferrals: list[Record] = field(default_factory=list)
    slow_results: list[Record] = field(default_factory=list)
    late_results: list[Record] = field(default_factory=list)
    dead_letters: list[Record] = field(default_factory=list)
    progress: dict[str, Behind] = field(default_factory=dict)
    searched: list[Searched] = field(default_factory=list)

    @property
    def is_unread(self) -> bool:
        """Whether the fast stage is known not to have come to the message yet."""
        fast = self.progress.get("fast")
        return fast is not None and 0 <= fast.committed <= self.origin.offset


class Times(NamedTuple):
    """Between which times records of a message are looked for."""

    first_ms: float
    last_ms: float


def times_of(trail: Trail) -> Times | None:
    """When the joiner and the slow stage may have written, by Hunch's own clocks; None: unknown."""
    found = []
    for record in trail.deferrals:
        try:
            read = read_deferral(record.headers)
        except WireError:
            continue
        found.append((read.deferred_ms, max(read.deadline_ms, read.deferred_ms)))
    if not found:
        return None
    first_ms = min(deferred_ms for deferred_ms, _ in found) - SKEW_MS
    return Times(first_ms, max(deadline_ms for _, deadline_ms in found) + AFTER_MS)


def _head(record: Record) -> dict[str, object]:
    try:
        head = orjson.loads(header_of(record.headers, HUNCH) or b"")
    except orjson.JSONDecodeError:
        return {}
    return head if isinstance(head, dict) else {}


def origin_text(record: Record) -> str:
    """The origin that a derived record names, or nothing."""
    text = header_of(record.headers, ORIGIN)
    return str(_head(record).get("origin", "")) if text is None else text.decode(errors="replace")


def origin_key(origin: Origin) -> Key:
    """What orders derived logs: the message's offset; None for other topics and partitions."""

    def key(record: Record) -> int | None:
        found = Origin.parse(origin_text(record))
        return found.offset if found is not None and found[:2] == origin[:2] else None

    return key


def deferral_offset(record: Record) -> int | None:
    """Which deferral a slow result or a decision of the joiner names."""
    named = _head(record).get("deferral")
    if isinstance(named, int) and not isinstance(named, bool):
        return named
    return integer(header_of(record.headers, DEFERRAL))
