"""A lane's way out: what was put into its outbox goes out in deliveries, one at a time.

As in `hunch.kafka.lane`: a delivery takes all that is in the outbox when it begins. With an
interval between the beginnings of two, it begins at once all the same when it is urgent, or when
half of what fits has come together. A full outbox keeps its lane waiting.
"""

import math
from collections.abc import Iterator
from itertools import cycle, repeat
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from hunch.evaluation.simulation.place import Place

T = TypeVar("T")
DRAWS = 1024
"""So many times are drawn in advance, and then used again."""


class Delivery(NamedTuple, Generic[T]):
    """What went out together; all of it can be read from `end_ms` on."""

    begin_ms: float
    end_ms: float
    items: list[T]


class Pace(NamedTuple):
    """How often deliveries begin.

    Attributes:
        interval_ms: the least time between the beginnings of two.
        begun_ms: when the last one began before the first message.
        late_ms: how late each timer fires.
    """

    interval_ms: float
    begun_ms: float
    late_ms: Iterator[float]


AT_ONCE = Pace(0.0, -math.inf, repeat(0.0))


class WayOut(Generic[T]):
    """The outbox of one lane and its deliveries.

    Args:
        pace: how often deliveries begin.
        most: records in one delivery.
        takes_ms: how long each delivery takes.
    """

    def __init__(self, pace: Pace, most: int, takes_ms: Iterator[float]) -> None:
        self.sent: list[Delivery[T]] = []
        self._interval_ms = pace.interval_ms
        self._late_ms = pace.late_ms
        self._most = most
        self._takes_ms = takes_ms
        self._items: list[T] = []
        self._size = 0
        self._next_ms = math.inf
        self._begun_ms = pace.begun_ms
        self._free_ms = -math.inf

    @property
    def next_ms(self) -> float:
        """When the next delivery begins; infinity while the outbox is empty."""
        return self._next_ms

    def put(self, at_ms: float, item: T, size: int, *, is_urgent: bool = False) -> float:
        """Puts records into the outbox; when that was done, later than asked where it was full."""
        if self._size + size > self._most and self._items:
            at_ms = max(at_ms, self._next_ms)
        if self._next_ms <= at_ms:
            self._send()
        self._items.append(item)
        self._size += size
        at_once_ms = max(self._free_ms, at_ms)
        if is_urgent or 2 * self._size >= self._most:
            begin_ms = at_once_ms
        else:
            begin_ms = self._begun_ms + self._interval_ms
            begin_ms = max(at_once_ms, begin_ms + next(self._late_ms))
        self._next_ms = min(self._next_ms, begin_ms)
        return at_ms

    def advance(self, now_ms: float) -> None:
        """Begins what is to begin by now."""
        if self._next_ms <= now_ms:
            self._send()

    def close(self) -> list[Delivery[T]]:
        """Nothing more comes; all deliveries."""
        if self._items:
            self._send()
        return self.sent

    def _send(self) -> None:
        begin_ms = self._next_ms
        self._free_ms = begin_ms + next(self._takes_ms)
        self._begun_ms, self._next_ms = begin_ms, math.inf
        self.sent.append(Delivery(begin_ms, self._free_ms, self._items))
        self._items, self._size = [], 0


def delivery_times(median_ms: float, place: Place, chance: np.random.Generator) -> Iterator[float]:
    """Times of the broker, one after the other: log-normal around the median."""
    return cycle((median_ms * np.exp(place.spread * chance.standard_normal(DRAWS))).tolist())


def timer_delays(place: Place, chance: np.random.Generator) -> Iterator[float]:
    """How late timers fire, one after the other: exponential."""
    return cycle((place.timer_ms * chance.standard_exponential(DRAWS)).tolist())
