"""Time that moves only when a test says so.

`ManualClock` counts activity (timers set and fired, operations of the in-memory log) and takes the
program to be at rest when the event loop has turned many times without any. Nothing here reads a
real clock, so a test gives the same answer on a busy machine as on an idle one.
"""

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_QUIET_TURNS = 30
"""Turns of the event loop without activity after which all tasks count as blocked."""
_MAX_TURNS = 200_000
"""Turns after which a program that never rests is reported instead of awaited for ever."""


class _Timer:
    """Something to call at a moment; may be called off."""

    __slots__ = ("call", "cancelled", "due_ms")

    def __init__(self, due_ms: float, call: Callable[[], None]) -> None:
        self.due_ms = due_ms
        self.call = call
        self.cancelled = False


class ManualClock:
    """A `hunch.clock.Clock` that stands still between calls of `advance`.

    Args:
        start_ms: the first reading, in epoch milliseconds.
    """

    def __init__(self, start_ms: float = 1_000_000.0) -> None:
        self._now_ms = float(start_ms)
        self._timers: list[tuple[float, int, _Timer]] = []
        self._serial = itertools.count()
        self._activity = 0

    def now_ms(self) -> float:
        """Milliseconds since the epoch, as far as `advance` has moved them."""
        return self._now_ms

    async def sleep(self, ms: float) -> None:
        """Waits until `advance` has passed `ms` milliseconds; at 0 or less lets other tasks run."""
        if ms <= 0.0:
            self.touch()
            await asyncio.sleep(0)  # noqa: TID251  (lets others run; no time passes)
            return
        woken = asyncio.Event()
        timer = self._set(self._now_ms + ms, woken.set)
        try:
            await woken.wait()
        finally:
            timer.cancelled = True

    async def wait_for(self, awaitable: Awaitable[T], timeout_ms: float) -> T:
        """Awaits with a limit; raises `TimeoutError` and cancels when `timeout_ms` have passed.

        A result that is at hand wins; a cancellation from outside reaches the awaitable and stays.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("wait_for must be awaited inside a task.")
        outer_cancels, has_expired = task.cancelling(), False

        def expire() -> None:
            nonlocal has_expired
            has_expired = True
            task.cancel()

        timer = self._set(self._now_ms + max(0.0, timeout_ms), expire)
        if timeout_ms <= 0.0:
            asyncio.get_running_loop().call_soon(self._fire, timer)
        try:
            return await awaitable
        except asyncio.CancelledError as cancelled:
            if not has_expired or task.cancelling() - 1 > outer_cancels:
                raise
            if isinstance(awaitable, asyncio.Future) and awaitable.done():
                with contextlib.suppress(asyncio.CancelledError):
                    result: T = awaitable.result()
                    return result
            raise TimeoutError from cancelled
        finally:
            timer.cancelled = True
            if has_expired:
                task.uncancel()

    async def advance(self, ms: float) -> None:
        """Moves time forward by `ms`; fires timers in order of due time and settles after each."""
        if ms < 0.0:
            raise ValueError("Time does not go back: advance by 0 ms or more.")
        target_ms = self._now_ms + ms
        await self.settle()
        while (timer := self._pop_due(target_ms)) is not None:
            self._now_ms = max(self._now_ms, timer.due_ms)
            self._fire(timer)
            await self._quiesce()
        self._now_ms = target_ms

    async def settle(self) -> None:
        """Lets all tasks run until each is blocked on the clock, on the log or on nothing at all.

        Raises `RuntimeError` when they never come to rest.
        """
        await self._quiesce()
        while (timer := self._pop_due(self._now_ms)) is not None:
            self._fire(timer)
            await self._quiesce()

    def touch(self) -> None:
        """Says that something has happened, so that `settle` goes on waiting."""
        self._activity += 1

    def _set(self, due_ms: float, call: Callable[[], None]) -> _Timer:
        timer = _Timer(due_ms, call)
        heapq.heappush(self._timers, (due_ms, next(self._serial), timer))
        self.touch()
        return timer

    def _pop_due(self, until_ms: float) -> _Timer | None:
        while self._timers and (self._timers[0][0] <= until_ms or self._timers[0][2].cancelled):
            timer = heapq.heappop(self._timers)[2]
            if not timer.cancelled:
                return timer
        return None

    def _fire(self, timer: _Timer) -> None:
        if not timer.cancelled:
            timer.cancelled = True
            self.touch()
            timer.call()

    async def _quiesce(self) -> None:
        quiet, seen = 0, self._activity
        for _ in range(_MAX_TURNS):
            await asyncio.sleep(0)  # noqa: TID251  (one turn of the event loop)
            quiet = quiet + 1 if seen == self._activity else 0
            seen = self._activity
            if quiet >= _QUIET_TURNS:
                return
        raise RuntimeError(
            f"The program did not come to rest at {self._now_ms} ms: some task never waits."
        )
