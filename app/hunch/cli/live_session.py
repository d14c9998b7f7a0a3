"""A cascade of its own on a broker: topics, stages, and one trial after the other through them.

Topics and groups have a prefix that is drawn, and go with the session, as the processes do.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil

from hunch.cli.connection import connected, told_as_sentences
from hunch.cli.demo_brokers import own_topics
from hunch.cli.demo_processes import Stages
from hunch.cli.live_traffic import Decisions, Plan, Sender, SlowResults, reading
from hunch.cli.policy import pushed
from hunch.clock import SystemClock
from hunch.core.policy import Policy
from hunch.errors import ConfigError, HunchError
from hunch.evaluation.live.trial import Trial
from hunch.evaluation.simulation.run import Run
from hunch.kafka import embedded
from hunch.kafka.aio import KafkaClient
from hunch.settings import Settings

STEM = "hunch-sweep-"
NOT_FOR_A_SWEEP = {
    "topics",
    "topic_prefix",
    "policy_file",
    "stages",
    "http_port",
    "http_host",
    "trace_ratio",
    "trace_paths_per_s",
}
"""What would touch what is the user's, or cannot be shared by several processes."""
DECIDING = ("fast", "slow")
"""Stages that follow the control topic."""
PATIENCE_S = 20.0
"""How long nothing may come, beyond Δ, while decisions are missing."""
LOOK_S = 0.05
MOST_MESSAGES = 500_000
"""Of one point: all of their decisions are held in memory."""
T = TypeVar("T")
OnProgress = Callable[[float], None]


@asynccontextmanager
async def opened(settings: Settings, processes: Mapping[str, int]) -> AsyncIterator["Session"]:
    """A session whose stages are ready; raises `HunchError`s."""
    require_room(settings, processes)
    kept = {key: getattr(settings, key) for key in settings.model_fields_set - NOT_FOR_A_SWEEP}
    folder = Path(tempfile.mkdtemp(prefix=STEM))
    log = folder / "stages.log"
    try:
        async with AsyncExitStack() as stack:
            own = await stack.enter_async_context(own_topics(Settings(**kept), STEM))
            stages = Stages(own, log, {}, processes)
            stack.push_async_callback(stages.kill)
            await stages.start()
            with told_as_sentences(own):
                await _guarded(stages, stages.wait_until_ready())
                client = await stack.enter_async_context(connected(own))
                yield Session(own, stages, client, log)
                await stages.stop()
    except HunchError:  # its sentence may name the log
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


class Session:
    """Stages that are ready, and a client of their broker."""

    def __init__(self, settings: Settings, stages: Stages, client: KafkaClient, log: Path) -> None:
        self._settings = settings
        self._stages = stages
        self._client = client
        self._log = log
        self._clock = SystemClock()
        self._sent = 0

    async def trial(
        self,
        policy: Policy,
        run: Run,
        messages: Sequence[bytes],
        *,
        on_progress: OnProgress,
        with_slow_results: bool = False,
    ) -> Trial:
        """Pushes a policy, sends a run's messages, and waits until each is decided.

        Args:
            policy: which the fast stage and the slow stage have in force before the first message.
            run: which messages, and when.
            messages: by row of the record.
            on_progress: is told the share of the run's time that has passed.
            with_slow_results: whether these are read, too.

        Raises `HunchError` where a stage ends, and where decisions do not come.
        """
        if len(run.rows) > MOST_MESSAGES:
            raise ConfigError(
                f"{len(run.rows):,} messages are too many for one point of --live: lower --rate or "
                "--seconds."
            )
        trial = self._trial(policy, run, messages, on_progress, with_slow_results=with_slow_results)
        return await _guarded(self._stages, trial)

    async def _trial(
        self,
        policy: Policy,
        run: Run,
        messages: Sequence[bytes],
        on_progress: OnProgress,
        *,
        with_slow_results: bool,
    ) -> Trial:
        settings, client, clock = self._settings, self._client, self._clock
        await pushed(settings, policy)
        await self._stages.wait_until_in_force(policy.name, DECIDING)
        values = [messages[row] for row in run.rows.tolist()]
        plan = Plan(run.arrived_ms, run.partitions, values, self._sent)
        self._sent += len(plan)
        decisions, results = Decisions(), SlowResults()
        count = settings.partitions
        async with AsyncExitStack() as stack:
            readers = [(settings.topic("decisions"), 2 * count, decisions.take)]
            if with_slow_results:
                readers.append((settings.topic("slow-results"), count, results.take))
            tasks = [
                await stack.enter_async_context(reading(client, *reader, clock))
                for reader in readers
            ]
            producer = client.producer()
            stack.push_async_callback(producer.stop)
            await producer.start()
            sender = Sender(producer, settings.topic("messages"), clock)
            psutil.cpu_percent()
            sending = asyncio.create_task(sender.run(plan, on_progress))
            stack.push_async_callback(_cancelled, sending)
            await asyncio.wait({sending, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                _raise_of(tasks)
            sent_ms, late_ms = sending.result()
            busy = psutil.cpu_percent() / 100  # since the call before
            await self._wait_for(plan, decisions, tasks, (policy.delta_ms or 0) / 1000)
        return Trial(
            policy=policy.name,
            run=run,
            sent_ms=sent_ms,
            late_ms=late_ms,
            busy=min(1.0, busy),
            decisions=decisions.of(plan),
            slow_results=results.seen,
        )

    async def _wait_for(
        self,
        plan: Plan,
        decisions: Decisions,
        tasks: "Sequence[asyncio.Task[None]]",
        delta_s: float,
    ) -> None:
        count, latest_s = len(decisions.seen), time.monotonic()
        while count < len(plan):
            await asyncio.wait(tasks, timeout=LOOK_S)
            _raise_of(tasks)
            if len(decisions.seen) > count:
                count, latest_s = len(decisions.seen), time.monotonic()
            if time.monotonic() > latest_s + PATIENCE_S + delta_s:
                raise HunchError(
                    f"{len(plan) - count:,} of {len(plan):,} messages have no decision, and none "
                    f"has come for {PATIENCE_S + delta_s:.0f} s: the log of the stages is "
                    f"{self._log}."
                )


def require_room(settings: Settings, processes: Mapping[str, int]) -> None:
    """Raises `ConfigError` for more processes than the broker can serve."""
    if settings.bootstrap == embedded.ADDRESS and max(processes.values(), default=1) > 1:
        raise ConfigError(
            "On the embedded broker a stage has one process: name a Kafka with --bootstrap."
        )


async def _guarded(stages: Stages, work: Coroutine[Any, Any, T]) -> T:
    """The result of the work; raises `HunchError` as soon as a stage ends."""
    working = asyncio.create_task(work)
    ending = asyncio.create_task(stages.wait_until_one_ends())
    try:
        await asyncio.wait({working, ending}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            ending.result()
        return working.result()
    finally:
        await _cancelled(working, ending)


async def _cancelled(*tasks: "asyncio.Task[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _raise_of(tasks: "Sequence[asyncio.Task[None]]") -> None:
    for task in tasks:
        if task.done():
            task.result()
