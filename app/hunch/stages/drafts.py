"""What becomes of a predicted batch: decisions, deferrals and dead letters, and their spans.

A message is decided here when its score reaches τ (`fast`), when it is too old or too large to be
deferred (`fallback`), or when nobody can answer it (`error`, with a dead letter). Everything else
becomes a deferral: its own bytes, with the fast answer and a deadline beside them.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hunch.core.envelope import NUMBERS_END, Answer, Deferral, Path, Reason, origin_of
from hunch.core.exiting import Verdicts, asked_deadline_ms
from hunch.inference.predictor import Prediction, Predictor
from hunch.kafka.client import TopicPartition
from hunch.kafka.codec import (
    DEADLINE_MS,
    DeadLetter,
    Outgoing,
    encode_dead_letter,
    encode_decision,
    encode_deferral,
    header_of,
    trace_id_of,
    traceparent_of,
)
from hunch.kafka.harbour import Harbour
from hunch.kafka.names import Names
from hunch.stages.in_force import InForce
from hunch.stages.spans import FastSpans
from hunch.telemetry import Told, log_event

STAGE = "fast"
RECORD_OVERHEAD_BYTES = 200
"""What a record takes beyond its key, value and headers, generously."""
PAYLOAD_BYTES_SHOWN = 200
"""Of a message that is put aside, in the log; only where `log_payloads` asks for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafting:
    """What every fast lane of this process decides by."""

    names: Names
    in_force: InForce
    predictor: Predictor
    max_record_bytes: int
    logs_payloads: bool = False


class Columns(NamedTuple):
    """A predicted batch, and what the exit policy says of it, a column each."""

    records: Sequence[Any]
    prediction: Prediction
    verdicts: Verdicts
    chosen: Container[int]


class Arrival(NamedTuple):
    """One message as it is decided: what it is called, and how long it took so far."""

    record: Any
    origin: str
    id: str | int | None
    ingest_ms: int
    now_ms: float
    wait_ms: float
    fast_ms: float
    traceparent: bytes | None
    tau: float
    score: float | None


class Drafts:
    """What one step of a fast lane has come to: records by topic, and what is told of them.

    All of it is decided by the policy of `spans`.
    """

    def __init__(
        self, drafting: Drafting, spans: FastSpans, harbour: Harbour, partition: int
    ) -> None:
        self.told = Told()
        self._drafting = drafting
        self._policy = spans.policy
        self._harbour = harbour
        self._partition = partition
        self._decisions: list[Outgoing] = []
        self._deferrals: list[Outgoing] = []
        self._dead_letters: list[Outgoing] = []
        self._spans = spans
        self._batch = spans.batch()
        self._is_traced = harbour.tracer.is_on

    def outputs(self) -> dict[tuple[str, int], list[Outgoing]]:
        """The records to be written, by topic and partition; notes how many are deferred."""
        names, partition = self._drafting.names, self._partition
        self.told.count("deferrals", len(self._deferrals))
        outputs = {
            names.fast_decisions(partition): self._decisions,
            TopicPartition(names.deferrals, partition): self._deferrals,
            names.dead_letters_of(STAGE, partition): self._dead_letters,
        }
        return {where: records for where, records in outputs.items() if records}

    def columns(self, records: Sequence[Any], prediction: Prediction) -> Columns:
        """What the policy says of a predicted batch."""
        verdicts = self._policy.judge(prediction.probabilities, prediction.energies)
        metrics = self._harbour.metrics
        metrics.count("batches", stage=STAGE)
        metrics.observe("batch_size", [len(records)], stage=STAGE)
        metrics.observe("inference_seconds", [prediction.elapsed_ms / 1000], stage=STAGE)
        metrics.observe("confidence", verdicts.confidences, stage=STAGE)
        return Columns(
            records=records,
            prediction=prediction,
            verdicts=verdicts,
            chosen=self._spans.chosen(records),
        )

    def decide(self, columns: Columns, rows: range, now_ms: float) -> None:
        """Decides some rows of a batch."""
        policy, predictor, verdicts = self._policy, self._drafting.predictor, columns.verdicts
        errors: Mapping[int, tuple[str, str]] = columns.prediction.errors
        for row in rows:
            arrival = _arrival(columns, row, now_ms)
            is_chosen = row in columns.chosen
            if row in errors:
                self._put_aside(arrival, *errors[row], is_chosen=is_chosen)
                continue
            answer = Answer(
                label=predictor.labels[verdicts.best[row]],
                confidence=verdicts.confidences[row],
                model=predictor.model,
            )
            if verdicts.exits[row]:
                path, reason = Path.FAST, Reason.CONFIDENT
            elif policy.is_stale(arrival.ingest_ms, now_ms):
                path, reason = Path.FALLBACK, Reason.STALE
            elif self._defer(arrival, answer, is_chosen=is_chosen):
                continue
            else:
                path, reason = Path.FALLBACK, Reason.OVERSIZED
            self._decide(arrival, answer, path, reason, is_chosen=is_chosen)

    def end(self, columns: Columns, now_ms: float) -> None:
        """All rows of a batch are decided."""
        elapsed_ms = columns.prediction.elapsed_ms
        self.told.spans += self._batch.spans(now_ms - elapsed_ms, elapsed_ms, len(columns.records))
        self._batch = self._spans.batch()

    def _decide(
        self,
        arrival: Arrival,
        answer: Answer | None,
        path: Path,
        reason: Reason,
        *,
        is_chosen: bool,
        error: str | None = None,
    ) -> str | None:
        """Writes the decision; the id of its trace, where it has one."""
        policy, elapsed_ms = self._policy, arrival.now_ms - arrival.ingest_ms
        traceparent = arrival.traceparent
        if self._is_traced and (is_chosen or path is not Path.FAST or traceparent is not None):
            traceparent = self._spans.decided(
                arrival,
                answer,
                path,
                reason,
                is_chosen=is_chosen,
                error=error,
                batch=self._batch,
                told=self.told,
            )
        decision = encode_decision(
            key=arrival.record.key,
            traceparent=traceparent,
            origin=arrival.origin,
            id=arrival.id,
            said=answer,
            path=path,
            reason=reason,
            fast=answer,
            slow=None,
            score=None if answer is None else arrival.score,
            tau=arrival.tau,
            delta_ms=policy.delta_ms,
            policy=policy.name,
            at_ms=arrival.now_ms,
            times={
                "wait": arrival.wait_ms,
                "fast": arrival.fast_ms,
                "total": round(elapsed_ms, 3),
            },
            error=error,
        )
        self._decisions.append(self._fitting(decision))
        self.told.decision(path, reason, elapsed_ms)
        return trace_id_of(traceparent)

    def _defer(self, arrival: Arrival, answer: Answer, *, is_chosen: bool) -> bool:
        """Whether the message could be deferred: with all that it needs, it may be too large."""
        policy, record = self._policy, arrival.record
        asked_ms, is_ignored = asked_deadline_ms(header_of(record.headers, DEADLINE_MS))
        entered = self._spans.enter(arrival, is_chosen=is_chosen)
        deferral = Deferral(
            origin=arrival.origin,
            id=arrival.id,
            fast=answer,
            score=arrival.score,
            tau=arrival.tau,
            delta_ms=policy.delta_ms,
            policy=policy.name,
            ingest_ms=arrival.ingest_ms,
            wait_ms=arrival.wait_ms,
            fast_ms=arrival.fast_ms,
            deferred_ms=round(arrival.now_ms, 3),
            fast_span=None if entered is None else entered.span_id,
            parent_span=None if entered is None else entered.parent_id,
        )
        deadline_ms = policy.deadline_ms(arrival.now_ms, arrival.ingest_ms, asked_ms)
        traceparent = arrival.traceparent if entered is None else entered.header()
        headers = encode_deferral(deferral, deadline_ms, traceparent)
        outgoing = record.key, record.value, headers
        if self._size(outgoing) > self._drafting.max_record_bytes:
            return False
        self._deferrals.append(outgoing)
        self.told.count("deadlines_ignored", int(is_ignored))
        self._spans.deferred(
            arrival, answer, entered, deadline_ms, batch=self._batch, told=self.told
        )
        return True

    def _put_aside(self, arrival: Arrival, reason: str, sentence: str, *, is_chosen: bool) -> None:
        why = Reason(reason)
        trace_id = self._decide(arrival, None, Path.ERROR, why, is_chosen=is_chosen, error=sentence)
        if why is not Reason.TOMBSTONE:
            letter = DeadLetter(arrival.origin, STAGE, why, sentence, arrival.now_ms)
            self._dead_letters.append(encode_dead_letter(letter, arrival.record))
            self.told.count("dead_letters", stage=STAGE, reason=why)
            shown = {}
            if self._drafting.logs_payloads:
                start = (arrival.record.value or b"")[:PAYLOAD_BYTES_SHOWN]
                shown["payload"] = start.decode("utf-8", "backslashreplace")
            log_event(
                "dead_letter",
                stage=STAGE,
                origin=arrival.origin,
                reason=why,
                message=sentence,
                trace_id=trace_id,
                **shown,
            )

    def _fitting(self, decision: Outgoing) -> Outgoing:
        """A decision without its key, where the input's key is too large to be written again."""
        key, value, headers = decision
        is_too_large = key is not None and self._size(decision) > self._drafting.max_record_bytes
        return (None, value, headers) if is_too_large else decision

    @staticmethod
    def _size(record: Outgoing) -> int:
        key, value, headers = record
        heads = sum(len(name) + len(text) for name, text in headers)
        return len(key or b"") + len(value or b"") + heads + RECORD_OVERHEAD_BYTES


def _arrival(columns: Columns, row: int, now_ms: float) -> Arrival:
    record, prediction = columns.records[row], columns.prediction
    is_time = 0 <= record.timestamp < NUMBERS_END
    ingest_ms = record.timestamp if is_time else int(now_ms)
    return Arrival(
        record=record,
        origin=origin_of(record.topic, record.partition, record.offset),
        id=prediction.ids[row],
        ingest_ms=ingest_ms,
        now_ms=now_ms,
        wait_ms=max(0.0, round(now_ms - prediction.elapsed_ms - ingest_ms, 3)),
        fast_ms=round(prediction.elapsed_ms, 3),
        traceparent=traceparent_of(record.headers) if record.headers else None,
        tau=columns.verdicts.taus[row],
        score=None if columns.verdicts.scores is None else columns.verdicts.scores[row],
    )
