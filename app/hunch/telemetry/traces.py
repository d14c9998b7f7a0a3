"""Spans of messages: made in bulk as plain values, exported by somebody else, later.

    fast      one message in the fast stage; child of the producer's span where there is one
    defer     its way into `deferrals`; child of fast
    slow      one deferral in the slow stage, from its reading to its answer's acknowledgement
    join      one deferral in the joiner, from its deferral to its verdict; child of defer
    decide    the decision's way into `decisions`; child of fast or join
    … batch   one call of a model; a trace of its own, linked with the spans of its messages

Who is sampled is decided where a message enters: by the flag of its `traceparent`, or by a ratio.
Beyond these, fallbacks and errors are traced too, so many a second of each reason.
"""

import random
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from hunch.errors import ConfigError
from hunch.telemetry import tracecontext
from hunch.telemetry.names import BATCH_SIZE, BATCH_TRACED, SpanName
from hunch.telemetry.tracecontext import TraceContext

MAX_LINKS = 128
"""Links of one batch span, as OpenTelemetry's default has it; the messages' own are all there."""

NOBODY: frozenset[int] = frozenset()
Place = tuple[str, str]
"""A trace and a span in it, as hexadecimal digits."""


class Form:
    """What many spans have in common; made once, and told apart by identity.

    Attributes:
        name: of the spans.
        stage: whose they are.
        attributes: those that all of them have.
        is_parent_remote: whether their parent is a span of another process.
    """

    __slots__ = ("__weakref__", "attributes", "is_parent_remote", "name", "stage")

    def __init__(
        self,
        name: SpanName,
        stage: str,
        attributes: Mapping[str, Any],
        *,
        is_parent_remote: bool = False,
    ) -> None:
        self.name = name
        self.stage = stage
        self.attributes = attributes
        self.is_parent_remote = is_parent_remote


class Span(NamedTuple):
    """One span; times are epoch milliseconds.

    Attributes:
        end_ms: None for one that ends when the broker has acknowledged.
        own: attributes besides those of the form.
        error: what went wrong, where something did.
    """

    form: Form
    trace_id: str
    span_id: str
    parent_id: str | None
    start_ms: float
    end_ms: float | None
    own: Mapping[str, Any]
    links: Sequence[Place] = ()
    error: str | None = None

    @property
    def name(self) -> SpanName:
        """What is done in it."""
        return self.form.name

    @property
    def attributes(self) -> dict[str, Any]:
        """All of them."""
        return {**self.form.attributes, **self.own}


Export = Callable[[Sequence[Span], float], None]
"""Takes spans, and when the broker acknowledged what they stand for."""


class Entered(NamedTuple):
    """The trace of a message that has entered: where it comes from, and its first two spans."""

    trace_id: str
    parent_id: str | None
    span_id: str
    next_id: str
    is_sampled: bool

    def header(self) -> bytes:
        """What the second span passes on."""
        return TraceContext(self.trace_id, self.next_id, self.is_sampled).header()


@dataclass(frozen=True, slots=True, kw_only=True)
class TracePolicy:
    """Which messages are traced.

    Attributes:
        ratio: share of the messages that bring no `traceparent`, in [0, 1].
        paths_per_s: fallbacks and errors a second, of each reason, beyond the sampled.
    """

    ratio: float
    paths_per_s: int = 50

    def __post_init__(self) -> None:
        if not 0.0 <= self.ratio <= 1.0 or self.paths_per_s < 0:
            msg = "trace_ratio must lie between 0 and 1, and trace_paths_per_s be 0 or more."
            raise ConfigError(msg)


class Tracer:
    """What the stages of this process ask about tracing; one without a policy is off."""

    def __init__(self, policy: TracePolicy | None = None, export: Export | None = None) -> None:
        self.is_on = policy is not None and export is not None
        self._policy = policy or TracePolicy(ratio=0.0)
        self._export = export
        self._seconds: dict[str, tuple[int, int]] = {}

    def chosen(self, partition: int, records: Sequence[Any]) -> Container[int]:
        """The rows of these records, at least one, that are sampled without a `traceparent`."""
        if not self.is_on or self._policy.ratio == 0.0:
            return NOBODY
        first, last = records[0].offset, records[-1].offset
        if last - first == len(records) - 1:
            offsets = np.arange(first, last + 1)
        else:
            offsets = np.array([record.offset for record in records])
        return tracecontext.chosen(partition, offsets, self._policy.ratio)

    @staticmethod
    def enter(
        given: TraceContext | None, origin: str, timestamp_ms: int, *, is_chosen: bool
    ) -> Entered:
        """The trace of a message: its producer's, or one of its own."""
        if given is None:
            trace_id = tracecontext.trace_id_for(origin, timestamp_ms)
            return Entered(trace_id, None, new_span_id(), new_span_id(), is_chosen)
        return Entered(
            given.trace_id, given.span_id, new_span_id(), new_span_id(), given.is_sampled
        )

    def allows(self, reason: str, now_ms: float) -> bool:
        """Whether one more message that is not sampled may be traced for its reason."""
        second, used = int(now_ms) // 1000, 0
        known = self._seconds.get(reason)
        if known is not None and known[0] == second:
            used = known[1]
        if used >= self._policy.paths_per_s:
            return False
        self._seconds[reason] = second, used + 1
        return True

    def take(self, spans: Sequence[Span], acknowledged_ms: float) -> None:
        """Hands spans over to be exported; never waits."""
        if spans and self._export is not None:
            self._export(spans, acknowledged_ms)


class BatchSpan:
    """The span of one call of a model, if any of its messages is traced."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self.place: Place = (f"{random.getrandbits(128):032x}", new_span_id())
        self._links: list[Place] = []
        self._linked = 0

    def link(self, message: Place) -> tuple[Place, ...]:
        """Links the span of a message; the links of that span."""
        self._linked += 1
        if len(self._links) < MAX_LINKS:
            self._links.append(message)
        return (self.place,)

    def spans(self, start_ms: float, elapsed_ms: float, size: int) -> list[Span]:
        """The span; none where no message was traced."""
        if not self._linked:
            return []
        span = Span(
            form=self._form,
            trace_id=self.place[0],
            span_id=self.place[1],
            parent_id=None,
            start_ms=start_ms,
            end_ms=start_ms + elapsed_ms,
            own={BATCH_SIZE: size, BATCH_TRACED: self._linked},
            links=self._links,
        )
        return [span]


def new_span_id() -> str:
    """A span id that nobody else has, as 16 hexadecimal digits."""
    return f"{random.getrandbits(64) or 1:016x}"
