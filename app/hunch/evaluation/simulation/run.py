"""`run`: messages through a simulated cascade; every one ends in exactly one decision."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hunch.core.envelope import Path, Reason
from hunch.core.exiting import ExitPolicy
from hunch.errors import InvariantBroken
from hunch.evaluation.arrivals import Traffic
from hunch.evaluation.simulation.deployment import Deployment
from hunch.evaluation.simulation.fast import Chunk, Sent, Speed, serve
from hunch.evaluation.simulation.join import Decided, JoinLane, fresh_state, join
from hunch.evaluation.simulation.place import ModelTimes, Place
from hunch.evaluation.simulation.slow import Answered, Said, SlowLane, SlowProcess, SlowSpeed
from hunch.evaluation.simulation.way_out import (
    AT_ONCE,
    DRAWS,
    Delivery,
    Pace,
    WayOut,
    delivery_times,
    timer_delays,
)

Floats = NDArray[np.float64]
ENDS: tuple[tuple[Path, Reason], ...] = (
    (Path.FAST, Reason.CONFIDENT),
    (Path.SLOW, Reason.VERIFIED),
    (Path.FALLBACK, Reason.DEADLINE),
    (Path.FALLBACK, Reason.SHED),
    (Path.FALLBACK, Reason.OVERFLOW),
    (Path.FALLBACK, Reason.STALE),
)
"""How a message can end; a run names them by their place here."""
END_OF = {reason: number for number, (_, reason) in enumerate(ENDS)}
UNDECIDED = -1
EDITION = 1
"""Goes up when the same scenario and seed give other numbers than before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is simulated, but for τ and Δ.

    Attributes:
        place: where.
        deployment: with which processes and bounds.
        traffic: how messages come.
        seconds: that count.
        warm_up_s: before them.
        longest_delta_ms: goes on top of the warm-up, and messages come for as long afterwards; Δ
            where that is longer. Settings with the same one see the same messages.
        is_fresh: whether all stages start at 0, and not at any moment of their commit intervals.
    """

    place: Place
    deployment: Deployment
    traffic: Traffic
    seconds: float = 10.0
    warm_up_s: float = 2.0
    longest_delta_ms: float = 0.0
    is_fresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """n messages, a column each in the order of arrival, and what their answers took.

    Attributes:
        rows: which row of the record each message is.
        partitions: which partition of `messages` it came to.
        arrived_ms: when it came.
        seen_ms: when a `read_committed` consumer can see its decision.
        ends: how it ended, a place in `ENDS`.
        is_called: whether it went through the slow model.
        fast_busy_ms: of all fast models; `slow_busy_ms` likewise.
        longest_queue: deferrals that waited for one slow model at once.
        from_ms: messages count that come from here on …
        until_ms: … and before here.
        end_ms: the last one comes before here.
    """

    rows: NDArray[np.intp]
    partitions: NDArray[np.int64]
    arrived_ms: Floats
    seen_ms: Floats
    ends: NDArray[np.int8]
    is_called: NDArray[np.bool_]
    fast_busy_ms: float
    slow_busy_ms: float
    longest_queue: int
    from_ms: float
    until_ms: float
    end_ms: float


def run(policy: ExitPolicy, exits: NDArray[np.bool_], scenario: Scenario, seed: int) -> Run:
    """Sends messages through the cascade.

    Args:
        policy: what they are decided by.
        exits: of each row of the record, whether it exits; what `ExitPolicy.judge` says.
        scenario: what is simulated.
        seed: of the arrivals, of the rows that come, and of all times.
    """
    return _Cascade(policy, exits, scenario, seed).run()


def run_alone(side: str, rows: int, scenario: Scenario, seed: int) -> Run:
    """The same messages, answered by one model alone in as many processes as its stage has.

    Args:
        side: `fast` or `slow`; the slow model takes at most `max_batch_size` at once.
        rows: of the record.
        scenario: what is simulated.
        seed: as of `run`.
    """
    policy = ExitPolicy(name="", tau=0.0, delta_ms=0.0)
    found = _Cascade(policy, np.ones(rows, dtype=np.bool_), scenario, seed, alone=side).run()
    if side == "fast":
        return found
    return replace(
        found,
        is_called=np.ones_like(found.is_called),
        fast_busy_ms=0.0,
        slow_busy_ms=found.fast_busy_ms,
    )


def speed_alone(side: str, place: Place, deployment: Deployment) -> float:
    """The most messages a second that a model can answer in as many processes as its stage has."""
    if side == "fast":
        samples, processes = place.fast, deployment.fast_processes
        most, message_ms = deployment.max_delivery_messages, place.fast_message_ms
    else:
        samples, processes = place.slow, deployment.slow_processes
        most, message_ms = deployment.max_batch_size, place.slow_message_ms
    return ModelTimes(samples).per_second(most, processes, message_ms)


class _Cascade:
    """One run, from arrivals to decisions."""

    def __init__(
        self,
        policy: ExitPolicy,
        exits: NDArray[np.bool_],
        scenario: Scenario,
        seed: int,
        alone: str | None = None,
    ) -> None:
        self._policy = policy
        self._place, self._deployment = scenario.place, scenario.deployment
        settle_ms = max(policy.delta_ms, scenario.longest_delta_ms)
        self._from_ms = 1000.0 * scenario.warm_up_s + settle_ms
        self._until_ms = self._from_ms + 1000.0 * scenario.seconds
        self._end_ms = self._until_ms + settle_ms
        self._arrived_ms = scenario.traffic.times(self._end_ms, seed)
        self._chance = np.random.default_rng([seed, 2])
        count = len(self._arrived_ms)
        self._rows = _rows(len(exits), count, np.random.default_rng([seed, 3]))
        self._waits = ~exits[self._rows]
        self._partition = self._chance.integers(self._deployment.partitions, size=count)
        self._seen_ms = np.full(count, np.inf)
        self._ends = np.full(count, UNDECIDED, dtype=np.int8)
        self._is_called = np.zeros(count, dtype=np.bool_)
        self._alone = alone
        self._is_fresh = scenario.is_fresh

    def run(self) -> Run:
        lanes, busy_ms = self._fast()
        deferrals = [
            self._after_fast(np.flatnonzero(self._partition == partition), sent)
            for partition, sent in enumerate(lanes)
        ]
        answered = self._slow(deferrals)
        self._join(deferrals, list(chain.from_iterable(it.results for it in answered)))
        if (self._ends == UNDECIDED).any():
            raise InvariantBroken("A simulated message has no decision.")
        return Run(
            rows=self._rows,
            partitions=self._partition,
            arrived_ms=self._arrived_ms,
            seen_ms=self._seen_ms,
            ends=self._ends,
            is_called=self._is_called,
            fast_busy_ms=busy_ms,
            slow_busy_ms=sum(it.busy_ms for it in answered),
            longest_queue=max(it.longest_queue for it in answered),
            from_ms=self._from_ms,
            until_ms=self._until_ms,
            end_ms=self._end_ms,
        )

    def _fast(self) -> tuple[list[Sent], float]:
        deployment, place = self._deployment, self._place
        is_slow = self._alone == "slow"
        times = ModelTimes(place.slow if is_slow else place.fast)
        processes = deployment.slow_processes if is_slow else deployment.fast_processes
        most = deployment.max_delivery_messages
        if is_slow:
            most = min(most, deployment.max_batch_size)
        speed = Speed(
            batch_ms=times.table(most),
            ratios=self._ratios(times),
            message_ms=place.slow_message_ms if is_slow else place.fast_message_ms,
            most=most,
        )
        lanes: list[Sent] = []
        busy_ms = 0.0
        for share in deployment.shares(processes):
            arrivals = [
                (self._arrived_ms[self._partition == it] + place.hop_ms).tolist() for it in share
            ]
            ways_out: list[WayOut[Chunk]] = [self._way_out(-math.inf) for _ in share]
            served = serve(arrivals, ways_out, speed)
            lanes += served.lanes
            busy_ms += served.busy_ms
        return lanes, busy_ms

    def _after_fast(self, messages: NDArray[np.intp], sent: Sent) -> "_Deferrals":
        """Notes the decisions of one lane; what it defers."""
        place, policy = self._place, self._policy
        seen_ms = sent.ended_ms + place.hop_ms
        waits = self._waits[messages]
        self._decide(messages[~waits], seen_ms[~waits], Reason.CONFIDENT)
        deferred = np.flatnonzero(waits)
        ingest_ms = self._arrived_ms[messages[deferred]].tolist()
        decided_ms = sent.decided_ms[deferred].tolist()
        if policy.max_age_ms is not None:
            is_stale = np.array(
                [
                    policy.is_stale(came_ms, now_ms)
                    for came_ms, now_ms in zip(ingest_ms, decided_ms, strict=True)
                ],
                dtype=np.bool_,
            )
            stale, deferred = deferred[is_stale], deferred[~is_stale]
            self._decide(messages[stale], seen_ms[stale], Reason.STALE)
            ingest_ms = self._arrived_ms[messages[deferred]].tolist()
            decided_ms = sent.decided_ms[deferred].tolist()
        lasted_ms = sent.ended_ms[deferred] - sent.begun_ms[deferred]
        written_ms = sent.begun_ms[deferred] + np.minimum(place.write_ms, lasted_ms)
        return _Deferrals(
            messages=messages[deferred],
            deferred_ms=decided_ms,
            deadlines_ms=[
                policy.deadline_ms(now_ms, came_ms, None)
                for came_ms, now_ms in zip(ingest_ms, decided_ms, strict=True)
            ],
            at_slow_ms=(written_ms + place.hop_ms).tolist(),
            at_join_ms=seen_ms[deferred].tolist(),
        )

    def _slow(self, deferrals: Sequence["_Deferrals"]) -> list[Answered]:
        deployment, place = self._deployment, self._place
        times = ModelTimes(place.slow)
        speed = SlowSpeed(
            batch_ms=times.table(deployment.max_batch_size),
            ratios=self._ratios(times),
            message_ms=place.slow_message_ms,
            hop_ms=place.hop_ms,
            expected_ms=times.median_ms,
        )
        answered = []
        for share in deployment.shares(deployment.slow_processes):
            lanes = [
                SlowLane(
                    seen_ms=deferrals[it].at_slow_ms,
                    deadlines_ms=deferrals[it].deadlines_ms,
                    way_out=self._plain_way_out(),
                )
                for it in share
            ]
            policy, most = deployment.batch_policy(), deployment.max_slow_queue
            found = SlowProcess(lanes, policy, most, speed).run()
            for partition, called in zip(share, found.called, strict=True):
                self._is_called[deferrals[partition].messages[called]] = True
            answered.append(found)
        return answered

    def _join(
        self, deferrals: Sequence["_Deferrals"], results: Sequence[list[Delivery[list[Said]]]]
    ) -> None:
        deployment, place = self._deployment, self._place
        for share in deployment.shares(deployment.join_processes):
            lanes = [self._join_lane(deferrals[it], results[it]) for it in share]
            for partition, deliveries in zip(
                share, join(lanes, place.join_message_ms), strict=True
            ):
                self._decide_deferred(deferrals[partition].messages, deliveries)

    def _decide_deferred(
        self, messages: NDArray[np.intp], deliveries: Sequence[Delivery[list[Decided]]]
    ) -> None:
        times_ms = [
            delivery.end_ms + self._place.hop_ms
            for delivery in deliveries
            for chunk in delivery.items
            for _ in chunk
        ]
        decided = [it for delivery in deliveries for chunk in delivery.items for it in chunk]
        if len(decided) > len(messages):
            raise InvariantBroken("A simulated deferral was decided twice.")
        which = messages[np.array([it.offset for it in decided], dtype=np.intp)]
        self._ends[which] = [END_OF[it.reason] for it in decided]
        self._seen_ms[which] = times_ms

    def _join_lane(
        self, deferrals: "_Deferrals", results: Sequence[Delivery[list[Said]]]
    ) -> JoinLane:
        said, at_ms = [], []
        for delivery in results:
            own = list(chain.from_iterable(delivery.items))
            said += own
            at_ms += [delivery.end_ms + self._place.hop_ms] * len(own)
        way_out: WayOut[list[Decided]] = self._way_out(0.0)
        return JoinLane(
            seen_ms=deferrals.at_join_ms,
            deadlines_ms=deferrals.deadlines_ms,
            deferred_ms=deferrals.deferred_ms,
            results_ms=at_ms,
            results=said,
            way_out=way_out,
            state=fresh_state(self._deployment.join_policy()),
            late_ms=timer_delays(self._place, self._chance),
        )

    def _decide(self, messages: NDArray[np.intp], seen_ms: Floats, reason: Reason) -> None:
        self._ends[messages] = END_OF[reason]
        self._seen_ms[messages] = seen_ms

    def _way_out(self, begun_ms: float) -> WayOut[Any]:
        """Of a lane of the fast stage or the joiner.

        Args:
            begun_ms: when a lane that starts fresh has begun its last delivery.
        """
        deployment, place = self._deployment, self._place
        if not deployment.is_exactly_once:
            return self._plain_way_out()
        takes_ms = delivery_times(place.commit_ms, place, self._chance)
        interval_ms = deployment.commit_interval_ms
        if not self._is_fresh:
            begun_ms = -interval_ms * float(self._chance.uniform())
        pace = Pace(interval_ms, begun_ms, timer_delays(place, self._chance))
        return WayOut(pace, deployment.max_delivery_messages, takes_ms)

    def _plain_way_out(self) -> WayOut[Any]:
        takes_ms = delivery_times(self._place.write_ms, self._place, self._chance)
        return WayOut(AT_ONCE, self._deployment.max_delivery_messages, takes_ms)

    def _ratios(self, times: ModelTimes) -> Iterator[float]:
        return cycle(self._chance.choice(times.ratios, DRAWS).tolist())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Deferrals:
    """What one fast lane has deferred, columns by offset in `deferrals`."""

    messages: NDArray[np.intp]
    deferred_ms: list[float]
    deadlines_ms: list[int]
    at_slow_ms: list[float]
    at_join_ms: list[float]


def _rows(rows: int, count: int, chance: np.random.Generator) -> NDArray[np.intp]:
    """Which row each message is: each row once, in a random order, before any comes again."""
    rounds = [chance.permutation(rows) for _ in range(-(-count // rows))]
    found: NDArray[np.intp] = np.concatenate([np.zeros(0, dtype=np.intp), *rounds])[:count]
    return found
