"""Time as an argument: every reading of a clock and every wait in Hunch goes through a `Clock`.

`SystemClock` is the real one; `hunch.testing.ManualClock` moves only when a test says so.
"""

import asyncio
import math
import threading
import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Protocol, TypeVar

T = TypeVar("T")


class Clock(Protocol):
    """Tells the time and waits."""

    def now_ms(self) -> float:
        """Milliseconds since the epoch; never goes backwards within a process."""

    async def sleep(self, ms: float) -> None:
        """Waits `ms` milliseconds; at 0 or less it only lets other tasks run."""

    async def wait_for(self, awaitable: Awaitable[T], timeout_ms: float) -> T:
        """Awaits with a limit; raises `TimeoutError` and cancels when `timeout_ms` have passed."""


def utc(now_ms: float) -> str:
    """A moment as ISO 8601 in UTC, to the second, as files say when they were made."""
    return datetime.fromtimestamp(now_ms / 1000, tz=UTC).isoformat(timespec="seconds")


class SystemClock:
    """The machine's clock; a step back of the wall clock is not followed, time simply goes on.

    It is the monotonic clock, moved by the most that the wall clock was ever ahead of it. The wall
    clock is read first: whatever comes between the two readings, a stopped process included, makes
    that less, not more. Threads may read it too.
    """

    def __init__(self) -> None:
        self._ahead_s = -math.inf
        self._lock = threading.Lock()

    def now_ms(self) -> float:
        """Milliseconds since the epoch."""
        with self._lock:
            wall_s = time.time()
            steady_s = time.monotonic()
            self._ahead_s = max(self._ahead_s, wall_s - steady_s)
            return (steady_s + self._ahead_s) * 1000.0

    async def sleep(self, ms: float) -> None:
        """Waits on the monotonic clock of the event loop."""
        await asyncio.sleep(max(0.0, ms) / 1000.0)

    async def wait_for(self, awaitable: Awaitable[T], timeout_ms: float) -> T:
        """Awaits with a limit on the monotonic clock of the event loop."""
        async with asyncio.timeout(max(0.0, timeout_ms) / 1000.0):
            return await awaitable
