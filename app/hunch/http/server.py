"""The port: a uvicorn server as one task of this process.

It shares the event loop with the work, whose slices are short. Signals are not its business, and
neither is logging: what it has to say comes out as every library's lines do.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn

from hunch.clock import Clock
from hunch.errors import ConfigError
from hunch.http.pages import Pages
from hunch.telemetry import log_event

STOP_MS = 1_000.0
MAX_REQUESTS = 100
"""Requests under way, and connections; one more is answered with 503."""
KEEP_ALIVE_S = 15


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves the signals to those who drain."""
        yield


class HttpServer:
    """Serves pages at a host and port, from `start` to `stop`."""

    def __init__(self, pages: Pages, *, host: str, port: int, clock: Clock) -> None:
        self._pages = pages
        self._host = host
        self._port = port
        self._clock = clock
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Opens the port and begins to answer; raises `ConfigError` when the port cannot be had."""
        listener = self._listener()
        config = uvicorn.Config(
            self._pages,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=MAX_REQUESTS,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._task = asyncio.create_task(self._server.serve([listener]), name="http")
        self._task.add_done_callback(_tell)

    async def stop(self) -> None:
        """Answers what is under way, and closes the port, within `STOP_MS`."""
        if self._server is None or self._task is None:
            return
        self._server.should_exit = True
        with contextlib.suppress(TimeoutError):
            await self._clock.wait_for(self._task, STOP_MS)

    def _listener(self) -> socket.socket:
        try:
            found = socket.getaddrinfo(
                self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            family, kind, protocol, _, address = found[0]
            listener = socket.socket(family, kind, protocol)
            try:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(address)
                listener.listen()
            except OSError:
                listener.close()
                raise
        except OSError as error:
            raise ConfigError(
                f"http_port = {self._port} cannot be opened at {self._host} ({error.strerror}): "
                "free it, or set another http_port or http_host."
            ) from error
        listener.setblocking(False)
        return listener


def _tell(ended: asyncio.Task[None]) -> None:
    if not ended.cancelled() and ended.exception() is not None:
        log_event("warning", message="Nobody answers at http_port.", error=repr(ended.exception()))
