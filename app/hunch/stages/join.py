"""The joiner: pairs deferrals with slow results, and lets the fast answer stand at the deadline.

Its task waits for records and for the next deadline, whichever comes first; reading is another
task, so a fallback is due although no record arrives. However much is pending, `deferrals` does not
pause; it does while more is read than was looked at.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from hunch.core.envelope import Reason, origin_of
from hunch.core.joining import Inherited, JoinPolicy, JoinState, Late, Positions, Verdict
from hunch.core.progress import ShortestLately
from hunch.errors import WireError
from hunch.kafka.client import Header, OffsetAndMetadata, Record, TopicPartition
from hunch.kafka.codec import (
    DEFERRAL,
    ORIGIN,
    DeadLetter,
    Outgoing,
    decode_deferral,
    decode_result,
    encode_dead_letter,
    encode_verdict,
    header_of,
    integer,
    read_deferral,
    trace_id_of,
    traceparent_of,
)
from hunch.kafka.harbour import Harbour
from hunch.kafka.lane import Chunk, Lane
from hunch.kafka.metadata import pack, unpack
from hunch.kafka.names import Names
from hunch.kafka.readback import read_back
from hunch.stages.spans import JoinSpans
from hunch.telemetry import Told, log_event
from hunch.telemetry.names import GaugeName

SLICE_RECORDS = 60
"""Deferrals, results and timers, of each so many, in one slice of work on the event loop."""
IDLE_COMMIT_MS = 1_000.0
LONGEST_WAIT_MS = 1_000.0
"""Without a look at the clock: where it was set forward, deadlines are nearer than they were."""


class Headed(NamedTuple):
    """A deferral without its payload."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    headers: Sequence[Header]
    timestamp: int
    value: None = None

    @classmethod
    def of(cls, record: Any) -> Self:
        """What the joiner keeps of a record that it has read."""
        where = record.topic, record.partition, record.offset
        return cls(*where, record.key, record.headers, record.timestamp)


@dataclass(slots=True)
class Slice:
    """What one slice of work has come to so far."""

    now_ms: float
    verdicts: list[Verdict] = field(default_factory=list)
    outputs: dict[tuple[str, int], list[Outgoing]] = field(default_factory=dict)
    told: Told = field(default_factory=Told)


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinStage:
    """What every joiner lane of this process shares."""

    names: Names
    policy: JoinPolicy
    max_record_bytes: int = 1_000_000

    def lane(self, harbour: Harbour, partition: int, term: int) -> "JoinLane":
        """The lane of one pair."""
        self.names.require(partition)
        return JoinLane(self, harbour, partition, term)


class JoinLane(Lane):
    """deferrals[p] and slow-results[p] → decisions[P+p], late-results[p]."""

    stage = "join"

    def __init__(self, join: JoinStage, harbour: Harbour, partition: int, term: int) -> None:
        super().__init__(harbour, partition, term)
        names = join.names
        self._policy = join.policy
        self._max_record_bytes = join.max_record_bytes
        self._deferrals = TopicPartition(names.deferrals, partition)
        self._results = TopicPartition(names.slow_results, partition)
        self._decisions = names.joined_decisions(partition)
        self._late = TopicPartition(names.late_results, partition)
        self._dead_letters = names.dead_letters_of(self.stage, partition)
        self._spans = JoinSpans(names, partition, group=harbour.member.group, tracer=harbour.tracer)
        self._state: JoinState
        self._committed: Positions | None = None
        self._committed_ms = 0.0
        self._ways_ms = ShortestLately()
        self._untold = Told()

    def inputs(self) -> list[TopicPartition]:
        """The pair; it is owned because its partition of `deferrals` is."""
        return [self._deferrals, self._results]

    async def rebuild(
        self,
        committed: Mapping[TopicPartition, OffsetAndMetadata],
        first: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
    ) -> dict[TopicPartition, int]:
        """Reads its own decisions back from the mark, and starts from the lowest undecided."""
        harbour = self.harbour
        own_first, own_ends = await self.in_time(harbour.reader.log_ends([self._decisions]))
        decisions_end = own_ends[self._decisions]
        # Asked for after them: none of these can be about a deferral that comes later.
        end = (await self.in_time(harbour.reader.ends([self._deferrals])))[self._deferrals]
        start = self._start(committed, first, ends, decisions_end)
        back = (max(start.decisions_mark, own_first[self._decisions]), decisions_end)
        decided = await read_back(
            harbour.client,
            harbour.clock,
            {self._decisions: back},
            lambda record: _decided(record, start.lowest_undecided, end),
            timeout_ms=harbour.policy.takeover_timeout_ms,
        )
        inherited = Inherited(
            start=start,
            decided=dict(decided),
            decisions_end=decisions_end,
            results_end=ends[self._results],
            now_ms=harbour.clock.now_ms(),
        )
        self._state = JoinState(self._policy, inherited)
        return {self._deferrals: start.lowest_undecided, self._results: start.first_early}

    async def work(self) -> None:
        """Wakes for records or a deadline; works in slices; commits what was decided."""
        clock = self.harbour.clock
        while not self.is_draining:
            self.check()
            now_ms = clock.now_ms()
            chunk = self._collect(now_ms)
            if chunk is not None:
                await self.hand_over(chunk)
            if self._has_more(now_ms):
                await clock.sleep(0)
                continue
            self.wake.clear()
            if not self.waiting and not self.is_draining:
                with contextlib.suppress(TimeoutError):
                    await clock.wait_for(self.wake.wait(), self._wait_ms(clock.now_ms()))

    def feed(self, partition: TopicPartition, records: list[Any]) -> None:
        """Takes records; of a deferral not the payload: its verdict needs only key and headers."""
        if partition == self._deferrals:
            records = [Headed.of(record) for record in records]
        self.inbox[partition].extend(records)
        self.wake.set()

    def is_full(self, partition: TopicPartition) -> bool:
        """Whether reading pauses: while more is read than can be looked at, or too many are early.

        What is pending never pauses deferrals: their deadlines must not pass unread.
        """
        queued = len(self.inbox[partition])
        is_early = partition == self._results and self._state.is_early_full
        return is_early or queued > self.harbour.policy.max_inbox_records

    def acknowledged(self, chunk: Chunk, ends: Mapping[tuple[str, int], int]) -> None:
        """Decisions are in the log: later deferrals get a later mark."""
        del chunk
        if self._decisions in ends:
            self._state.on_acknowledged(ends[self._decisions])

    def is_busy(self, now_ms: float) -> bool:
        """Whether records wait, a deadline is overdue, or decisions are not in the log."""
        return self._overdue_ms(now_ms) is not None or super().is_busy(now_ms)

    def oldest_ms(self, now_ms: float) -> float | None:
        """The oldest record that waits, or deadline that is overdue; what is pending is in time."""
        found = super().oldest_ms(now_ms), self._overdue_ms(now_ms)
        return min((at_ms for at_ms in found if at_ms is not None), default=None)

    def held(self) -> Mapping[GaugeName, int]:
        """Undecided deferrals, and results that came before their deferral."""
        return {"pending": self._state.pending, "early_results": self._state.early}

    def skew_ms(self, now_ms: float) -> float | None:
        """This clock minus the fast stage's: the shortest way of a deferral in the last minute."""
        return self._ways_ms.lowest(now_ms)

    def _overdue_ms(self, now_ms: float) -> float | None:
        due_ms = self._state.next_deadline_ms()
        return due_ms if due_ms is not None and due_ms < now_ms else None

    def _start(
        self,
        committed: Mapping[TopicPartition, OffsetAndMetadata],
        first: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
        decisions_end: int,
    ) -> Positions:
        """The committed positions; where they cannot be trusted, all of the own decisions count."""
        lowest, text = committed[self._deferrals]
        numbers = unpack(text) if lowest >= 0 else None
        if numbers is not None:
            found = Positions(
                lowest_undecided=lowest,
                first_early=max(numbers.get("slow", -1), first[self._results]),
                deferrals_read=numbers.get("rd", -1),
                results_read=numbers.get("rs", -1),
                decisions_mark=numbers.get("mark", -1),
            )
            if decisions_end == 0:  # another topic than the commit speaks of: offsets stand
                found = found._replace(decisions_mark=0)
            if (
                0 <= found.decisions_mark <= decisions_end
                and 0 <= found.deferrals_read <= ends[self._deferrals]
                and 0 <= found.results_read <= ends[self._results]
                and found.first_early <= ends[self._results]
            ):
                return found
        if lowest >= 0:
            self.note_foreign(lowest)
        return Positions(
            lowest_undecided=first[self._deferrals],
            first_early=first[self._results],
            deferrals_read=ends[self._deferrals],
            results_read=0,
            decisions_mark=0,
        )

    def _collect(self, now_ms: float) -> Chunk | None:
        """One slice: deferrals, then results, then what is due; None when nothing moved."""
        slice_ = Slice(now_ms)
        self._read_deferrals(slice_)
        self._read_results(slice_)
        self._state.passed(
            0 if self.inbox[self._deferrals] else self.seen[self._deferrals],
            0 if self.inbox[self._results] else self.seen[self._results],
        )
        slice_.verdicts += self._state.on_tick(now_ms, SLICE_RECORDS)
        if slice_.verdicts:
            slice_.outputs[self._decisions] = [
                self._decide(verdict, slice_) for verdict in slice_.verdicts
            ]
        positions = self._state.positions()
        is_idle_commit = now_ms - self._committed_ms >= IDLE_COMMIT_MS
        self._untold.extend(slice_.told)
        if not slice_.outputs and (positions == self._committed or not is_idle_commit):
            return None
        self._committed, self._committed_ms = positions, now_ms
        told, self._untold = self._untold, Told()
        return Chunk(slice_.outputs, self._offsets(positions), told=told)

    def _decide(self, verdict: Verdict, slice_: Slice) -> Outgoing:
        deferral, now_ms = decode_deferral(verdict.pending.header), slice_.now_ms
        slice_.told.decision(verdict.path, verdict.reason, now_ms - deferral.ingest_ms)
        if verdict.reason is Reason.OVERFLOW:
            log_event(
                "overflow", bound="max_pending", partition=self.partition, origin=deferral.origin
            )
        if verdict.reason is Reason.DEADLINE:
            slice_.told.due.append((verdict.pending.deadline_ms, now_ms))
        traceparent = self._spans.decided(verdict, deferral, now_ms, slice_.told)
        return encode_verdict(verdict, deferral, now_ms, traceparent)

    def _read_deferrals(self, slice_: Slice) -> None:
        queue = self.inbox[self._deferrals]
        latest_ms = 0.0
        for _ in range(min(len(queue), SLICE_RECORDS)):
            record = queue.popleft()
            try:
                read = read_deferral(record.headers)
            except WireError as error:
                self._put_aside(record, str(error), slice_)
                self._state.passed(record.offset + 1, 0)
                continue
            latest_ms = max(latest_ms, read.deferred_ms)
            verdict = self._state.on_deferral(
                record.offset,
                read.deadline_ms,
                read.deferred_ms,
                origin=read.origin,
                key=record.key,
                header=read.header,
                traceparent=read.traceparent,
            )
            if verdict is not None:
                slice_.verdicts.append(verdict)
        if latest_ms:
            self._ways_ms.add(slice_.now_ms - latest_ms, slice_.now_ms)

    def _read_results(self, slice_: Slice) -> None:
        queue = self.inbox[self._results]
        for _ in range(min(len(queue), SLICE_RECORDS)):
            record = queue.popleft()
            try:
                result = decode_result(record.value, record.headers)
            except WireError as error:
                self._put_aside(record, str(error), slice_)
                self._state.passed(0, record.offset + 1)
                continue
            match self._state.on_result(record.offset, result):
                case Verdict() as verdict:
                    slice_.verdicts.append(verdict)
                case Late(is_answer=True) if len(record.value) <= self._max_record_bytes:
                    late = (record.key, record.value, list(record.headers))
                    slice_.outputs.setdefault(self._late, []).append(late)
                    slice_.told.count("late_results")
                case Late():
                    slice_.told.count("late_dropped")
                case None:
                    pass

    def _put_aside(self, record: Any, sentence: str, slice_: Slice) -> None:
        origin = origin_of(record.topic, record.partition, record.offset)
        letter = DeadLetter(origin, self.stage, Reason.UNDECODABLE, sentence, slice_.now_ms)
        slice_.outputs.setdefault(self._dead_letters, []).append(encode_dead_letter(letter, record))
        slice_.told.count("foreign_records", stage=self.stage)
        slice_.told.count("dead_letters", stage=self.stage, reason=Reason.UNDECODABLE)
        log_event(
            "dead_letter",
            stage=self.stage,
            origin=origin,
            reason=Reason.UNDECODABLE,
            message=sentence,
            trace_id=trace_id_of(traceparent_of(record.headers)),
        )

    def _offsets(self, positions: Positions) -> dict[TopicPartition, OffsetAndMetadata]:
        numbers = {
            "rd": positions.deferrals_read,
            "rs": positions.results_read,
            "slow": positions.first_early,
            "mark": positions.decisions_mark,
        }
        text = pack(self.owner_mark, positions.lowest_undecided, numbers)
        return {
            self._deferrals: OffsetAndMetadata(positions.lowest_undecided, text),
            self._results: OffsetAndMetadata(positions.first_early, ""),
        }

    def _has_more(self, now_ms: float) -> bool:
        due_ms = self._state.next_deadline_ms()
        return bool(self.waiting) or (due_ms is not None and due_ms <= now_ms)

    def _wait_ms(self, now_ms: float) -> float:
        due_ms = self._state.next_deadline_ms()
        is_committed = self._committed == self._state.positions()
        idle_ms = None if is_committed else self._committed_ms + IDLE_COMMIT_MS
        until = [at_ms for at_ms in (due_ms, idle_ms) if at_ms is not None]
        return max(0.0, min([*until, now_ms + LONGEST_WAIT_MS]) - now_ms)


def _decided(record: Record, first: int, end: int) -> tuple[int, str] | None:
    """Which deferral from `first` up to the end of its log a decision is about, and its origin."""
    offset = integer(header_of(record.headers, DEFERRAL))
    origin = header_of(record.headers, ORIGIN)
    if offset is None or origin is None or not first <= offset < end:
        return None
    return offset, origin.decode("utf-8", "replace")
