"""A whole cascade in one process: the real stages on an in-memory log under a manual clock."""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import orjson

from hunch.core.batching import BatchPolicy
from hunch.core.exiting import ExitPolicy
from hunch.core.joining import JoinPolicy
from hunch.inference.predictor import Predictor
from hunch.kafka.client import Header
from hunch.kafka.harbour import LanePolicy
from hunch.kafka.member import Member, MemberPolicy
from hunch.kafka.names import Names
from hunch.stages.cascade import Cascade
from hunch.stages.in_force import InForce
from hunch.stages.stage import Stage
from hunch.telemetry import Metrics
from hunch.testing.clock import ManualClock
from hunch.testing.group import MemorySeat
from hunch.testing.log import MemoryLog

STAGES = ("fast", "slow", "join")


class Running:
    """One stage of one pretended process: its seat in the group, and its tasks."""

    def __init__(self, stage: Stage, seat: MemorySeat, task: "asyncio.Task[None]") -> None:
        self.stage = stage
        self.seat = seat
        self.task = task

    async def drain(self) -> None:
        """Ends as after SIGTERM: finishes what is in hand, commits, leaves the group."""
        await self.stage.drain(5_000)
        await self.kill()

    async def kill(self) -> None:
        """Ends as after kill -9, and the group knows at once."""
        await self.freeze()
        await self.seat.stop()

    async def freeze(self) -> None:
        """Stops working without the group knowing."""
        if self.task.done():
            return
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


class MemoryCascade:
    """Stages on a `MemoryLog`; time passes only by `clock.advance`.

    Args:
        fast: the fast model, for every fast stage started here.
        slow: the slow model.
        tau: the confidence threshold.
        delta_ms: the time the slow model gets.
        partitions: P.
        policies: other policies of `hunch.stages.cascade.Cascade`, by name.
    """

    def __init__(
        self,
        *,
        fast: Predictor,
        slow: Predictor,
        tau: float = 0.9,
        delta_ms: float = 500.0,
        partitions: int = 1,
        clock: ManualClock | None = None,
        **policies: Any,
    ) -> None:
        self.clock = clock or ManualClock(start_ms=1_700_000_000_000)
        self.log = MemoryLog(self.clock)
        self.metrics = Metrics()
        self.names = Names(
            messages="messages",
            deferrals="deferrals",
            slow_results="slow-results",
            late_results="late-results",
            decisions="decisions",
            dead_letters="dead-letters",
            partitions=partitions,
        )
        defaults: dict[str, Any] = {
            "in_force": InForce(ExitPolicy(name="test", tau=tau, delta_ms=delta_ms)),
            "batch_policy": BatchPolicy(max_batch_size=8, max_queue_delay_ms=0),
            "join_policy": JoinPolicy(),
            "lane_policy": LanePolicy(),
        }
        self.cascade = Cascade(
            client=self.log,
            clock=self.clock,
            metrics=self.metrics,
            names=self.names,
            **(defaults | policies),
        )
        self._fast, self._slow = fast, slow
        self._running: list[Running] = []
        for topic in ("messages", "deferrals", "slow-results", "late-results"):
            self.log.create_topic(topic, partitions)
        self.log.create_topic("decisions", 2 * partitions)
        self.log.create_topic("dead-letters", 3 * partitions)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for running in self._running:
            await running.freeze()

    def replace_slow(self, slow: Predictor) -> None:
        """Takes another slow model for stages started from now on (one on this clock, say)."""
        self._slow = slow

    async def start(self, *stages: str) -> list[Running]:
        """Starts these stages (all three by default), each in its group; they are ready then."""
        started = [await self._start(name) for name in stages or STAGES]
        await self.clock.settle()
        return started

    def send(
        self,
        value: Mapping[str, Any] | bytes | None,
        *,
        key: bytes | None = None,
        headers: Sequence[Header] = (),
        partition: int = 0,
    ) -> str:
        """Writes one message; its origin."""
        raw = orjson.dumps(value) if isinstance(value, Mapping) else value
        record = self.log.append("messages", partition, key, raw, list(headers))
        return f"messages-{partition}-{record.offset}"

    def decisions(self) -> list[dict[str, Any]]:
        """All decisions so far, partition by partition."""
        return [orjson.loads(record.value or b"") for record in self.log.records("decisions")]

    async def _start(self, name: str) -> Running:
        member = Member(
            stage=name,
            group=f"hunch-{name}",
            topic="messages" if name == "fast" else "deferrals",
            policy=MemberPolicy(),
            clock=self.clock,
            metrics=self.metrics,
        )
        if name == "fast":
            await self._fast.start()
            stage = self.cascade.fast(member, self._fast)
        elif name == "slow":
            await self._slow.start()
            stage = self.cascade.slow(member, self._slow, service_ms={})
        else:
            stage = self.cascade.join(member)
        task = asyncio.create_task(stage.run(), name=name)
        seat = await self.log.join(member.group, member.topic, member)
        member.attach(lambda: seat, seat.stop)
        running = Running(stage, seat, task)
        self._running.append(running)
        return running


async def run_cascade(
    messages: Iterable[Mapping[str, Any]],
    *,
    fast: Predictor,
    slow: Predictor,
    tau: float = 0.9,
    delta_ms: float = 500.0,
    limit_ms: float = 60_000.0,
    clock: ManualClock | None = None,
) -> list[dict[str, Any]]:
    """The decision of every message, in the order of the messages.

    Raises `TimeoutError` when some have none after `limit_ms` of manual time.
    """
    async with MemoryCascade(
        fast=fast, slow=slow, tau=tau, delta_ms=delta_ms, clock=clock
    ) as cascade:
        origins = [cascade.send(message) for message in messages]
        await cascade.start()
        until_ms = cascade.clock.now_ms() + limit_ms
        found: dict[str, dict[str, Any]] = {}
        while len(found) < len(origins):
            if cascade.clock.now_ms() > until_ms:
                msg = f"{len(origins) - len(found)} messages have no decision."
                raise TimeoutError(msg)
            await cascade.clock.advance(10)
            found = {decision["origin"]: decision for decision in cascade.decisions()}
        return [found[origin] for origin in origins]
