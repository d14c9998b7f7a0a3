"""The spans of each stage: which there are, what they say, and what goes on in `traceparent`.

A message that is not traced costs a look at its flag, and its header is passed on as it came.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from hunch.core.envelope import Answer, Deferral, Path, Reason, SlowResult
from hunch.core.exiting import ExitPolicy
from hunch.core.joining import Verdict
from hunch.kafka.names import Names
from hunch.telemetry import Told, Tracer, names, tracecontext
from hunch.telemetry.tracecontext import TraceContext
from hunch.telemetry.traces import BatchSpan, Entered, Span, new_span_id

Attributes = dict[str, Any]


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


class FastSpans:
    """Spans of one step of a fast lane, told with it."""

    def __init__(
        self,
        topics: Names,
        partition: int,
        *,
        policy: ExitPolicy,
        model: str,
        group: str,
        tracer: Tracer,
        told: Told,
    ) -> None:
        self._partition = partition
        self._tracer = tracer
        self._told = told
        self._model = model
        self._batch = BatchSpan()
        self._received = _received(topics.messages, partition, group)
        self._received |= {names.MODEL: model, names.TAU: policy.tau}
        self._deferring = _sent(topics.deferrals, partition)
        self._deferring |= {names.DELTA_MS: policy.delta_ms, names.POLICY: policy.name}
        self._deciding = _sent(*topics.fast_decisions(partition))
        self._deciding |= {names.POLICY: policy.name}

    def chosen(self, records: Sequence[Any]) -> list[bool] | None:
        """Which records are sampled, where they bring no context; None for no one."""
        return self._tracer.chosen(self._partition, records)

    def enter(self, message: Arrived, *, is_chosen: bool) -> Entered | None:
        """The trace of a message; None where tracing is off."""
        if not self._tracer.is_on:
            return None
        given = tracecontext.parsed(message.traceparent)
        return self._tracer.enter(given, message.origin, message.ingest_ms, is_chosen=is_chosen)

    def deferred(
        self, message: Arrived, answer: Answer, entered: Entered | None, deadline_ms: int
    ) -> None:
        """A message was deferred."""
        if entered is not None and entered.is_sampled:
            own = {names.ORIGIN: message.origin, names.DEADLINE_MS: deadline_ms}
            self._tell(message, answer, entered)
            self._then("defer", message, entered, self._deferring | own)

    def decided(
        self,
        message: Arrived,
        answer: Answer | None,
        path: Path,
        reason: Reason,
        *,
        is_chosen: bool,
        error: str | None,
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
                self._told.count("traces_suppressed", reason=reason)
                return given
        entered = tracer.enter(
            tracecontext.parsed(given), message.origin, message.ingest_ms, is_chosen=is_sampled
        )
        own = {names.ORIGIN: message.origin, names.PATH: path, names.REASON: reason}
        self._tell(message, answer, entered, error)
        self._then("decide", message, entered, self._deciding | own, error)
        return entered.header()

    def end_batch(self, now_ms: float, elapsed_ms: float, size: int) -> None:
        """The batch in which these messages were predicted."""
        self._told.spans += self._batch.spans(
            "fast",
            start_ms=now_ms - elapsed_ms,
            elapsed_ms=elapsed_ms,
            size=size,
            model=self._model,
        )
        self._batch = BatchSpan()

    def _tell(
        self, message: Arrived, answer: Answer | None, entered: Entered, error: str | None = None
    ) -> None:
        own: Attributes = {names.ORIGIN: message.origin, names.OFFSET: message.record.offset}
        if answer is not None:
            own[names.LABEL], own[names.CONFIDENCE] = answer.label, answer.confidence
        self._told.spans.append(
            Span(
                "fast",
                "fast",
                entered.trace_id,
                entered.span_id,
                entered.parent_id,
                message.now_ms - message.fast_ms,
                message.now_ms,
                self._received | own,
                self._batch.link((entered.trace_id, entered.span_id)),
                error,
            )
        )

    def _then(
        self,
        name: names.SpanName,
        message: Arrived,
        entered: Entered,
        attributes: Attributes,
        error: str | None = None,
    ) -> None:
        self._told.spans.append(
            Span(
                name,
                "fast",
                entered.trace_id,
                entered.next_id,
                entered.span_id,
                message.now_ms,
                None,
                attributes,
                (),
                error,
                is_parent_remote=False,
            )
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
        self._received = _received(topics.deferrals, partition, group) | {names.MODEL: model}

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
                "slow",
                "slow",
                context.trace_id,
                span_id,
                context.span_id,
                asked.read_ms,
                None,
                self._received | own,
                () if batch is None else batch.link((context.trace_id, span_id)),
                said.error,
            )
        )
        return TraceContext(context.trace_id, span_id, is_sampled=True).header()


class JoinSpans:
    """Spans of one joiner lane."""

    def __init__(self, topics: Names, partition: int, *, group: str, tracer: Tracer) -> None:
        self._tracer = tracer
        self._topics = topics
        self._partition = partition
        self._received = _received(topics.deferrals, partition, group)
        self._deciding = _sent(*topics.joined_decisions(partition))

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
        joined = self._join(context, verdict, deferral, now_ms)
        decided = self._decide(joined, verdict, deferral, now_ms)
        told.spans += joined, decided
        return TraceContext(context.trace_id, decided.span_id, context.is_sampled).header()

    def _join(
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
            "join",
            "join",
            context.trace_id,
            new_span_id(),
            context.span_id,
            deferral.deferred_ms,
            now_ms,
            self._received | own,
            () if slow is None else ((slow.trace_id, slow.span_id),),
        )

    def _decide(self, joined: Span, verdict: Verdict, deferral: Deferral, now_ms: float) -> Span:
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
        return Span(
            "decide",
            "join",
            joined.trace_id,
            new_span_id(),
            joined.span_id,
            now_ms,
            None,
            self._deciding | own,
            is_parent_remote=False,
        )

    def _rebuilt(self, context: TraceContext, verdict: Verdict, deferral: Deferral) -> list[Span]:
        """What the fast stage would have told of a message that was not sampled."""
        if deferral.fast_span is None:
            return []
        answer, began_ms = deferral.fast, deferral.deferred_ms - deferral.fast_ms
        fast: Attributes = {
            names.SYSTEM: "kafka",
            names.DESTINATION: self._topics.messages,
            names.ORIGIN: deferral.origin,
            names.LABEL: answer.label,
            names.CONFIDENCE: answer.confidence,
            names.MODEL: answer.model,
            names.TAU: deferral.tau,
        }
        defer = _sent(self._topics.deferrals, self._partition) | {
            names.ORIGIN: deferral.origin,
            names.DEADLINE_MS: verdict.pending.deadline_ms,
            names.DELTA_MS: deferral.delta_ms,
            names.POLICY: deferral.policy,
        }
        at_ms = deferral.deferred_ms
        return [
            Span(
                "fast",
                "fast",
                context.trace_id,
                deferral.fast_span,
                deferral.parent_span,
                began_ms,
                at_ms,
                fast,
            ),
            Span(
                "defer",
                "fast",
                context.trace_id,
                context.span_id,
                deferral.fast_span,
                at_ms,
                at_ms,
                defer,
                is_parent_remote=False,
            ),
        ]


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
