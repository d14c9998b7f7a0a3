"""A thread of its own for one model, so that inference never runs on the event loop."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Worker:
    """Runs calls one after the other in one daemon thread.

    A daemon, because a call that hangs inside a native library must not hold up the end of the
    process, as the threads of `concurrent.futures` would.
    """

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Lets the thread end after the calls that it already has; does not wait for it."""
        self._calls.put(None)

    def submit(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """The result of a call to come; a call is skipped when its future is cancelled before."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def run() -> None:
            if future.cancelled():
                return
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001  it belongs to who awaits the call
                _hand_back(loop, future, future.set_exception, error)
            else:
                _hand_back(loop, future, future.set_result, result)

        self._calls.put(run)
        return future

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


def _hand_back(
    loop: asyncio.AbstractEventLoop,
    future: asyncio.Future[Any],
    setter: Callable[[Any], None],
    value: object,
) -> None:
    def resolve() -> None:
        if not future.done():
            setter(value)

    # The loop may be closed when a call that hung comes back after all.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(resolve)
