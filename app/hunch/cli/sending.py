"""Puts messages on a topic at full speed or on a schedule that never waits for answers."""

import asyncio
import functools
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from aiokafka.partitioner import murmur2

from hunch.cli.messages import BadLine, Message
from hunch.kafka.client import Producer

LINGER_S = 0.02
CHUNK = 5_000
AHEAD = 20_000


class Feed:
    """Reads in a thread of its own: a slow pipe must not hold up what is on its way."""

    def __init__(self, items: Iterator[Message | BadLine]) -> None:
        self._queue: queue.Queue[Message | BadLine | BaseException | None] = queue.Queue(AHEAD)
        self._items = items
        self._thread = threading.Thread(target=self._read, daemon=True)
        self.is_at_end = False

    def start(self) -> None:
        """Begins to read ahead."""
        self._thread.start()

    def take(self, limit: int) -> list[Message | BadLine]:
        """What is at hand, at most `limit`; raises what reading raised."""
        taken: list[Message | BadLine] = []
        while len(taken) < limit and not self.is_at_end:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
            if item is None:
                self.is_at_end = True
            elif isinstance(item, BaseException):
                raise item
            else:
                taken.append(item)
        return taken

    def _read(self) -> None:
        try:
            for item in self._items:
                self._queue.put(item)
        except Exception as error:  # noqa: BLE001  it is raised again where it is awaited
            self._queue.put(error)
        self._queue.put(None)


class Sender:
    """Sends messages to the partitions of one topic and counts what the broker acknowledged."""

    def __init__(
        self,
        producer: Producer,
        topic: str,
        partitions: Sequence[int],
        *,
        by_key: bool,
        timeout_s: float,
        on_bad: Callable[[BadLine], None],
    ) -> None:
        self.sent = 0
        self.acknowledged = 0
        self.bad = 0
        self.on_progress: Callable[[], None] = lambda: None
        self._producer = producer
        self._topic = topic
        self._partitions = partitions
        self._by_key = by_key
        self._timeout_s = timeout_s
        self._on_bad = on_bad
        self._turn = 0
        self._waiting: set[asyncio.Future[Any]] = set()
        self._error: BaseException | None = None

    async def run(self, feed: Feed, *, rate: float | None, limit: int | None) -> None:
        """Sends until the feed ends or `limit` messages are sent, and awaits every answer.

        With `rate`, message i is due i / rate seconds after the start, whatever the broker does.
        """
        start = time.monotonic()
        feed.start()
        while not feed.is_at_end and (limit is None or self.sent < limit):
            due = CHUNK
            if rate is not None:
                due = min(due, int((time.monotonic() - start) * rate) + 1 - self.sent)
            if limit is not None:
                due = min(due, limit - self.sent)
            items = feed.take(due)
            await self._send(self._good(items))
            self.on_progress()
            await asyncio.sleep(0 if len(items) == CHUNK else LINGER_S)
        async with asyncio.timeout(self._timeout_s):
            while self._waiting:
                await asyncio.wait(self._waiting)
        self.on_progress()
        self._raise_refused()

    def _good(self, items: Sequence[Message | BadLine]) -> list[Message]:
        good = []
        for item in items:
            if isinstance(item, BadLine):
                self.bad += 1
                self._on_bad(item)
            else:
                good.append(item)
        return good

    async def _send(self, items: Sequence[Message]) -> None:
        self._raise_refused()
        shares: dict[int, list[Message]] = {}
        for message in items:
            shares.setdefault(self._partition(message.key), []).append(message)
        async with asyncio.timeout(self._timeout_s):
            await asyncio.gather(*(self._send_share(p, share) for p, share in shares.items()))

    def _partition(self, key: bytes | None) -> int:
        if key is not None and self._by_key:
            index = int(murmur2(key)) & 0x7FFFFFFF  # as Java's producer does
        else:
            self._turn += 1
            index = self._turn
        return self._partitions[index % len(self._partitions)]

    async def _send_share(self, partition: int, share: Sequence[Message]) -> None:
        batch = self._producer.create_batch()
        for key, value in share:
            if batch.append(timestamp=None, key=key, value=value) is None:
                await self._send_batch(partition, batch)
                batch = self._producer.create_batch()
                batch.append(timestamp=None, key=key, value=value)
        await self._send_batch(partition, batch)

    async def _send_batch(self, partition: int, batch: Any) -> None:
        count = batch.record_count()
        future = await self._producer.send_batch(batch, self._topic, partition=partition)
        self.sent += count
        self._waiting.add(future)
        future.add_done_callback(functools.partial(self._answered, count))

    def _answered(self, count: int, future: asyncio.Future[Any]) -> None:
        self._waiting.discard(future)
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            self.acknowledged += count
        else:
            self._error = error

    def _raise_refused(self) -> None:
        if self._error is not None:
            raise self._error
