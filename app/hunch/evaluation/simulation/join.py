"""The joiner of one process: `JoinState` for each of its lanes, slice by slice.

As in `hunch.stages.join`: a lane wakes for records or for its next deadline, looks at so many of
each in one slice, and hands over what was decided; a due deadline does not wait for a transaction
to fill.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from hunch.core.envelope import Answer, Path, Reason, SlowResult
from hunch.core.joining import Inherited, JoinPolicy, JoinState, Positions, Verdict
from hunch.errors import InvariantBroken
from hunch.evaluation.simulation.slow import Said
from hunch.evaluation.simulation.way_out import Delivery, WayOut

SLICE_RECORDS = 60
"""As in the stage."""
START = Inherited(
    start=Positions(0, 0, 0, 0, 0), decided={}, decisions_end=0, results_end=0, now_ms=0.0
)
ANSWER = Answer(label="", confidence=1.0, model="")
"""Which answer it is, the record knows."""


class Decided(NamedTuple):
    """One deferral, and what became of it."""

    offset: int
    path: Path
    reason: Reason


@dataclass(slots=True, kw_only=True)
class JoinLane:
    """One pair of `deferrals` and `slow-results`, as the joiner reads it.

    Attributes:
        seen_ms: when each deferral is at the reader, ascending.
        deadlines_ms: of each.
        deferred_ms: when each was deferred.
        results_ms: when each slow result is at the reader, ascending.
        results: the same results.
        way_out: of its decisions.
        state: what it knows.
        late_ms: how late each timer fires.
    """

    seen_ms: Sequence[float]
    deadlines_ms: Sequence[int]
    deferred_ms: Sequence[float]
    results_ms: Sequence[float]
    results: Sequence[Said]
    way_out: WayOut[list[Decided]]
    state: JoinState
    late_ms: Iterator[float]
    deferrals_read: int = 0
    results_read: int = 0
    wake_ms: float = field(default=0.0)

    def next_ms(self) -> float:
        """When there is something to do, and the lane is free to do it."""
        due_ms = self.state.next_deadline_ms()
        soonest_ms = math.inf if due_ms is None else due_ms + next(self.late_ms)
        if self.deferrals_read < len(self.seen_ms):
            soonest_ms = min(soonest_ms, self.seen_ms[self.deferrals_read])
        if self.results_read < len(self.results_ms) and not self.state.is_early_full:
            soonest_ms = min(soonest_ms, self.results_ms[self.results_read])
        return max(soonest_ms, self.wake_ms)


def fresh_state(policy: JoinPolicy) -> JoinState:
    """Of a joiner that nobody was before."""
    return JoinState(policy, START)


def join(lanes: Sequence[JoinLane], message_ms: float) -> list[list[Delivery[list[Decided]]]]:
    """Decides all deferrals of a process's lanes; the deliveries of each lane.

    Args:
        lanes: of one process.
        message_ms: what it takes for a deferral, a result or a timer.
    """
    ready = [(lane.next_ms(), number) for number, lane in enumerate(lanes)]
    heapify(ready)
    free_ms = 0.0
    while ready:
        at_ms, number = heappop(ready)
        if at_ms == math.inf:
            continue
        lane = lanes[number]
        now_ms = max(at_ms, free_ms)
        verdicts, looked_at = _slice(lane, now_ms)
        free_ms = now_ms + message_ms * looked_at
        lane.wake_ms = free_ms
        if verdicts:
            decided = [
                Decided(verdict.offset, verdict.path, verdict.reason) for verdict in verdicts
            ]
            is_urgent = any(verdict.reason is Reason.DEADLINE for verdict in verdicts)
            lane.wake_ms = lane.way_out.put(free_ms, decided, len(decided), is_urgent=is_urgent)
        heappush(ready, (lane.next_ms(), number))
    if any(lane.state.pending for lane in lanes):
        raise InvariantBroken("A simulated deferral was never decided.")
    return [lane.way_out.close() for lane in lanes]


def _slice(lane: JoinLane, now_ms: float) -> tuple[list[Verdict], int]:
    """One slice: deferrals, then results, then what is due; and how many of these."""
    verdicts: list[Verdict] = []
    state, first = lane.state, lane.deferrals_read
    end = min(len(lane.seen_ms), first + SLICE_RECORDS)
    offset = first
    while offset < end and lane.seen_ms[offset] <= now_ms:
        verdict = state.on_deferral(
            offset,
            lane.deadlines_ms[offset],
            lane.deferred_ms[offset],
            origin="",
            key=None,
            header=b"",
            traceparent=None,
        )
        if verdict is not None:
            verdicts.append(verdict)
        offset += 1
    lane.deferrals_read = offset
    looked_at = offset - first + _read_results(lane, now_ms, verdicts)
    due = state.on_tick(now_ms, SLICE_RECORDS)
    state.positions()
    return verdicts + due, looked_at + len(due)


def _read_results(lane: JoinLane, now_ms: float, verdicts: list[Verdict]) -> int:
    state, first = lane.state, lane.results_read
    end = min(len(lane.results_ms), first + SLICE_RECORDS)
    number = first
    while number < end and lane.results_ms[number] <= now_ms:
        said = lane.results[number]
        result = SlowResult(
            origin="",
            deferral=said.offset,
            model="",
            answer=None if said.is_shed else ANSWER,
            shed=said.is_shed,
        )
        verdict = state.on_result(number, result)
        if isinstance(verdict, Verdict):
            verdicts.append(verdict)
        number += 1
    lane.results_read = number
    return number - first
