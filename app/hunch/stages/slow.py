"""The slow stage: answers every deferral whose deadline has not passed, in micro-batches.

All lanes of the process share one queue, ordered by deadline, and one worker that runs the model. A
deferral gets a result, an error, or `shed` when it would miss its deadline anyway; an expired one
gets nothing, the joiner has decided it. Answers are keyed by deferral offset and may repeat after a
crash; what is committed is the contiguous prefix whose answers are acknowledged.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from hunch.clock import Clock
from hunch.core.batching import BatchPolicy, BatchState, ServiceTimes, Taken, Waiting
from hunch.core.confidence import max_probability
from hunch.core.envelope import Answer, SlowResult
from hunch.core.offsets import ContiguousPrefix
from hunch.errors import InferenceFailed, WireError
from hunch.inference.predictor import Prediction, Predictor
from hunch.kafka.client import OffsetAndMetadata, TopicPartition
from hunch.kafka.codec import encode_result, read_deferral
from hunch.kafka.harbour import Harbour
from hunch.kafka.lane import Chunk, Lane
from hunch.kafka.metadata import pack
from hunch.kafka.names import Names
from hunch.stages.in_force import InForce
from hunch.stages.spans import Asked, SlowSpans
from hunch.telemetry import Metrics, Tracer, log_event, tracecontext
from hunch.telemetry.names import MODEL, STAGE, GaugeName
from hunch.telemetry.traces import BatchSpan, Form


class Work(NamedTuple):
    """One deferral that waits for the model."""

    lane: "SlowLane"
    offset: int
    key: bytes | None
    value: bytes | None
    origin: str
    policy: str
    asked: Asked | None


class Ran(NamedTuple):
    """When a batch was in the model."""

    start_ms: float
    elapsed_ms: float


class Result(NamedTuple):
    """What the joiner is told of one deferral."""

    said: SlowResult
    probabilities: Any = None


class SlowStage:
    """The queue and the worker that all slow lanes of this process share."""

    def __init__(
        self,
        *,
        names: Names,
        predictor: Predictor,
        in_force: InForce,
        policy: BatchPolicy,
        times: ServiceTimes,
        max_queue: int,
        clock: Clock,
        metrics: Metrics,
        tracer: Tracer,
    ) -> None:
        self.names = names
        self.predictor = predictor
        self.max_queue = max_queue
        self._in_force = in_force
        self.queue = BatchState(policy, times)
        self.arrived = asyncio.Event()
        self._times = times
        self._clock = clock
        self._metrics = metrics
        self.is_traced = tracer.is_on
        about = {STAGE: "slow", MODEL: predictor.model}
        self._batch_form = Form("slow batch", "slow", about)

    def lane(self, harbour: Harbour, partition: int, term: int) -> "SlowLane":
        """The lane of one partition."""
        self.names.require(partition)
        return SlowLane(self, harbour, partition, term)

    async def run(self) -> None:
        """Releases batches as the policy says, and runs them one at a time."""
        while True:
            release_ms = self.queue.next_release_ms()
            if release_ms is None:
                self.arrived.clear()
                await self.arrived.wait()
            elif release_ms > (now_ms := self._clock.now_ms()):
                self.arrived.clear()
                await self._wait_for_arrival(release_ms - now_ms)
            else:
                await self._run_batch(self.queue.take(now_ms))

    async def _wait_for_arrival(self, timeout_ms: float) -> None:
        try:
            await self._clock.wait_for(self.arrived.wait(), timeout_ms)
        except TimeoutError:
            return

    async def _run_batch(self, taken: Taken) -> None:
        self._answer_unrun(taken)
        works: list[Work] = [waiting.work for waiting in taken.batch]
        if not works:
            return
        by_temperature: dict[float | None, list[Work]] = {}
        for work in works:
            work.lane.running.add(work.offset)
            temperature = self._in_force.slow_temperature(work.policy)
            by_temperature.setdefault(temperature, []).append(work)
        for temperature, part in by_temperature.items():  # more than one after a push only
            await self._answer(part, temperature)

    async def _answer(self, works: list[Work], temperature: float | None) -> None:
        began_ms = self._clock.now_ms()
        try:
            values = [work.value for work in works]
            prediction = await self.predictor.predict(values, temperature)
        except InferenceFailed as error:
            log_event("slow_model_failed", error=str(error), messages=len(works))
            results = [self._unanswered(work, error=str(error)) for work in works]
            elapsed_ms = self._clock.now_ms() - began_ms
        else:
            elapsed_ms = self._clock.now_ms() - began_ms
            self._times.observe(len(works), elapsed_ms)
            self._metrics.observe("inference_seconds", [elapsed_ms / 1000], stage="slow")
            results = self._results(works, prediction)
        self._metrics.count("batches", stage="slow")
        self._metrics.observe("batch_size", [len(works)], stage="slow")
        self._hand_back(works, results, Ran(began_ms, elapsed_ms))

    def _answer_unrun(self, taken: Taken) -> None:
        if taken.expired:
            works = [waiting.work for waiting in taken.expired]
            self._metrics.count("expired", len(works))
            self._hand_back(works, [None] * len(works))
        if taken.shed:
            works = [waiting.work for waiting in taken.shed]
            self._hand_back(works, [self._unanswered(work, shed=True) for work in works])

    def _hand_back(
        self, works: list[Work], results: Sequence[Result | None], ran: Ran | None = None
    ) -> None:
        chunks: dict[SlowLane, Chunk] = {}
        batch = None if ran is None else BatchSpan(self._batch_form)
        for work, result in zip(works, results, strict=True):
            if work.lane not in chunks:
                chunks[work.lane] = Chunk({}, {})
            chunk = chunks[work.lane]
            chunk.done.append(work.offset)
            if result is not None:
                said, told = result.said, chunk.told
                if work.asked is not None:
                    traceparent = work.lane.spans.answered(work.asked, said, batch, told)
                    said = replace(said, traceparent=traceparent)
                value, headers = encode_result(said, result.probabilities)
                chunk.outputs.setdefault(work.lane.results, []).append((work.key, value, headers))
                told.count("slow_answers", outcome=said.outcome)
        if batch is not None and ran is not None:
            chunks[works[0].lane].told.spans += batch.spans(*ran, len(works))
        for lane, chunk in chunks.items():
            lane.answer(chunk)

    def _results(self, works: list[Work], prediction: Prediction) -> list[Result]:
        confidences = max_probability(prediction.probabilities)
        self._metrics.observe("confidence", confidences, stage="slow")
        scores = confidences.tolist()
        best = np.argmax(prediction.probabilities, axis=1).tolist()
        results = []
        for row, work in enumerate(works):
            if row in prediction.errors:
                results.append(self._unanswered(work, error=prediction.errors[row][1]))
                continue
            answer = Answer(
                label=self.predictor.labels[best[row]],
                confidence=scores[row],
                model=self.predictor.model,
            )
            said = SlowResult(
                origin=work.origin,
                deferral=work.offset,
                model=self.predictor.model,
                answer=answer,
                slow_ms=round(prediction.elapsed_ms, 3),
            )
            results.append(Result(said, prediction.probabilities[row]))
        return results

    def _unanswered(self, work: Work, *, error: str | None = None, shed: bool = False) -> Result:
        said = SlowResult(
            origin=work.origin,
            deferral=work.offset,
            model=self.predictor.model,
            error=error,
            shed=shed,
        )
        return Result(said)


class SlowLane(Lane):
    """deferrals[p] → slow-results[p]."""

    stage = "slow"

    def __init__(self, slow: SlowStage, harbour: Harbour, partition: int, term: int) -> None:
        super().__init__(harbour, partition, term)
        self.running: set[int] = set()
        self._slow = slow
        self._input = TopicPartition(slow.names.deferrals, partition)
        self.results = TopicPartition(slow.names.slow_results, partition)
        self._prefix = ContiguousPrefix(0)
        self._stamps: deque[tuple[int, int]] = deque()
        self.spans = SlowSpans(
            slow.names, partition, model=slow.predictor.model, group=harbour.member.group
        )
        self._committed = -1
        self._is_closed = False

    def inputs(self) -> list[TopicPartition]:
        """One partition of `deferrals`."""
        return [self._input]

    async def rebuild(
        self,
        committed: Mapping[TopicPartition, OffsetAndMetadata],
        first: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
    ) -> dict[TopicPartition, int]:
        """Goes on from the committed prefix; answering again does no harm."""
        del first, ends
        start = committed[self._input].offset
        self._prefix = ContiguousPrefix(max(start, 0))
        return {self._input: start}

    async def work(self) -> None:
        """Queues what arrives; when draining, waits for what the model has in hand."""
        try:
            while not self.is_draining:
                self.check()
                self._queue_arrivals()
                self._note_position()
                self.wake.clear()
                if not self.inbox[self._input] and not self.is_draining:
                    await self.wake.wait()
            self._withdraw()
            while self.running:
                self.wake.clear()
                await self.wake.wait()
        finally:
            self._is_closed = True
            self._withdraw()

    def is_full(self, partition: TopicPartition) -> bool:
        """Whether reading pauses: while the queue of this partition is at its bound."""
        del partition
        return len(self._prefix) + self.waiting >= self._slow.max_queue

    def answer(self, chunk: Chunk) -> None:
        """Hands out what was answered, or skipped, unless the lane is closed by now."""
        self.running.difference_update(chunk.done)
        self.wake.set()
        if not self._is_closed:
            self.put(chunk)

    def acknowledged(self, chunk: Chunk, ends: Mapping[tuple[str, int], int]) -> None:
        """Answers are in the log: the prefix grows."""
        del ends
        for offset in chunk.done:
            self._prefix.done(offset)
        self._note_position()

    def is_busy(self, now_ms: float) -> bool:
        """Whether a deferral waits for its answer, or an answer for the broker."""
        return bool(self._prefix) or super().is_busy(now_ms)

    def oldest_ms(self, now_ms: float) -> float | None:
        """The timestamp of the oldest deferral that is not answered or skipped."""
        if self._stamps and self._stamps[0][1] >= 0:
            return self._stamps[0][1]
        return super().oldest_ms(now_ms)

    def held(self) -> Mapping[GaugeName, int]:
        """Deferrals read and not answered or skipped yet, finished ones behind them included."""
        return {"slow_queue": len(self._prefix) + self.waiting}

    def _queue_arrivals(self) -> None:
        now_ms = self.harbour.clock.now_ms()
        inbox = self.inbox[self._input]
        expired: list[int] = []
        while inbox:
            record = inbox.popleft()
            self._prefix.start(record.offset)
            self._stamps.append((record.offset, record.timestamp))
            work = self._read(record, now_ms)
            if work is None or work.deadline_ms <= now_ms:
                expired.append(record.offset)
            else:
                self._slow.queue.on_arrival(work.deadline_ms, work.work, now_ms)
        if expired:
            self.harbour.metrics.count("expired", len(expired))
            self.put(Chunk({}, {}, expired))
        self._slow.arrived.set()

    def _read(self, record: Any, now_ms: float) -> Waiting | None:
        """What has to be done for a deferral; None for one that makes no sense."""
        try:
            read = read_deferral(record.headers)
        except WireError:
            self.harbour.metrics.count("foreign_records", stage=self.stage)
            return None
        asked = None
        if self._slow.is_traced and read.traceparent is not None:
            context = tracecontext.parsed(read.traceparent)
            if context is not None and context.is_sampled:
                asked = Asked(context, record.offset, read.origin, now_ms)
        work = Work(self, record.offset, record.key, record.value, read.origin, read.policy, asked)
        return Waiting(read.deadline_ms, 0, work)

    def _note_position(self) -> None:
        if not self.inbox[self._input]:
            self._prefix.passed(self.seen[self._input])
        committable = self._prefix.committable()
        while self._stamps and self._stamps[0][0] < committable:
            self._stamps.popleft()
        if committable > self._committed:
            self._committed = committable
            self.note(
                {
                    self._input: OffsetAndMetadata(
                        committable, pack(self.owner_mark, committable, {})
                    )
                }
            )

    def _withdraw(self) -> None:
        self._slow.queue.remove(lambda work: work.lane is self)
