"""What travels on the topics, as values: the meaning of the bytes, not their encoding.

Times are epoch milliseconds unless the name says otherwise. Only deferrals, slow results and
decisions of the joiner become objects; exits travel as columns of their batch.
"""

from dataclasses import dataclass
from enum import StrEnum

NUMBERS_END = 2**53
"""Numbers on the wire lie below: many readers of JSON know no larger integer exactly."""
LONGEST_MS = 1_000_000_000_000
"""About 30 years: a deadline must stay a number that fits its header."""


class Path(StrEnum):
    """By which way a message was decided."""

    FAST = "fast"
    SLOW = "slow"
    FALLBACK = "fallback"
    ERROR = "error"


class Reason(StrEnum):
    """Why a decision went its way."""

    CONFIDENT = "confident"
    VERIFIED = "verified"
    DEADLINE = "deadline"
    SLOW_ERROR = "slow_error"
    SHED = "shed"
    OVERFLOW = "overflow"
    STALE = "stale"
    OVERSIZED = "oversized"
    UNDECODABLE = "undecodable"
    BAD_INPUT = "bad_input"
    TOMBSTONE = "tombstone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one model says: its best label and the probability it gives it."""

    label: str
    confidence: float
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferral:
    """The `hunch` header of a record on `deferrals`: all that the joiner needs to decide alone.

    The score is what was held against τ, None where it was the fast confidence. The spans, as
    hexadecimal digits, are those of the message in the fast stage and of its producer: from them
    the joiner can tell the path of a message that nobody has traced.
    """

    origin: str
    id: str | int | None
    fast: Answer
    tau: float
    delta_ms: float
    policy: str
    ingest_ms: int
    wait_ms: float
    fast_ms: float
    deferred_ms: float
    fast_span: str | None = None
    parent_span: str | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowResult:
    """A record on `slow-results`: exactly one of `answer`, `error` and `shed` is given."""

    origin: str
    deferral: int
    model: str
    answer: Answer | None = None
    error: str | None = None
    shed: bool = False
    slow_ms: float = 0.0
    traceparent: bytes | None = None

    @property
    def outcome(self) -> str:
        """`answer`, `shed` or `error`."""
        if self.answer is not None:
            return "answer"
        return "shed" if self.shed else "error"


def origin_of(topic: str, partition: int, offset: int) -> str:
    """The name of an input record: `topic-partition-offset`."""
    return f"{topic}-{partition}-{offset}"
