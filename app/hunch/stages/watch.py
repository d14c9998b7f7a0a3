"""Looks at one stage from beside it: how far behind it is, how old its work, whether it is stuck.

How far behind is the read position against the end that this reader can reach, never a commit: the
last offsets of a partition may be markers that nobody can read. Ends are asked for by the clock;
while the broker does not tell them, it counts as away, and nobody as stuck.
"""

import math
from collections.abc import Callable, Mapping

from aiokafka.errors import KafkaError

from hunch.clock import Clock
from hunch.core.progress import Look, ProgressState
from hunch.kafka.client import TopicPartition
from hunch.kafka.lane import Lane
from hunch.kafka.lanes import Lanes
from hunch.kafka.member import Member
from hunch.kafka.reader import Reader
from hunch.telemetry import Metrics, log_event
from hunch.telemetry.names import GaugeName

LOOK_EVERY_MS = 2_000
WARN_EVERY_MS = 60_000
SKEW_MS = 10.0
"""A deferral cannot be read before it was written: more than this is a clock that is ahead."""
MOST_WAY_MS = 1_000.0
"""The shortest way of a deferral takes less, also under load."""
ENDS_TIMEOUT_MS = 2_000
HELD: tuple[GaugeName, ...] = ("pending", "early_results", "slow_queue")


class Watch:
    """One stage, as its metrics and health show it.

    Args:
        name: the stage.
        is_computing: whether its model has a batch in hand.
    """

    def __init__(
        self,
        name: str,
        *,
        member: Member,
        reader: Reader,
        lanes: Lanes,
        clock: Clock,
        metrics: Metrics,
        is_computing: Callable[[], bool],
    ) -> None:
        self.name = name
        self.is_broker_away = False
        self.has_been_ready = False
        self._member = member
        self._reader = reader
        self._lanes = lanes
        self._clock = clock
        self._is_computing = is_computing
        self._progress = ProgressState()
        self._warned_of_skew_ms = -math.inf
        self._ends: dict[TopicPartition, int] = {}
        self._behind_since_ms: dict[TopicPartition, float] = {}
        self._tell(metrics)

    async def run(self) -> None:
        """Looks by the clock, for ever."""
        while True:
            await self._ask_ends()
            self.look()
            self._warn_of_skew()
            await self._clock.sleep(LOOK_EVERY_MS)

    def _warn_of_skew(self) -> None:
        now_ms = self._clock.now_ms()
        skew_ms = 1000 * self._skew_s().get((), 0.0)
        is_new = now_ms - self._warned_of_skew_ms > WARN_EVERY_MS
        if is_new and not -SKEW_MS <= skew_ms <= MOST_WAY_MS:
            self._warned_of_skew_ms = now_ms
            log_event(
                "clock_skew",
                stage=self.name,
                skew_ms=round(skew_ms, 1),
                message="this clock and the fast stage's differ, or deferrals are long on the way: "
                "deadlines are off by as much; let both machines follow the same time server",
            )

    def look(self) -> None:
        """Looks now; whoever asks for a judgement looks first."""
        now_ms = self._clock.now_ms()
        running = self._lanes.running.items()
        self._progress.on_look(
            now_ms,
            self._member.terms,
            self._lanes.lost | {p: self._look_at(lane, now_ms) for p, lane in running},
            is_in_hand=self.is_broker_away or self._is_computing(),
        )
        self.has_been_ready |= self._lanes.is_ready()

    def stalled_ms(self) -> float:
        """For how long work has waited without any progress, as seen now."""
        self.look()
        return self._progress.stalled_ms

    def missing(self) -> list[int]:
        """Owned partitions that had no running lane for too long."""
        return self._lanes.missing()

    def lag(self) -> dict[TopicPartition, int]:
        """Records between the read position and the end, of what runs and whose end is known."""
        return {
            tp: max(0, self._ends[tp] - at)
            for tp, at in self._positions().items()
            if tp in self._ends
        }

    def _positions(self) -> dict[TopicPartition, int]:
        found: dict[TopicPartition, int] = {}
        for lane in self._lanes.running.values():
            found |= self._reader.positions(lane)
        return found

    def _look_at(self, lane: Lane, now_ms: float) -> Look:
        look, read = lane.look(now_ms), self._reader.positions(lane)
        is_behind = any(self._ends.get(tp, 0) > at for tp, at in read.items())
        return look._replace(is_waiting=is_behind or look.is_waiting)

    async def _ask_ends(self) -> None:
        owned = self._member.terms
        wanted = set(self._positions())
        wanted |= {tp for tp in self._ends if tp.partition in owned}
        if not wanted:
            return
        try:
            ends = await self._clock.wait_for(self._reader.ends(sorted(wanted)), ENDS_TIMEOUT_MS)
        except (KafkaError, TimeoutError, OSError):
            self.is_broker_away = True
            return
        self.is_broker_away = False
        self._note_behind(ends)
        self._ends = ends

    def _note_behind(self, ends: Mapping[TopicPartition, int]) -> None:
        """Since when there has been something to read: since an end was seen and not reached."""
        now_ms, since = self._clock.now_ms(), self._behind_since_ms
        self._behind_since_ms = {}
        for tp, at in self._positions().items():
            if at < ends.get(tp, 0):
                is_old = tp in since and at < self._ends.get(tp, 0)
                self._behind_since_ms[tp] = since[tp] if is_old else now_ms

    # -- metrics, read when somebody looks

    def _tell(self, metrics: Metrics) -> None:
        name = self.name
        metrics.gauge("lanes_owned", lambda: {(name,): len(self._member.terms)})
        metrics.gauge("lanes_open", lambda: {(name,): len(self._lanes.running)})
        metrics.gauge(
            "inbox_records", lambda: self._of_lanes(lambda lane, _: lane.waiting, with_stage=True)
        )
        metrics.gauge("lag_records", self._lag_records)
        metrics.gauge("lag_age_seconds", lambda: self._of_lanes(self._age_s, with_stage=True))
        metrics.gauge("stalled_seconds", self._stalled_s)
        metrics.gauge("clock_skew_seconds", self._skew_s)
        for held in HELD:
            metrics.gauge(held, self._held(held))

    def _of_lanes(
        self, read: Callable[[Lane, float], float], *, with_stage: bool = False
    ) -> dict[tuple[str, ...], float]:
        now_ms = self._clock.now_ms()
        front = (self.name,) if with_stage else ()
        return {(*front, str(p)): read(lane, now_ms) for p, lane in self._lanes.running.items()}

    def _held(self, name: GaugeName) -> Callable[[], Mapping[tuple[str, ...], float]]:
        return lambda: {
            (str(partition),): held[name]
            for partition, lane in self._lanes.running.items()
            if name in (held := lane.held())
        }

    def _age_s(self, lane: Lane, now_ms: float) -> float:
        since_ms = [
            self._behind_since_ms[tp]
            for tp, at in self._reader.positions(lane).items()
            if tp in self._behind_since_ms and at < self._ends.get(tp, 0)
        ]
        if (oldest_ms := lane.oldest_ms(now_ms)) is not None:
            since_ms.append(oldest_ms)
        return max(0.0, now_ms - min(since_ms)) / 1000 if since_ms else 0.0

    def _lag_records(self) -> dict[tuple[str, ...], float]:
        return {(self.name, tp.topic, str(tp.partition)): n for tp, n in self.lag().items()}

    def _stalled_s(self) -> dict[tuple[str, ...], float]:
        return {(self.name,): self.stalled_ms() / 1000}

    def _skew_s(self) -> dict[tuple[str, ...], float]:
        now_ms = self._clock.now_ms()
        found = [lane.skew_ms(now_ms) for lane in self._lanes.running.values()]
        skews_ms = [skew_ms for skew_ms in found if skew_ms is not None]
        return {(): min(skews_ms) / 1000} if skews_ms else {}
