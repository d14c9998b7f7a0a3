"""The spans of each stage: which there are, what they say, and what goes on in `traceparent`.

A message that is not traced costs a look at its flag, and its header is passed on as it came.
"""

from collections.abc import Container, Sequence
from typing import Any, NamedTuple, Protocol

from hunch.core.envelope import Answer, Deferral, Path, Reason, SlowResult
from hunch.core.exiting import ExitPolicy
from hunch.core.joining import Verdict
from hunch.kafka.names import Names
from hunch.telemetry import Told, Tracer, names, tracecontext
from hunch.telemetry.tracecontext import TraceContext
from hunch.telemetry.traces import BatchSpan, Entered, Form, Span, new_span_id

Attributes = dict[str, Any]
FAST, SLOW, JOIN = "fast", "slow", "join"


class Arrived(Protocol):
    """A message in the fast stage, as its spans describe it."""

    @property
    def record(self) -> Any:
        """As it was read."""

    @property
    def origin(self) -> str:
        """Its name."""

    @property
    def ingest_ms(self) -> int:
        """Its timestamp."""

    @property
    def now_ms(self) -> float:
        """When it is decided."""

    @property
    def fast_ms(self) -> float:
        """How long its batch took in the model."""

    @property
    def traceparent(self) -> bytes | None:
        """The context that it brought, if W3C allows it."""

    @property
    def tau(self) -> float:
        """The τ that its score was held against."""

    @property
    def score(self) -> float | None:
        """That score, where it is not the confidence."""


class FastSpans:
    """Spans of one fast lane under one policy."""

    def __init__(
        self,
        topics: Names,
        partition: int,
        *,
        policy: ExitPolicy,
        model: str,
        group: str,
        tracer: Tracer,
    ) -> None:
        self.policy = policy
        self._partition = partition
        self._tracer = tracer
        received = _received(topics.messages, partition, group)
        deferring = _sent(topics.deferrals, partition)
        deciding = _sent(*topics.fast_decisions(partition))
        policed = {
            names.DELTA_MS: policy.delta_ms,
            names.POLICY: policy.name,
        }
        made_by = {names.MODEL: model}
        self._fast = Form("fast", FAST, received | policed | made_by, is_parent_remote=True)
        self._defer = Form("defer", FAST, deferring | policed)
        self._decide = Form("decide", FAST, deciding | policed | made_by)
        self._batch = Form("fast batch", FAST, {names.STAGE: FAST} | made_by)

    def batch(self) -> BatchSpan:
        """The span of a batch that was predicted."""
        return BatchSpan(self._batch)

    def chosen(self, records: Sequence[Any]) -> Container[int]:
        """The rows of the records that are sampled, where they bring no context."""
        return self._tracer.chosen(self._partition, records)

    def enter(self, message: Arrived, *, is_chosen: bool) -> Entered | None:
        """The trace of a message; None where tracing is off."""
        if not self._tracer.is_on:
            return None
        given = tracecontext.parsed(message.traceparent)
        return self._tracer.enter(given, message.origin, message.ingest_ms, is_chosen=is_chosen)

    def deferred(
        self,
        message: Arrived,
        answer: Answer,
        entered: Entered | None,
        deadline_ms: int,
        *,
        batch: BatchSpan,
        told: Told,
    ) -> None:
        """A message was deferred."""
        if entered is not None and entered.is_sampled:
            own = {
                names.ORIGIN: message.origin,
                names.TAU: message.tau,
                names.DEADLINE_MS: deadline_ms,
            }
            told.spans += (
                self._first(message, answer, entered, batch),
                self._second(self._defer, message, entered, own),
            )

    def decided(
        self,
        message: Arrived,
        answer: Answer | None,
        path: Path,
        reason: Reason,
        *,
        is_chosen: bool,
        error: str | None,
        batch: BatchSpan,
        told: Told,
    ) -> bytes | None:
        """A message was decided; what its decision carries on."""
        tracer, given = self._tracer, message.traceparent
        if not tracer.is_on:
            return given
        is_sampled = is_chosen if given is None else tracecontext.is_sampled(given)
        if not is_sampled:
            if path is Path.FAST:
                return given
            if not tracer.allows(reason, message.now_ms):
                told.count("traces_suppressed", reason=reason)
                return given
        entered = tracer.enter(
            tracecontext.parsed(given), message.origin, message.ingest_ms, is_chosen=is_sampled
        )
        own: Attributes = {
            names.ORIGIN: message.origin,
            names.PATH: path,
            names.REASON: reason,
            names.TAU: message.tau,
        }
        if answer is not None:
            own[names.LABEL], own[names.CONFIDENCE] = answer.label, answer.confidence
        told.spans += (
            self._first(message, answer, entered, batch, error),
            self._second(self._decide, message, entered, own, error),
        )
        return entered.header()

    def _first(
        self,
        message: Arrived,
        answer: Answer | None,
        entered: Entered,
        batch: BatchSpan,
        error: str | None = None,
    ) -> Span:
        own: Attributes = {
            names.ORIGIN: message.origin,
            names.OFFSET: message.record.offset,
            names.TAU: message.tau,
        }
        if answer is not None:
            own[names.LABEL], own[names.CONFIDENCE] = answer.label, answer.confidence
            if message.score is not None:
                own[names.SCORE] = message.score
        return Span(
            self._fast,
            entered.trace_id,
            entered.span_id,
            entered.parent_id,
            message.now_ms - message.fast_ms,
            message.now_ms,
            own,
            batch.link((entered.trace_id, entered.span_id)),
            error,
        )

    @staticmethod
    def _second(
        form: Form, message: Arrived, entered: Entered, own: Attributes, error: str | None = None
    ) -> Span:
        return Span(
            form,
            entered.trace_id,
            entered.next_id,
            entered.span_id,
            message.now_ms,
            None,
            own,
            (),
            error,
        )


class Asked(NamedTuple):
    """A deferral in the slow stage that is traced: its context, offset, and when it was read."""

    context: TraceContext
    offset: int
    origin: str
    read_ms: float


class SlowSpans:
    """Spans of one slow lane."""

    def __init__(self, topics: Names, partition: int, *, model: str, group: str) -> None:
        received = _received(topics.deferrals, partition, group)
        self._slow = Form("slow", SLOW, received | {names.MODEL: model}, is_parent_remote=True)

    def answered(
        self, asked: Asked, said: SlowResult, batch: BatchSpan | None, told: Told
    ) -> bytes:
        """A deferral was answered; what its result carries on."""
        context, span_id = asked.context, new_span_id()
        own: Attributes = {names.ORIGIN: asked.origin, names.OFFSET: asked.offset}
        if said.answer is not None:
            own[names.LABEL] = said.answer.label
            own[names.CONFIDENCE] = said.answer.confidence
        else:
            own[names.REASON] = Reason.SHED if said.shed else Reason.SLOW_ERROR
        told.spans.append(
            Span(
                self._slow,
                context.trace_id,
                span_id,
                context.span_id,
                asked.read_ms,
                None,
                own,
                () if batch is None else batch.link((context.trace_id, span_id)),
                said.error,
            )
        )
        return TraceContext(context.trace_id, span_id, is_sampled=True).header()


class JoinSpans:
    """Spans of one joiner lane."""

    def __init__(self, topics: Names, partition: int, *, group: str, tracer: Tracer) -> None:
        self._tracer = tracer
        received = _received(topics.deferrals, partition, group)
        deciding = _sent(*topics.joined_decisions(partition))
        messages = {
            names.SYSTEM: "kafka",
            names.OPERATION: "process",
            names.OPERATION_TYPE: "process",
            names.DESTINATION: topics.messages,
            names.DESTINATION_PARTITION: str(partition),
        }
        deferring = _sent(topics.deferrals, partition)
        self._join = Form("join", JOIN, received, is_parent_remote=True)
        self._decide = Form("decide", JOIN, deciding)
        self._fast = Form("fast", FAST, messages, is_parent_remote=True)
        self._defer = Form("defer", FAST, deferring)

    def decided(
        self, verdict: Verdict, deferral: Deferral, now_ms: float, told: Told
    ) -> bytes | None:
        """A deferral was decided; what its decision carries on."""
        tracer, given = self._tracer, verdict.pending.traceparent
        context = tracecontext.parsed(given) if tracer.is_on else None
        if context is None:
            return given
        if not context.is_sampled:
            if verdict.path is not Path.FALLBACK:
                return given
            if not tracer.allows(verdict.reason, now_ms):
                told.count("traces_suppressed", reason=verdict.reason)
                return given
            told.spans += self._rebuilt(context, verdict, deferral)
        joined = self._joined(context, verdict, deferral, now_ms)
        decided = self._decided(joined, verdict, deferral, now_ms)
        told.spans += joined, decided
        return TraceContext(context.trace_id, decided.span_id, context.is_sampled).header()

    def _joined(
        self, context: TraceContext, verdict: Verdict, deferral: Deferral, now_ms: float
    ) -> Span:
        own: Attributes = {
            names.ORIGIN: deferral.origin,
            names.OFFSET: verdict.offset,
            names.DEADLINE_MS: verdict.pending.deadline_ms,
            names.REASON: verdict.reason,
        }
        result = verdict.result
        if result is not None and result.error is not None:
            own[names.ERROR_MESSAGE] = result.error
        slow = None if result is None else tracecontext.parsed(result.traceparent)
        return Span(
            self._join,
            context.trace_id,
            new_span_id(),
            context.span_id,
            deferral.deferred_ms,
            now_ms,
            own,
            () if slow is None else ((slow.trace_id, slow.span_id),),
        )

    def _decided(self, joined: Span, verdict: Verdict, deferral: Deferral, now_ms: float) -> Span:
        said, result = deferral.fast, verdict.result
        if verdict.path is Path.SLOW and result is not None and result.answer is not None:
            said = result.answer
        own: Attributes = {
            names.ORIGIN: deferral.origin,
            names.PATH: verdict.path,
            names.REASON: verdict.reason,
            names.LABEL: said.label,
            names.CONFIDENCE: said.confidence,
            names.MODEL: said.model,
            names.TAU: deferral.tau,
            names.DELTA_MS: deferral.delta_ms,
            names.POLICY: deferral.policy,
        }
        return Span(self._decide, joined.trace_id, new_span_id(), joined.span_id, now_ms, None, own)

    def _rebuilt(
        self, context: TraceContext, verdict: Verdict, deferral: Deferral
    ) -> tuple[Span, ...]:
        """What the fast stage would have told of a message that was not sampled."""
        if deferral.fast_span is None:
            return ()
        answer, at_ms = deferral.fast, deferral.deferred_ms
        fast: Attributes = {
            names.ORIGIN: deferral.origin,
            names.OFFSET: _offset_of(deferral.origin),
            names.LABEL: answer.label,
            names.CONFIDENCE: answer.confidence,
            names.MODEL: answer.model,
            names.TAU: deferral.tau,
            names.POLICY: deferral.policy,
        }
        defer: Attributes = {
            names.ORIGIN: deferral.origin,
            names.DEADLINE_MS: verdict.pending.deadline_ms,
            names.DELTA_MS: deferral.delta_ms,
            names.POLICY: deferral.policy,
        }
        trace_id, fast_id = context.trace_id, deferral.fast_span
        began_ms, parent_id = at_ms - deferral.fast_ms, deferral.parent_span
        return (
            Span(self._fast, trace_id, fast_id, parent_id, began_ms, at_ms, fast),
            Span(self._defer, trace_id, context.span_id, fast_id, at_ms, at_ms, defer),
        )


def _offset_of(origin: str) -> int:
    number = origin.rpartition("-")[2]
    return int(number) if number.isdecimal() and len(number) <= 18 else -1


def _received(topic: str, partition: int, group: str) -> Attributes:
    return {
        names.SYSTEM: "kafka",
        names.OPERATION: "process",
        names.OPERATION_TYPE: "process",
        names.DESTINATION: topic,
        names.DESTINATION_PARTITION: str(partition),
        names.CONSUMER_GROUP: group,
    }


def _sent(topic: str, partition: int) -> Attributes:
    return {
        names.SYSTEM: "kafka",
        names.OPERATION: "send",
        names.OPERATION_TYPE: "send",
        names.DESTINATION: topic,
        names.DESTINATION_PARTITION: str(partition),
    }
