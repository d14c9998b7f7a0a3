"""The fast stage: reads messages, decides at once what the fast model is sure of, defers the rest.

What becomes of each message is said in `drafts`.
"""

import sys
from collections import deque
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hunch.core.envelope import Reason
from hunch.core.exiting import ExitPolicy
from hunch.errors import ConfigError, InferenceFailed, WireError
from hunch.inference.halving import by_halves
from hunch.inference.predictor import Prediction
from hunch.kafka.client import OffsetAndMetadata, Record, TopicPartition
from hunch.kafka.codec import HUNCH, ORIGIN, decode_deferral, header_of, integer
from hunch.kafka.harbour import Harbour
from hunch.kafka.lane import Chunk, Lane
from hunch.kafka.log_checks import made_anew
from hunch.kafka.metadata import pack, unpack
from hunch.kafka.readback import read_back, read_back_last
from hunch.stages.drafts import Drafting, Drafts
from hunch.stages.spans import FastSpans

MARKS = ("decisions", "deferrals")
"""What the ends of the outputs are called in a commit's metadata."""
SLICE_RECORDS = 100
"""Messages decided in one slice of work on the event loop: about 1 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FastStage(Drafting):
    """What every fast lane of this process shares."""

    def lane(self, harbour: Harbour, partition: int, term: int) -> "FastLane":
        """The lane of one partition."""
        self.names.require(partition)
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
        self._spans = self._spans_under(fast.in_force.policy)
        self._already_decided: set[int] = set()
        self._ends: dict[TopicPartition, int] = {}
        self._inherited: dict[TopicPartition, int] = {}
        self._inherited_to = 0
        self._in_hand: deque[tuple[int, int]] = deque()

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

        The commit names the ends of this lane's outputs. Where it cannot be trusted, or nothing was
        ever committed, the outputs are right, and the commit is not: with transactions they end at
        the message before the next one; without, any message may lack its output.
        """
        del first, ends
        harbour, (start, text) = self.harbour, committed[self._input]
        outputs = [self._decisions, self._deferrals]
        first_of, self._ends = await self.in_time(harbour.reader.log_ends(outputs))
        # Asked for after the outputs: none of these can be about a message that comes later.
        end = (await self.in_time(harbour.reader.ends([self._input])))[self._input]
        marks = unpack(text) if start >= 0 else None
        # An output without an end is another topic than the commit speaks of.
        known = {
            tp: (marks or {}).get(name, 0) if self._ends[tp] else 0
            for tp, name in zip(outputs, MARKS, strict=True)
        }
        if marks is None or any(known[tp] > self._ends[tp] for tp in outputs):
            known = first_of
            if start >= 0:
                self.note_foreign(start)
            if harbour.policy.is_exactly_once:
                start = await self._after_the_outputs(first_of, start, end)
                known = self._ends
        self._inherited = dict(known)
        self._already_decided = await read_back(
            harbour.client,
            harbour.clock,
            {tp: (known[tp], self._ends[tp]) for tp in outputs},
            lambda record: self._input_offset(record, start, end),
            timeout_ms=harbour.policy.takeover_timeout_ms,
        )
        self._inherited_to = max(self._already_decided, default=-1) + 1
        return {self._input: start}

    async def _after_the_outputs(
        self, first_of: Mapping[TopicPartition, int], start: int, end: int
    ) -> int:
        """The message after the last one that has its output; `start` where none has.

        Raises `ConfigError` where the outputs know of messages that the log does not have, and
        where nothing says any more what was decided.
        """
        last = -1
        for tp in (self._decisions, self._deferrals):
            found = await read_back_last(
                self.harbour.client,
                self.harbour.clock,
                tp,
                (first_of[tp], self._ends[tp]),
                lambda record: self._input_offset(record, 0, sys.maxsize),
                timeout_ms=self.harbour.policy.takeover_timeout_ms,
            )
            last = max([last, *found])
        if last >= end:
            raise made_anew(f"{self._decisions.topic} goes on to offset {last}", self._input, end)
        if last < 0 and start < 0 and any(first_of.values()):
            raise ConfigError(
                f"Group {self.harbour.member.group} has no offset of {self._input.topic}-"
                f"{self._input.partition}, and the decisions that it led to are past their "
                "retention: nobody knows what was decided. Set the offset to go on from with "
                "`kafka-consumer-groups.sh --reset-offsets`, then start again."
            )
        return start if last < 0 else last + 1

    async def work(self) -> None:
        """Takes what waits, predicts it, decides it; the next batch is predicted meanwhile."""
        queue = self.inbox[self._input]
        position = self.seen[self._input]
        while not self.is_draining:
            self.check()
            records, answered_bytes = self._take(queue)
            if not records:
                if self.seen[self._input] > position:
                    position = self.seen[self._input]
                    await self.hand_over(Chunk({}, self._offsets(position)))
                self.wake.clear()
                if not queue:
                    await self.wake.wait()
                continue
            position = records[-1].offset + 1
            self._in_hand.append((position, records[0].timestamp))
            if self._already_decided:
                records = self._skip_decided(records)
            exit_policy = self._fast.in_force.policy
            predictions = await self._predict(records, exit_policy.temperature)
            chunk = await self._decide(predictions, exit_policy, position)
            chunk.answered_bytes = answered_bytes
            await self.hand_over(chunk)

    def acknowledged(self, chunk: Chunk, ends: Mapping[tuple[str, int], int]) -> None:
        """Remembers where the outputs end, and what is done."""
        done_to = chunk.offsets[self._input].offset
        while self._in_hand and self._in_hand[0][0] <= done_to:
            self._in_hand.popleft()
        self._ends |= {TopicPartition(*where): end for where, end in ends.items()}

    def is_busy(self, now_ms: float) -> bool:
        """Whether it has messages that are not decided, or decisions that are not in the log."""
        return bool(self._in_hand) or super().is_busy(now_ms)

    def oldest_ms(self, now_ms: float) -> float | None:
        """The timestamp of the oldest of them."""
        if self._in_hand and self._in_hand[0][1] >= 0:
            return self._in_hand[0][1]
        return super().oldest_ms(now_ms)

    def _input_offset(self, record: Record, start: int, end: int) -> int | None:
        """Which message from `start` up to `end` an output of this lane belongs to."""
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
        return number if is_own and number is not None and start <= number < end else None

    def _take(self, queue: deque[Any]) -> tuple[list[Any], int]:
        """What goes into one delivery, and the bytes of its messages."""
        most, most_bytes = self.max_delivery_messages, self.harbour.policy.max_delivery_bytes
        records: list[Any] = []
        size = 0
        while queue and len(records) < most and size <= most_bytes:
            record = queue.popleft()
            size += len(record.value or b"")
            records.append(record)
        return records, size

    def _skip_decided(self, records: list[Any]) -> list[Any]:
        fresh = [record for record in records if record.offset not in self._already_decided]
        self._already_decided.difference_update(record.offset for record in records)
        if skipped := len(records) - len(fresh):
            self.harbour.metrics.count("duplicates_skipped", skipped, stage=self.stage)
        return fresh

    async def _predict(
        self, records: list[Any], temperature: float | None
    ) -> list[tuple[list[Any], Prediction]]:
        """Predicts a batch; where the model fails on it as a whole, halves find the culprit."""
        if not records:
            return []

        def ask(part: Sequence[Any]) -> Awaitable[Prediction]:
            return self._fast.predictor.predict([it.value for it in part], temperature)

        return [
            (list(part), _failed(str(it)) if isinstance(it, InferenceFailed) else it)
            for part, it in await by_halves(records, ask)
        ]

    async def _decide(
        self, predictions: list[tuple[list[Any], Prediction]], policy: ExitPolicy, position: int
    ) -> Chunk:
        """Decides in slices, so that timers and heartbeats of this process are not kept waiting."""
        clock = self.harbour.clock
        if policy is not self._spans.policy:
            self._spans = self._spans_under(policy)
        drafts = Drafts(self._fast, self._spans, self.harbour, self.partition)
        for records, prediction in predictions:
            columns = drafts.columns(records, prediction)
            for start in range(0, len(records), SLICE_RECORDS):
                rows = range(start, min(start + SLICE_RECORDS, len(records)))
                drafts.decide(columns, rows, clock.now_ms())
                await clock.sleep(0)
            drafts.end(columns, clock.now_ms())
        return Chunk(drafts.outputs(), self._offsets(position), told=drafts.told)

    def _spans_under(self, policy: ExitPolicy) -> FastSpans:
        return FastSpans(
            self._fast.names,
            self.partition,
            policy=policy,
            model=self._fast.predictor.model,
            group=self.harbour.member.group,
            tracer=self.harbour.tracer,
        )

    def _offsets(self, position: int) -> dict[TopicPartition, OffsetAndMetadata]:
        """Everything below `position` has its output; the numbers say where later ones start."""
        if not self.inbox[self._input]:
            position = max(position, self.seen[self._input])
        # Outputs that were read back lie below the ends: until they are passed, so do the marks.
        marks = self._ends if position >= self._inherited_to else self._inherited
        numbers = {"decisions": marks[self._decisions], "deferrals": marks[self._deferrals]}
        return {self._input: OffsetAndMetadata(position, pack(self.owner_mark, position, numbers))}


def _failed(sentence: str) -> Prediction:
    """A single message on which the model itself fails."""
    return Prediction(
        ids=[None],
        probabilities=np.zeros((1, 1), dtype=np.float32),
        errors={0: (Reason.BAD_INPUT, sentence)},
        elapsed_ms=0.0,
    )
