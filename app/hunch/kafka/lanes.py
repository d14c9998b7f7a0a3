"""All lanes of one stage in this process: opened and closed as the member says, each in a task.

A lane that closed by an error is opened again two heartbeats later, if the partition is still owned
and no rebalance is under way: by then the member knows whether it was lost. Opened at once, it
would fence whoever has the partition now. The wait does not grow: a broker that is back would find
all lanes waiting.

A lane that must end is cancelled once, as it may be stopping its producer by then. aiokafka takes
some cancellations for its own, so the lane is told as well.
"""

import asyncio
import contextlib
from collections.abc import Callable

from hunch.core.progress import Look
from hunch.kafka.failures import Action, failure_of, refusal
from hunch.kafka.harbour import Harbour
from hunch.kafka.lane import Lane
from hunch.telemetry import log_event

LOOK_EVERY_MS = 100
STEADY_MS = 10_000
MISSING_MS = 10_000

Looks = dict[int, Look]
MakeLane = Callable[[Harbour, int, int], Lane]


class Lanes:
    """Follows the member; every owned partition has one lane, or gets one soon."""

    def __init__(self, harbour: Harbour, make_lane: MakeLane) -> None:
        self._harbour = harbour
        self._make_lane = make_lane
        self._open: dict[int, tuple[Lane, asyncio.Task[None], float]] = {}
        self.lost: Looks = {}
        """What was last seen of lanes that ended by an error, until the next ones read."""
        self._batch_records: dict[int, int] = {}
        self._not_before_ms: dict[int, float] = {}
        self._missing_since_ms: dict[int, float] = {}
        self._warned_ms: dict[int, float] = {}
        self._is_draining = False

    @property
    def running(self) -> dict[int, Lane]:
        """The lanes that read, by partition."""
        return {
            p: lane for p, (lane, task, _) in self._open.items() if lane.seen and not task.done()
        }

    def is_ready(self) -> bool:
        """Whether the member knows what it owns, and every owned partition has its lane."""
        member = self._harbour.member
        return member.is_settled and set(member.terms) <= set(self.running)

    def missing(self) -> list[int]:
        """Owned partitions that have had no running lane for 10 s; a rebalance takes less."""
        now_ms = self._harbour.clock.now_ms()
        running = self.running
        return [
            partition
            for partition, since_ms in self._missing_since_ms.items()
            if partition not in running and now_ms - since_ms > MISSING_MS
        ]

    async def run(self) -> None:
        """Keeps the lanes as the member says; raises what no new takeover can mend."""
        member, clock = self._harbour.member, self._harbour.clock
        while True:
            with contextlib.suppress(TimeoutError):
                await clock.wait_for(member.changed.wait(), LOOK_EVERY_MS)
            member.changed.clear()
            if self._is_draining:
                return
            for partition in list(self._open):
                self._close_ended(partition)
            if member.is_settled:
                self._open_missing()
            self._note_missing(clock.now_ms())

    async def drain(self, timeout_ms: float) -> None:
        """Finishes what is in hand, within a limit; what is cut off is read again by the next."""
        self._is_draining = True
        tasks = [task for _, task, _ in self._open.values()]
        for lane, _, _ in self._open.values():
            lane.drain()
        if not tasks:
            return
        try:
            ended = asyncio.gather(*tasks, return_exceptions=True)
            await self._harbour.clock.wait_for(ended, timeout_ms)
        except TimeoutError:
            log_event(
                "drain_cut_short",
                stage=self._harbour.member.group,
                lanes=len(tasks),
            )
            await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """Closes every lane at once."""
        self._is_draining = True
        tasks = [task for _, task, _ in self._open.values()]
        for lane, task, _ in self._open.values():
            task.cancel()
            lane.broken("its stage ends")
        await asyncio.gather(*tasks, return_exceptions=True)

    def _close_ended(self, partition: int) -> None:
        lane, task, opened_ms = self._open[partition]
        if not task.done():
            if self._harbour.member.terms.get(partition) != lane.term:
                if not task.cancelling():
                    task.cancel()
                else:
                    lane.broken("its partition moved away")
            return
        del self._open[partition]
        error = None if task.cancelled() else task.exception()
        if error is None:
            log_event("lane_closed", stage=lane.stage, partition=partition)
            return
        if lane.seen:
            self.lost[partition] = lane.look(self._harbour.clock.now_ms())
        failure = failure_of(error)
        if failure is None:
            raise error
        self._harbour.metrics.count("lanes_lost", stage=lane.stage, cause=failure.cause)
        log_event(
            "lane_lost",
            stage=lane.stage,
            partition=partition,
            cause=failure.cause,
            in_transaction=lane.is_in_transaction,
            reason=f"{failure.meaning} ({type(error).__name__}: {str(error)[:200]})",
        )
        if failure.action is Action.STOP:
            raise refusal(error, failure) from error
        if failure.action is Action.SHRINK:
            largest = self._batch_records.get(partition, lane.harbour.policy.max_delivery_messages)
            self._batch_records[partition] = max(1, largest // 2)
        now_ms = self._harbour.clock.now_ms()
        is_steady = bool(lane.seen) and now_ms - opened_ms > STEADY_MS
        if is_steady and failure.action is not Action.SHRINK:
            self._batch_records.pop(partition, None)
        self._not_before_ms[partition] = now_ms + self._harbour.member.policy.know_ms

    def _open_missing(self) -> None:
        harbour = self._harbour
        now_ms = harbour.clock.now_ms()
        for partition, term in harbour.member.terms.items():
            if partition not in self._open and now_ms >= self._not_before_ms.get(partition, 0.0):
                lane = self._make_lane(harbour, partition, term)
                name = f"{lane.stage}-{partition}"
                task = asyncio.create_task(lane.run(), name=name)
                task.add_done_callback(lambda _: harbour.member.changed.set())
                lane.limit_batches(self._batch_records.get(partition))
                self._open[partition] = (lane, task, now_ms)

    def _note_missing(self, now_ms: float) -> None:
        owned, running = set(self._harbour.member.terms), self.running
        self.lost = {p: look for p, look in self.lost.items() if p in owned - set(running)}
        missing = owned - set(running)
        since = self._missing_since_ms
        self._missing_since_ms = {p: since.get(p, now_ms) for p in missing}
        for partition in self.missing():
            if now_ms - self._warned_ms.get(partition, -MISSING_MS) >= MISSING_MS:
                log_event("lane_missing", stage=self._harbour.member.group, partition=partition)
                self._warned_ms[partition] = now_ms
