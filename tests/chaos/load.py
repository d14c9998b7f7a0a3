"""A steady load by a client that is not ours: so many messages a second, whatever happens behind.

It is open-loop: what was held up goes out later, and the pace of the rest does not change.
"""

import threading
import time

from confluent_kafka import KafkaError, Message, Producer
from tests.chaos.oracle import Oracle

TICK_S = 0.005
FLUSH_S = 90.0
HURRY_MS = 1_000


class Load:
    """Sends messages 0, 1, 2, … round robin over the partitions, from a thread of its own."""

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        oracle: Oracle,
        *,
        rate: float,
        partitions: int,
        hurried: float,
    ) -> None:
        self.sent = 0
        self.refused = 0
        """Messages that the client gave up: they may or may not be in the log."""
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "linger.ms": 5,
                "message.timeout.ms": 300_000,
                "queue.buffering.max.messages": 1_000_000,
                "log_level": 0,
            }
        )
        self._topic = topic
        self._oracle = oracle
        self._rate = rate
        self._partitions = partitions
        self._hurried = int(hurried * 100)
        self._is_stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def start(self) -> None:
        """Begins to send."""
        self._thread.start()

    def stop(self) -> None:
        """Sends no more; returns when all of it is acknowledged."""
        self._is_stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        began_s = time.monotonic()
        while not self._is_stopped.is_set():
            due = int((time.monotonic() - began_s) * self._rate)
            while self.sent < due:
                self._producer.produce(
                    self._topic,
                    self._oracle.message(self.sent),
                    key=b"key-%d" % self.sent,
                    partition=self.sent % self._partitions,
                    headers=self._headers(),
                    on_delivery=self._note,
                )
                self.sent += 1
            self._producer.poll(TICK_S)
        self.refused += self._producer.flush(FLUSH_S)

    def _headers(self) -> list[tuple[str, str | bytes | None]]:
        if self.sent // self._partitions * 37 % 100 >= self._hurried:
            return []
        return [("hunch-deadline-ms", b"%d" % (time.time() * 1000 + HURRY_MS))]

    def _note(self, error: KafkaError | None, _: Message) -> None:
        self.refused += error is not None
