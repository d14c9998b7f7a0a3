"""What the demo has seen so far: paths, latencies, and who would have been right."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from hunch.cli.demo_digits import Digits, number_of

PATHS = ("fast", "slow", "fallback", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class PathSums:
    """One path: `share` and `accuracy` from 0 to 1, latencies in milliseconds, None at count 0."""

    count: int
    share: float | None
    accuracy: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """All that a screen shows; accuracies are those on the messages decided so far."""

    sent: int
    decided: int
    paths: dict[str, PathSums]
    fast_alone: float | None
    cascade: float | None
    slow_alone: float | None


class Tally:
    """Counts decisions; a second one for the same message is left to the checker.

    A latency runs from handing the message to the producer to reading its decision. Nobody can be
    right about the message `spoilt`: it has no part in accuracies.
    """

    def __init__(
        self,
        digits: Digits,
        slow_is_right: Sequence[bool],
        count: int,
        spoilt: int | None = None,
    ) -> None:
        self.sent = 0
        self.decided = 0
        self._digits = digits
        self._slow_is_right = slow_is_right
        self._spoilt = spoilt
        self._sent_ms = [0.0] * count
        self._is_decided = [False] * count
        self._latencies_ms: dict[str, list[float]] = {path: [] for path in PATHS}
        self._judged = dict.fromkeys(PATHS, 0)
        self._right = dict.fromkeys(PATHS, 0)
        self._fast_right = 0
        self._slow_right = 0

    def on_sent(self, numbers: Sequence[int], now_ms: float) -> None:
        """These messages are being handed to the producer."""
        for number in numbers:
            self._sent_ms[number] = now_ms
        self.sent += len(numbers)

    def on_decision(self, value: bytes, now_ms: float) -> None:
        """A decision was read; one of a message that is not the demo's does not count."""
        decision: dict[str, Any] = orjson.loads(value)
        number = number_of(decision["id"])
        if number is None or number >= len(self._is_decided) or self._is_decided[number]:
            return
        self._is_decided[number] = True
        self.decided += 1
        path, label = decision["path"], self._digits.label(number)
        self._latencies_ms[path].append(now_ms - self._sent_ms[number])
        if number == self._spoilt:
            return
        self._judged[path] += 1
        self._right[path] += decision["label"] == label
        self._fast_right += (decision["fast"] or {}).get("label") == label
        self._slow_right += self._slow_is_right[number % len(self._slow_is_right)]

    def sums(self) -> Sums:
        """The figures as they stand."""
        judged = sum(self._judged.values())
        return Sums(
            sent=self.sent,
            decided=self.decided,
            paths={path: self._path(path) for path in PATHS},
            fast_alone=_share(self._fast_right, judged),
            cascade=_share(sum(self._right.values()), judged),
            slow_alone=_share(self._slow_right, judged),
        )

    def _path(self, path: str) -> PathSums:
        latencies_ms = self._latencies_ms[path]
        count = len(latencies_ms)
        p50_ms, p95_ms, p99_ms = (
            np.percentile(latencies_ms, (50, 95, 99)).round(1).tolist() if count else (None,) * 3
        )
        return PathSums(
            count=count,
            share=_share(count, self.decided),
            accuracy=_share(self._right[path], self._judged[path]),
            p50_ms=p50_ms,
            p95_ms=p95_ms,
            p99_ms=p99_ms,
        )


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 5) if whole else None
