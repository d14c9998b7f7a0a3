"""The slow stage of one process: all its lanes feed one `BatchState`, one model answers.

As in `hunch.stages.slow`: expired deferrals get nothing, shed ones are told at once, reading pauses
while a partition holds `max_slow_queue`, and what the model takes is what its batcher learns from.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

from hunch.core.batching import BatchPolicy, BatchState, ServiceTimes, Taken
from hunch.core.offsets import ContiguousPrefix
from hunch.evaluation.simulation.way_out import Delivery, WayOut


class Said(NamedTuple):
    """What the joiner is told of one deferral."""

    offset: int
    is_shed: bool


@dataclass(slots=True, kw_only=True)
class SlowLane:
    """One partition of `deferrals`, as the slow stage reads it.

    Attributes:
        seen_ms: when each deferral is at the reader, ascending.
        deadlines_ms: of each.
        way_out: of its results.
    """

    seen_ms: Sequence[float]
    deadlines_ms: Sequence[int]
    way_out: WayOut[list[Said]]
    prefix: ContiguousPrefix = field(default_factory=lambda: ContiguousPrefix(0))
    read: int = 0
    acknowledged: int = 0
    is_paused: bool = False


class Answered(NamedTuple):
    """The results of a process's lanes, and what they took.

    Attributes:
        results: of each lane, in the order of its deliveries.
        called: of each lane, the deferrals that went through the model.
        busy_ms: of the model.
        longest_queue: the most deferrals that waited for the model at once.
    """

    results: list[list[Delivery[list[Said]]]]
    called: list[list[int]]
    busy_ms: float
    longest_queue: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowSpeed:
    """How fast a process answers; `expected_ms` is what its batcher knows at the start."""

    batch_ms: Sequence[float]
    ratios: Iterator[float]
    message_ms: float
    hop_ms: float
    expected_ms: Mapping[int, float]


class SlowProcess:
    """The queue, the model and the lanes of one process.

    Args:
        lanes: that it owns.
        policy: of its batches.
        max_queue: deferrals that one lane holds.
        speed: of the process.
    """

    def __init__(
        self, lanes: Sequence[SlowLane], policy: BatchPolicy, max_queue: int, speed: SlowSpeed
    ) -> None:
        self._lanes = lanes
        self._speed = speed
        self._max_queue = max_queue
        self._times = ServiceTimes(speed.expected_ms)
        self._queue = BatchState(policy, self._times)
        self._arrivals: list[tuple[float, int]] = []
        self._called: list[list[int]] = [[] for _ in lanes]
        self._busy_ms = 0.0
        self._longest = 0
        for number, lane in enumerate(lanes):
            if lane.seen_ms:
                heappush(self._arrivals, (lane.seen_ms[0], number))

    def run(self) -> Answered:
        """Works until nothing is left."""
        queue, now_ms = self._queue, 0.0
        while True:
            self._resume(now_ms)
            self._read(now_ms)
            release_ms = queue.next_release_ms()
            if release_ms is not None and release_ms <= now_ms:
                now_ms = self._run_batch(queue.take(now_ms), now_ms)
                continue
            next_ms = math.inf if release_ms is None else release_ms
            if self._arrivals:
                next_ms = min(next_ms, self._arrivals[0][0])
            next_ms = min(next_ms, self._next_acknowledgement_ms())
            if next_ms == math.inf:
                break
            now_ms = max(now_ms, next_ms)
        results = [lane.way_out.close() for lane in self._lanes]
        return Answered(results, self._called, self._busy_ms, self._longest)

    def _read(self, until_ms: float) -> None:
        """Queues all that is at the readers by then, each at its own time."""
        arrivals = self._arrivals
        while arrivals and arrivals[0][0] <= until_ms:
            at_ms, number = heappop(arrivals)
            lane = self._lanes[number]
            self._queue_bunch(number, lane, at_ms)
            if not self._room(lane):
                self._acknowledge(lane, at_ms)
                lane.is_paused = not self._room(lane)
            if lane.read < len(lane.seen_ms) and not lane.is_paused:
                heappush(arrivals, (max(at_ms, lane.seen_ms[lane.read]), number))

    def _queue_bunch(self, number: int, lane: SlowLane, at_ms: float) -> None:
        """What a lane has read by now: expired ones are done with, the others wait."""
        seen_ms, deadlines_ms, prefix = lane.seen_ms, lane.deadlines_ms, lane.prefix
        offset, end = lane.read, len(seen_ms)
        most = offset + self._room(lane)
        while offset < end and seen_ms[offset] <= at_ms and offset < most:
            prefix.start(offset)
            if deadlines_ms[offset] <= at_ms:
                prefix.done(offset)
            else:
                self._queue.on_arrival(deadlines_ms[offset], (number, offset), at_ms)
            offset += 1
        lane.read = offset
        self._longest = max(self._longest, len(self._queue))

    def _run_batch(self, taken: Taken, now_ms: float) -> float:
        """What is not run is answered at once, the batch when the model is done: then it is."""
        for waiting in taken.expired:
            number, offset = waiting.work
            self._lanes[number].prefix.done(offset)
        if taken.shed:
            self._hand_back([waiting.work for waiting in taken.shed], now_ms, is_shed=True)
        size = len(taken.batch)
        if not size:
            return now_ms
        elapsed_ms = self._speed.batch_ms[size] * next(self._speed.ratios)
        self._times.observe(size, elapsed_ms)
        self._busy_ms += elapsed_ms
        self._read(now_ms + elapsed_ms)
        end_ms = now_ms + elapsed_ms + size * self._speed.message_ms
        works = [waiting.work for waiting in taken.batch]
        for number, offset in works:
            self._called[number].append(offset)
        self._hand_back(works, end_ms, is_shed=False)
        return end_ms

    def _hand_back(self, works: list[tuple[int, int]], at_ms: float, *, is_shed: bool) -> None:
        chunks: dict[int, list[Said]] = {}
        for number, offset in works:
            chunks.setdefault(number, []).append(Said(offset, is_shed))
        for number, chunk in chunks.items():
            self._lanes[number].way_out.put(at_ms, chunk, len(chunk))

    def _room(self, lane: SlowLane) -> int:
        return self._max_queue - len(lane.prefix)

    @staticmethod
    def _acknowledge(lane: SlowLane, now_ms: float) -> None:
        """Deliveries that have ended let the prefix grow."""
        lane.way_out.advance(now_ms)
        sent = lane.way_out.sent
        while lane.acknowledged < len(sent) and sent[lane.acknowledged].end_ms <= now_ms:
            for chunk in sent[lane.acknowledged].items:
                for said in chunk:
                    lane.prefix.done(said.offset)
            lane.acknowledged += 1
        lane.prefix.committable()

    def _next_acknowledgement_ms(self) -> float:
        """When a lane that pauses may go on, at the soonest."""
        soonest_ms = math.inf
        for lane in self._lanes:
            if lane.is_paused:
                sent = lane.way_out.sent
                is_waiting = lane.acknowledged < len(sent)
                at_ms = sent[lane.acknowledged].end_ms if is_waiting else lane.way_out.next_ms
                soonest_ms = min(soonest_ms, at_ms)
        return soonest_ms

    def _resume(self, now_ms: float) -> None:
        for number, lane in enumerate(self._lanes):
            if not lane.is_paused:
                continue
            self._acknowledge(lane, now_ms)
            if self._room(lane):
                lane.is_paused = False
                if lane.read < len(lane.seen_ms):
                    at_ms = max(now_ms + self._speed.hop_ms, lane.seen_ms[lane.read])
                    heappush(self._arrivals, (at_ms, number))
