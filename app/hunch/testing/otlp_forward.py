"""Passes traces on to another OTLP/HTTP endpoint, as well as that goes: nothing waits for it."""

import http.client
import queue
import threading
from typing import Final
from urllib.parse import urlsplit

MAX_QUEUED: Final = 512
TIMEOUT_S = 2.0


class Forwarder:
    """A bounded queue and a thread; what does not fit or is not taken is counted and forgotten.

    Args:
        endpoint: as in OTEL_EXPORTER_OTLP_ENDPOINT, without `/v1/traces`.

    Attributes:
        passed_on: requests that the endpoint has taken.
        lost: requests that it has not.
    """

    def __init__(self, endpoint: str) -> None:
        self.passed_on = 0
        self.lost = 0
        self._url = urlsplit(endpoint)
        self._path = self._url.path.rstrip("/") + "/v1/traces"
        self._queue: queue.Queue[bytes | None] = queue.Queue(MAX_QUEUED)
        self._rest = threading.Condition()
        self._waiting = 0
        self._thread = threading.Thread(target=self._run, name="otlp-forward", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def put(self, body: bytes) -> None:
        """Queues the bytes of a request; never waits."""
        with self._rest:
            try:
                self._queue.put_nowait(body)
                self._waiting += 1
            except queue.Full:
                self.lost += 1

    def flush(self, timeout_s: float) -> bool:
        """Waits until nothing is queued; whether that came in time."""
        with self._rest:
            return self._rest.wait_for(lambda: self._waiting == 0, timeout_s)

    def stop(self) -> None:
        """Forgets what is queued, and ends."""
        while True:
            try:
                self._queue.get_nowait()
            except queue.Empty:
                break
        self._queue.put(None)
        self._thread.join(2 * TIMEOUT_S)

    def _run(self) -> None:
        while (body := self._queue.get()) is not None:
            is_taken = self._send(body)
            with self._rest:
                self.passed_on += is_taken
                self.lost += not is_taken
                self._waiting -= 1
                self._rest.notify_all()

    def _send(self, body: bytes) -> bool:
        is_secure = self._url.scheme == "https"
        kind = http.client.HTTPSConnection if is_secure else http.client.HTTPConnection
        connection = kind(self._url.netloc, timeout=TIMEOUT_S)
        try:
            connection.request("POST", self._path, body, {"Content-Type": "application/x-protobuf"})
            return 200 <= connection.getresponse().status < 300
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
