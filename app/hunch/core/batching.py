"""Deadline-aware micro-batching for the slow model.

The queue is ordered by deadline. A batch is released when it is full, when its oldest member has
waited `max_queue_delay_ms`, or when waiting longer would make its first member late. Then

* what is past its deadline is *expired*: dropped without an answer, the joiner has decided it;
* the largest batch is taken that as many members can still use: all of them end in time;
* what cannot end before this batch does, and is not in it, is *shed*: told so at once;
* when nothing can end in time, the member with the most slack is tried all the same, so that a
  wrong estimate of the service time corrects itself.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hunch.errors import ConfigError


class Waiting(NamedTuple):
    """One deferral that waits for the slow model; ordered by deadline, then by arrival."""

    deadline_ms: float
    seq: int = 0
    work: Any = None


class Taken(NamedTuple):
    """What one release takes out of the queue."""

    batch: list[Waiting]
    shed: list[Waiting]
    expired: list[Waiting]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPolicy:
    """The bounds of a batch, in Triton's words.

    Attributes:
        max_batch_size: the most messages in one call of the model.
        max_queue_delay_ms: the longest wait for a batch to fill.
        reserve_ms: kept back from every deadline for the answer's way to the joiner; an answer that
            is ready at its deadline comes too late.
    """

    max_batch_size: int
    max_queue_delay_ms: float
    reserve_ms: float = 0.0

    def __post_init__(self) -> None:
        if self.max_batch_size < 1 or self.max_queue_delay_ms < 0 or self.reserve_ms < 0:
            msg = "max_batch_size must be 1 or more, max_queue_delay_ms and reserve_ms 0 or more."
            raise ConfigError(msg)


class ServiceTimes:
    """How long the model takes by batch size: a moving average for each power of two."""

    WEIGHT = 0.2

    def __init__(self, measured_ms: Mapping[int, float] | None = None) -> None:
        self._ms: dict[int, float] = {}
        for size, elapsed_ms in (measured_ms or {}).items():
            self._ms[self._bucket(size)] = elapsed_ms

    @staticmethod
    def _bucket(size: int) -> int:
        return 1 << (size - 1).bit_length()

    def observe(self, size: int, elapsed_ms: float) -> None:
        """A batch of `size` took `elapsed_ms`."""
        bucket = self._bucket(size)
        known_ms = self._ms.get(bucket)
        new_ms = (
            elapsed_ms if known_ms is None else known_ms + self.WEIGHT * (elapsed_ms - known_ms)
        )
        self._ms[bucket] = new_ms

    def expected_ms(self, size: int) -> float:
        """The expected time of a batch; between known sizes it grows in proportion."""
        bucket = self._bucket(size)
        if bucket in self._ms:
            return self._ms[bucket]
        below = [known for known in self._ms if known < bucket]
        if below:
            return self._ms[max(below)] * bucket / max(below)
        return self._ms[min(self._ms)] if self._ms else 0.0


@dataclass(slots=True)
class BatchState:
    """The queue in front of the slow model; at most one batch is out at a time."""

    policy: BatchPolicy
    times: ServiceTimes
    _queue: list[Waiting] = field(default_factory=list)
    _seq: int = 0
    _since_ms: float = 0.0

    def __len__(self) -> int:
        return len(self._queue)

    def on_arrival(self, deadline_ms: float, work: object, now_ms: float) -> None:
        """Queues one deferral."""
        if not self._queue:
            self._since_ms = now_ms
        self._seq += 1
        insort(self._queue, Waiting(deadline_ms, self._seq, work))

    def remove(self, is_unwanted: Callable[[Any], bool]) -> None:
        """Forgets works that nobody wants any more: their partition moved away."""
        self._queue = [waiting for waiting in self._queue if not is_unwanted(waiting.work)]

    def next_release_ms(self) -> float | None:
        """When a batch should be taken, in epoch ms; None while nothing waits."""
        if not self._queue:
            return None
        if len(self._queue) >= self.policy.max_batch_size:
            return 0.0
        start_by_ms = self._queue[0].deadline_ms - self._needed_ms(len(self._queue))
        return min(self._since_ms + self.policy.max_queue_delay_ms, start_by_ms)

    def take(self, now_ms: float) -> Taken:
        """Takes the batch to run now, and what must not be run at all."""
        first_alive = bisect_left(self._queue, Waiting(now_ms, self._seq + 1))
        expired, alive = self._queue[:first_alive], self._queue[first_alive:]
        self._queue, self._since_ms = [], 0.0
        size = min(len(alive), self.policy.max_batch_size)
        while size:
            feasible = bisect_left(alive, Waiting(now_ms + self._needed_ms(size)))
            if len(alive) - feasible >= size:
                self._queue = alive[feasible + size :]
                return Taken(alive[feasible : feasible + size], alive[:feasible], expired)
            size //= 2
        return Taken(alive[-1:], alive[:-1], expired)

    def _needed_ms(self, size: int) -> float:
        return self.times.expected_ms(size) + self.policy.reserve_ms
