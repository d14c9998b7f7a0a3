"""The fast stage: reads messages, decides at once what the fast model is sure of, defers the rest.

A message is decided here when its score reaches τ (`fast`), when it is too old or too large to be
deferred (`fallback`), or when nobody can answer it (`error`, with a dead letter). Everything else
becomes a deferral: its own bytes, with the fast answer and a deadline beside them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from hunch.core.confidence import max_probability
from hunch.core.envelope import Answer, Deferral, Path, Reason, origin_of
from hunch.core.exiting import ExitPolicy, asked_deadline_ms
from hunch.errors import InferenceFailed, WireError
from hunch.inference.predictor import Prediction, Predictor
from hunch.kafka.client import OffsetAndMetadata, Record, TopicPartition
from hunch.kafka.codec import (
    DEADLINE_MS,
    HUNCH,
    ORIGIN,
    DeadLetter,
    Outgoing,
    decode_deferral,
    encode_dead_letter,
    encode_decision,
    encode_deferral,
    header_of,
    integer,
    traceparent_of,
)
from hunch.kafka.lane import Chunk, Harbour, Lane
from hunch.kafka.metadata import pack, unpack
from hunch.kafka.names import Names
from hunch.kafka.readback import read_back
from hunch.telemetry import Told

SLICE_RECORDS = 100
"""Messages decided in one slice of work on the event loop: about 1 ms."""
RECORD_OVERHEAD_BYTES = 200
"""What a record takes beyond its key, value and headers, generously."""


Outputs = dict[tuple[str, int], list[Outgoing]]


class Columns(NamedTuple):
    """What the exit policy says of a predicted batch, a list each."""

    exits: list[bool]
    confidences: list[float]
    best: list[int]


class Arrival(NamedTuple):
    """One message as it is decided: what it is called, and how long it took so far."""

    record: Any
    origin: str
    id: str | int | None
    ingest_ms: int
    now_ms: float
    wait_ms: float
    fast_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FastStage:
    """What every fast lane of this process shares."""

    names: Names
    policy: ExitPolicy
    predictor: Predictor
    max_record_bytes: int

    def lane(self, harbour: Harbour, partition: int, term: int) -> "FastLane":
        """The lane of one partition."""
        return FastLane(self, harbour, partition, term)


class FastLane(Lane):
    """messages[p] → decisions[p], deferrals[p], dead-letters[p]."""

    stage = "fast"

    def __init__(self, fast: FastStage, harbour: Harbour, partition: int, term: int) -> None:
        super().__init__(harbour, partition, term)
        self._fast = fast
        self._input = TopicPartition(fast.names.messages, partition)
        self._decisions = fast.names.fast_decisions(partition)
        self._deferrals = TopicPartition(fast.names.deferrals, partition)
        self._dead_letters = fast.names.dead_letters_of(self.stage, partition)
        self._already_decided: set[int] = set()
        self._ends: dict[TopicPartition, int] = {}
        self._inherited: dict[TopicPartition, int] = {}
        self._inherited_to = 0

    def inputs(self) -> list[TopicPartition]:
        """One partition of `messages`."""
        return [self._input]

    async def rebuild(
        self,
        committed: Mapping[TopicPartition, OffsetAndMetadata],
        first: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
    ) -> dict[TopicPartition, int]:
        """Reads back which messages from the committed offset on have their output already.

        The commit names the ends of this lane's outputs; where it cannot be read, or nothing was
        ever committed, the outputs are read from their start: they are right, the commit is not.
        """
        del first, ends
        harbour, (start, text) = self.harbour, committed[self._input]
        outputs = [self._decisions, self._deferrals]
        _, self._ends = await harbour.reader.log_ends(outputs)
        marks = unpack(text) if start >= 0 else None
        if marks is None and start >= 0:
            harbour.metrics.count("foreign_records", stage=self.stage)
        known = [(marks or {}).get(name, 0) for name in ("decisions", "deferrals")]
        if any(mark > self._ends[tp] for tp, mark in zip(outputs, known, strict=True)):
            known = [0, 0]
        self._inherited = dict(zip(outputs, known, strict=True))
        self._already_decided = await read_back(
            harbour.client,
            harbour.clock,
            {tp: (mark, self._ends[tp]) for tp, mark in zip(outputs, known, strict=True)},
            lambda record: self._input_offset(record, start),
        )
        self._inherited_to = max(self._already_decided, default=-1) + 1
        return {self._input: start}

    async def work(self) -> None:
        """Takes what waits, predicts it, decides it; the next batch is predicted meanwhile."""
        queue = self.inbox[self._input]
        policy = self.harbour.policy
        position = self.seen[self._input]
        while not self.is_draining:
            self.check()
            records = [
                queue.popleft() for _ in range(min(len(queue), policy.max_delivery_messages))
            ]
            if not records:
                if self.seen[self._input] > position:
                    position = self.seen[self._input]
                    await self.hand_over(Chunk({}, self._offsets(position)))
                self.wake.clear()
                if not queue:
                    await self.wake.wait()
                continue
            position = records[-1].offset + 1
            if self._already_decided:
                records = self._skip_decided(records)
            predictions = await self._predict(records)
            await self.hand_over(await self._decide(predictions, position))

    def acknowledged(self, chunk: Chunk, ends: Mapping[tuple[str, int], int]) -> None:
        """Remembers where the outputs end."""
        del chunk
        self._ends |= {TopicPartition(*where): end for where, end in ends.items()}

    def _input_offset(self, record: Record, start: int) -> int | None:
        """Which message from `start` on an output of this lane belongs to."""
        if record.topic == self._decisions.topic:
            origin = (header_of(record.headers, ORIGIN) or b"").decode("utf-8", "replace")
        else:
            try:
                origin = decode_deferral(header_of(record.headers, HUNCH) or b"").origin
            except WireError:
                return None
        name, _, offset = origin.rpartition("-")
        is_own = name == f"{self._input.topic}-{self._input.partition}"
        number = integer(offset.encode())
        return number if is_own and number is not None and number >= start else None

    def _skip_decided(self, records: list[Any]) -> list[Any]:
        fresh = [record for record in records if record.offset not in self._already_decided]
        self._already_decided.difference_update(record.offset for record in records)
        if skipped := len(records) - len(fresh):
            self.harbour.metrics.count("duplicates_skipped", skipped, stage=self.stage)
        return fresh

    async def _predict(self, records: list[Any]) -> list[tuple[list[Any], Prediction]]:
        """Predicts a batch; where the model fails on it as a whole, halves find the culprit."""
        if not records:
            return []
        try:
            prediction = await self._fast.predictor.predict([record.value for record in records])
        except InferenceFailed as error:
            if len(records) == 1:
                return [(records, _failed(str(error)))]
            middle = len(records) // 2
            return await self._predict(records[:middle]) + await self._predict(records[middle:])
        return [(records, prediction)]

    async def _decide(
        self, predictions: list[tuple[list[Any], Prediction]], position: int
    ) -> Chunk:
        """Decides in slices, so that timers and heartbeats of this process are not kept waiting."""
        outputs: Outputs = {self._decisions: [], self._deferrals: [], self._dead_letters: []}
        told, metrics = Told(), self.harbour.metrics
        for records, prediction in predictions:
            scores = max_probability(prediction.probabilities)
            metrics.count("batches", stage=self.stage)
            metrics.observe("batch_size", [len(records)], stage=self.stage)
            metrics.observe("inference_seconds", [prediction.elapsed_ms / 1000], stage=self.stage)
            metrics.observe("confidence", scores, stage=self.stage)
            columns = Columns(
                exits=self._fast.policy.exits(scores).tolist(),
                confidences=scores.tolist(),
                best=np.argmax(prediction.probabilities, axis=1).tolist(),
            )
            for start in range(0, len(records), SLICE_RECORDS):
                rows = range(start, min(start + SLICE_RECORDS, len(records)))
                self._decide_rows(rows, records, prediction, columns, outputs, told)
                await self.harbour.clock.sleep(0)
        told.count("deferrals", len(outputs[self._deferrals]))
        written = {where: out for where, out in outputs.items() if out}
        return Chunk(written, self._offsets(position), told=told)

    def _decide_rows(
        self,
        rows: range,
        records: list[Any],
        prediction: Prediction,
        columns: Columns,
        outputs: Outputs,
        told: Told,
    ) -> None:
        policy, predictor, now_ms = (
            self._fast.policy,
            self._fast.predictor,
            self.harbour.clock.now_ms(),
        )
        exits, confidences, best = columns
        for row in rows:
            record = records[row]
            arrival = _arrival(record, prediction, row, now_ms)
            if row in prediction.errors:
                self._put_aside(arrival, *prediction.errors[row], outputs, told)
                continue
            answer = Answer(
                label=predictor.labels[best[row]],
                confidence=confidences[row],
                model=predictor.model,
            )
            if exits[row]:
                path, reason = Path.FAST, Reason.CONFIDENT
            elif policy.is_stale(arrival.ingest_ms, now_ms):
                path, reason = Path.FALLBACK, Reason.STALE
            else:
                deferral = self._defer(arrival, answer)
                if self._size(deferral) <= self._fast.max_record_bytes:
                    outputs[self._deferrals].append(deferral)
                    continue
                path, reason = Path.FALLBACK, Reason.OVERSIZED
            exit_ = self._exit(arrival, answer, path, reason)
            outputs[self._decisions].append(self._fitting(exit_))
            told.decision(path, reason, now_ms - arrival.ingest_ms)

    def _exit(
        self,
        arrival: Arrival,
        answer: Answer | None,
        path: Path,
        reason: Reason,
        *,
        error: str | None = None,
    ) -> Outgoing:
        policy = self._fast.policy
        return encode_decision(
            key=arrival.record.key,
            traceparent=traceparent_of(arrival.record.headers),
            origin=arrival.origin,
            id=arrival.id,
            said=answer,
            path=path,
            reason=reason,
            fast=answer,
            slow=None,
            tau=policy.tau,
            delta_ms=policy.delta_ms,
            policy=policy.name,
            at_ms=arrival.now_ms,
            times={
                "wait": arrival.wait_ms,
                "fast": arrival.fast_ms,
                "total": round(arrival.now_ms - arrival.ingest_ms, 3),
            },
            error=error,
        )

    def _defer(self, arrival: Arrival, answer: Answer) -> Outgoing:
        policy, record = self._fast.policy, arrival.record
        asked_ms, is_ignored = asked_deadline_ms(header_of(record.headers, DEADLINE_MS))
        if is_ignored:
            self.harbour.metrics.count("deadlines_ignored")
        deferral = Deferral(
            origin=arrival.origin,
            id=arrival.id,
            fast=answer,
            tau=policy.tau,
            delta_ms=policy.delta_ms,
            policy=policy.name,
            ingest_ms=arrival.ingest_ms,
            wait_ms=arrival.wait_ms,
            fast_ms=arrival.fast_ms,
            deferred_ms=round(arrival.now_ms, 3),
        )
        deadline_ms = policy.deadline_ms(arrival.now_ms, arrival.ingest_ms, asked_ms)
        traceparent = traceparent_of(record.headers)
        return record.key, record.value, encode_deferral(deferral, deadline_ms, traceparent)

    def _put_aside(
        self, arrival: Arrival, reason: str, sentence: str, outputs: Outputs, told: Told
    ) -> None:
        why = Reason(reason)
        decision = self._exit(arrival, None, Path.ERROR, why, error=sentence)
        outputs[self._decisions].append(self._fitting(decision))
        told.decision(Path.ERROR, why, arrival.now_ms - arrival.ingest_ms)
        if why is not Reason.TOMBSTONE:
            told.count("dead_letters", stage=self.stage, reason=why)
            letter = DeadLetter(arrival.origin, self.stage, why, sentence, arrival.now_ms)
            outputs[self._dead_letters].append(encode_dead_letter(letter, arrival.record))

    def _offsets(self, position: int) -> dict[TopicPartition, OffsetAndMetadata]:
        """Everything below `position` has its output; the numbers say where later ones start."""
        if not self.inbox[self._input]:
            position = max(position, self.seen[self._input])
        # Outputs that were read back lie below the ends: until they are passed, so do the marks.
        marks = self._ends if position >= self._inherited_to else self._inherited
        numbers = {"decisions": marks[self._decisions], "deferrals": marks[self._deferrals]}
        return {self._input: OffsetAndMetadata(position, pack(self.owner_mark, numbers))}

    def _fitting(self, decision: Outgoing) -> Outgoing:
        """A decision without its key, where the input's key is too large to be written again."""
        key, value, headers = decision
        is_too_large = key is not None and self._size(decision) > self._fast.max_record_bytes
        return (None, value, headers) if is_too_large else decision

    @staticmethod
    def _size(record: Outgoing) -> int:
        key, value, headers = record
        heads = sum(len(name) + len(text) for name, text in headers)
        return len(key or b"") + len(value or b"") + heads + RECORD_OVERHEAD_BYTES


def _arrival(record: Any, prediction: Prediction, row: int, now_ms: float) -> Arrival:
    ingest_ms = record.timestamp if record.timestamp >= 0 else int(now_ms)
    return Arrival(
        record=record,
        origin=origin_of(record.topic, record.partition, record.offset),
        id=prediction.ids[row],
        ingest_ms=ingest_ms,
        now_ms=now_ms,
        wait_ms=max(0.0, round(now_ms - prediction.elapsed_ms - ingest_ms, 3)),
        fast_ms=round(prediction.elapsed_ms, 3),
    )


def _failed(sentence: str) -> Prediction:
    """A single message on which the model itself fails."""
    return Prediction(
        ids=[None],
        probabilities=np.zeros((1, 1), dtype=np.float32),
        errors={0: (Reason.BAD_INPUT, sentence)},
        elapsed_ms=0.0,
    )
