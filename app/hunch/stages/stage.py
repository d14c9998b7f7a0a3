"""What every stage is: a member that owns, a reader that reads, lanes that work."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from hunch.clock import Clock
from hunch.kafka.client import Client, Isolation
from hunch.kafka.harbour import Harbour, LanePolicy
from hunch.kafka.lanes import Lanes, MakeLane
from hunch.kafka.member import Member
from hunch.kafka.reader import Reader
from hunch.stages.watch import Watch
from hunch.telemetry import Metrics, Tracer

STOP_MS = 10_000


class Stage:
    """One stage in this process.

    Args:
        name: `fast`, `slow` or `join`.
        member: its seat in the group; somebody else joins the group with it.
        client: the broker.
        isolation: what the reader may see.
        policy: the bounds of its lanes.
        make_lane: makes the lane of a partition.
        worker: what runs beside the lanes, for all of them.
        is_computing: whether its model has a batch in hand.
    """

    def __init__(
        self,
        name: str,
        *,
        member: Member,
        client: Client,
        clock: Clock,
        metrics: Metrics,
        tracer: Tracer,
        isolation: Isolation,
        policy: LanePolicy,
        make_lane: MakeLane,
        worker: Callable[[], Coroutine[Any, Any, None]] | None = None,
        is_computing: Callable[[], bool] = lambda: False,
    ) -> None:
        self.name = name
        self.member = member
        self._clock = clock
        self._leaves_first = policy.is_exactly_once
        self._reader = Reader(client.consumer(isolation), clock)
        harbour = Harbour(
            client=client,
            clock=clock,
            metrics=metrics,
            tracer=tracer,
            member=member,
            reader=self._reader,
            policy=policy,
        )
        self.lanes = Lanes(harbour, make_lane)
        self._worker = worker
        self.watch = Watch(
            name,
            member=member,
            reader=self._reader,
            lanes=self.lanes,
            clock=clock,
            metrics=metrics,
            is_computing=is_computing,
        )

    def is_ready(self) -> bool:
        """Whether every partition that this process owns is being read."""
        return self.lanes.is_ready()

    async def run(self) -> None:
        """Works until cancelled; raises what no new takeover can mend."""
        try:
            await self._reader.start()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._reader.run(), name=f"{self.name}-reader")
                group.create_task(self.member.run(), name=f"{self.name}-member")
                group.create_task(self.lanes.run(), name=f"{self.name}-lanes")
                group.create_task(self.watch.run(), name=f"{self.name}-watch")
                if self._worker is not None:
                    group.create_task(self._worker(), name=f"{self.name}-worker")
        except BaseExceptionGroup as group_error:
            raise group_error.exceptions[0] from group_error
        finally:
            await self.lanes.close()
            with contextlib.suppress(TimeoutError):
                await self._clock.wait_for(self._reader.stop(), STOP_MS)

    async def drain(self, timeout_ms: float) -> None:
        """Reads no more, finishes what is in hand, commits it; what is pending stays in Kafka.

        With transactions the seat goes first: others take over meanwhile, and their fence ends what
        is not finished. A plain commit needs the seat.
        """
        if self._leaves_first:
            await asyncio.gather(self.lanes.drain(timeout_ms), self.member.leave(timeout_ms))
        else:
            await self.lanes.drain(timeout_ms)
            await self.member.commit()
