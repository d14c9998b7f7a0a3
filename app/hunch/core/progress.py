"""Whether a stage is stuck: work waits, and nothing of it gets on.

    progress   any lane has read further than ever, or delivered something
    waiting    a lane says so; a partition whose lane is down keeps its last word
    in hand    a model computes, or the broker is away: nobody is to blame, and time starts anew

A lane that is opened again and again reads the same records again, which is no progress. An idle
stage is never stuck. A partition that moved away is forgotten.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple


class Look(NamedTuple):
    """What one lane shows at one moment.

    Attributes:
        is_waiting: whether it has work that is not done.
        read: how far it has read each of its inputs.
        life: which lane of its partition it is.
        delivered: how often it has delivered in that life.
    """

    is_waiting: bool
    read: Mapping[str, int]
    life: int = 0
    delivered: int = 0


class ProgressState:
    """What was seen of one stage."""

    def __init__(self) -> None:
        self.stalled_ms = 0.0
        """At the last look: for how long work had waited without progress; 0 without any."""
        self._since_ms: float | None = None
        self._seen: dict[int, Look] = {}

    def on_look(
        self,
        now_ms: float,
        owned: Collection[int],
        looks: Mapping[int, Look],
        *,
        is_in_hand: bool = False,
    ) -> None:
        """The lanes were looked at: `looks` has those that run, or ran last, of what is owned."""
        has_moved = False
        for partition, look in looks.items():
            known = self._seen.get(partition, Look(is_waiting=False, read={}))
            delivered = known.delivered if known.life == look.life else 0
            furthest = {name: max(at, known.read.get(name, 0)) for name, at in look.read.items()}
            has_moved |= look.delivered > delivered or not furthest.items() <= known.read.items()
            self._seen[partition] = look._replace(read={**known.read, **furthest})
        for partition in set(self._seen) - set(owned):
            del self._seen[partition]
        if not any(seen.is_waiting for seen in self._seen.values()):
            self._since_ms = None
        elif has_moved or is_in_hand or self._since_ms is None:
            self._since_ms = now_ms
        self.stalled_ms = 0.0 if self._since_ms is None else max(0.0, now_ms - self._since_ms)


class ShortestLately:
    """The lowest value of about the last minute, whatever came before."""

    WINDOW_MS = 30_000.0

    def __init__(self) -> None:
        self._began_ms = 0.0
        self._lowest: float | None = None
        self._before: float | None = None

    def add(self, value: float, now_ms: float) -> None:
        """A value came."""
        self._turn(now_ms)
        self._lowest = value if self._lowest is None else min(self._lowest, value)

    def lowest(self, now_ms: float) -> float | None:
        """The lowest value of this window and the one before; None where none came."""
        self._turn(now_ms)
        found = [value for value in (self._lowest, self._before) if value is not None]
        return min(found, default=None)

    def _turn(self, now_ms: float) -> None:
        passed_ms = now_ms - self._began_ms
        if passed_ms >= self.WINDOW_MS:
            self._before = self._lowest if passed_ms < 2 * self.WINDOW_MS else None
            self._lowest, self._began_ms = None, now_ms
