"""A steady load: messages at a paced rate, round robin over the partitions."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from typing import Any, Self

from aiokafka import AIOKafkaProducer

TICK_S = 0.01


class Load:
    """Sends messages until it is stopped; what was acknowledged is known by origin.

    `acknowledged` are the origins of what the broker has taken so far. `ticks_s` says on the
    monotonic clock when it was at work: this process paused in between.

    Args:
        values: sent in turn, again and again.
        rate: messages a second.
        limit: how many are sent at most.
        hurried_every: of so many messages of a partition, one is to be decided at once.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        values: Sequence[bytes],
        *,
        rate: float,
        partitions: int = 4,
        limit: int | None = None,
        hurried_every: int | None = None,
    ) -> None:
        self.origins: list[str] = []
        self.acknowledged: list[str] = []
        self.ticks_s: list[float] = []
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap, enable_idempotence=True, acks="all"
        )
        self._topic = topic
        self._values = values
        self._rate = rate
        self._partitions = partitions
        self._limit = limit
        self._hurried_every = hurried_every
        self._is_stopped = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._producer.start()
        self._task = asyncio.create_task(self._send())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_stopped = True
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        await self._producer.stop()

    async def stop(self) -> list[str]:
        """Sends no more; the origins of all that was sent, in the order of sending."""
        self._is_stopped = True
        return await self.end()

    async def end(self) -> list[str]:
        """Waits until the limit is sent; the origins, in the order of sending."""
        assert self._task is not None
        await self._task
        return self.origins

    async def _send(self) -> None:
        began_s = time.monotonic()
        numbers = itertools.count()
        futures = []
        sent = 0
        while not self._is_stopped and sent != self._limit:
            self.ticks_s.append(time.monotonic())
            due = int((self.ticks_s[-1] - began_s) * self._rate)
            due = due if self._limit is None else min(due, self._limit)
            turn = itertools.islice(numbers, max(0, due - sent))
            futures += [await self._send_one(number) for number in turn]
            sent = max(sent, due)
            await asyncio.sleep(TICK_S)
        for acknowledged in await asyncio.gather(*futures):
            self.origins.append(_origin(acknowledged))

    async def _send_one(self, number: int) -> asyncio.Future[Any]:
        headers = []
        turn, partition = divmod(number, self._partitions)
        if self._hurried_every is not None and turn % self._hurried_every == 0:
            headers.append(("hunch-deadline-ms", b"%d" % (time.time() * 1000)))
        value = self._values[number % len(self._values)]
        future: asyncio.Future[Any] = await self._producer.send(
            self._topic, value, partition=partition, headers=headers
        )
        future.add_done_callback(self._note)
        return future

    def _note(self, future: asyncio.Future[Any]) -> None:
        if not future.cancelled() and future.exception() is None:
            self.acknowledged.append(_origin(future.result()))


def _origin(acknowledged: Any) -> str:
    where = acknowledged.topic_partition
    return f"{where.topic}-{where.partition}-{acknowledged.offset}"
