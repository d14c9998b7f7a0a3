"""One run of the demo, from the broker to the verdict; it leaves no process behind."""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hunch.cli.connection import connected, quiet, told_as_sentences
from hunch.cli.demo_brokers import RELAYED, broker
from hunch.cli.demo_digits import Digits
from hunch.cli.demo_jaeger import Jaeger
from hunch.cli.demo_processes import Checker, Stages
from hunch.cli.demo_screen import Screen
from hunch.cli.demo_stream import Relay, Stream, watch
from hunch.cli.demo_tally import Tally
from hunch.cli.demo_traces import Traces, told
from hunch.clock import SystemClock
from hunch.kafka import embedded
from hunch.kafka.aio import KafkaClient
from hunch.kafka.client import Record
from hunch.settings import Settings

STALL_AT = 0.4
"""The slow stage is stopped when this share of the time has passed."""
STALL_S = 2.0
PATIENCE_S = 5.0
"""How long the demo waits for a next decision before it lets the checker judge."""
LOOK_S = 0.2
SPOILS_FROM = 100
"""From so many messages on, one is spoilt on purpose."""
SPOILT_AT = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Show:
    """What was asked for: how many messages, how many a second, and how it is to be told.

    Attributes:
        jaeger: gets the traces, where it is there.
    """

    count: int
    rate: float
    is_broken: bool
    is_silent: bool
    jaeger: Jaeger

    @property
    def spoilt(self) -> int | None:
        """The number of the message that no model can read; few messages have none."""
        return int(SPOILT_AT * self.count) if self.count >= SPOILS_FROM else None


class Demonstration:
    """The demo with its broker, its three stages and its checker."""

    def __init__(self, settings: Settings, show: Show) -> None:
        self._settings = settings
        self._show = show
        self._screen = Screen(is_silent=show.is_silent)
        self._clock = SystemClock()
        self._log = Path(tempfile.gettempdir())

    async def run(self) -> dict[str, Any]:
        """The figures, with the checker's verdict among them; raises `HunchError`s."""
        quiet()
        began_s = time.monotonic()
        digits = Digits.bundled()
        async with AsyncExitStack() as stack:
            settings = await stack.enter_async_context(broker(self._settings))
            self._log = Path(tempfile.mkdtemp(prefix="hunch-demo-")) / "stages.log"
            traces = await Traces.start(self._show.jaeger)
            stack.push_async_callback(traces.stop)
            stages = Stages(settings, self._log, traces.environment())
            checker = Checker(settings, self._log)
            stack.push_async_callback(stages.kill)
            stack.push_async_callback(checker.kill)
            self._announce(settings)
            await stages.start()
            await checker.start(self._checked(settings), 2 * settings.partitions)
            stream = partial(self._stream, settings, digits, stages, began_s)
            showing = asyncio.create_task(self._show_all(settings, stream, checker, traces))
            ending = asyncio.create_task(stages.wait_until_one_ends())
            stack.push_async_callback(_cancel, showing, ending)
            await asyncio.wait({showing, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not showing.done():
                ending.result()
            figures = showing.result()
            await _cancel(ending)
            await stages.stop()
        return figures

    def _announce(self, settings: Settings) -> None:
        is_own = self._settings.bootstrap == embedded.ADDRESS
        kind = "a broker of its own" if is_own else "your Kafka"
        say = self._screen.say
        say("hunch demo: handwritten digits, a fast and a slow model, Kafka in between", "bold")
        say(f"  Kafka    {settings.bootstrap} ({kind}), topics {settings.topic('messages')}, ...")
        say("  stages   fast, slow and join, a process each; they take a few seconds to start")
        say(
            f"  policy   tau {settings.tau}: the fast answer counts from this confidence on;\n"
            f"           delta {settings.delta_ms} ms: the time that the slow model gets"
        )

    async def _stream(
        self, settings: Settings, digits: Digits, stages: Stages, began_s: float
    ) -> tuple[Tally, "Streamed"]:
        """All messages, once the stages are ready, until each is decided."""
        slow_is_right = await digits.slow_alone(self._clock)
        await stages.wait_until_ready()
        self._screen.say(f"  ready    after {time.monotonic() - began_s:.1f} s")
        tally = Tally(digits, slow_is_right, self._show.count, self._show.spoilt)
        with told_as_sentences(settings):
            async with connected(settings) as client:
                live = Live(
                    self._show,
                    settings,
                    client=client,
                    tally=tally,
                    digits=digits,
                    screen=self._screen,
                )
                return tally, await live.run(stages)

    async def _show_all(
        self,
        settings: Settings,
        stream: Callable[[], Awaitable[tuple[Tally, "Streamed"]]],
        checker: Checker,
        traces: Traces,
    ) -> dict[str, Any]:
        """The stream, the verdict, and one trace for each path that there was."""
        tally, streamed = await stream()
        self._screen.say(
            "\nA second process that knows only what was sent counts the decisions ..."
        )
        verdict = await checker.verdict(streamed.origins)
        sums = tally.sums()
        self._screen.summary(sums, verdict, settings, self._log)
        if self._show.spoilt is not None:
            self._screen.spoilt(streamed.dead_letters)
        found = await traces.by_path([path for path, of in sums.paths.items() if of.count])
        is_passed_on = await traces.passed_on()
        self._screen.traces(found, traces.batches, traces.jaeger, is_passed_on=is_passed_on)
        self._screen.farewell()
        return {
            "verdict": verdict,
            "seconds": round(streamed.elapsed_s, 3),
            "rate": round(sums.decided / streamed.elapsed_s, 1),
            "tau": settings.tau,
            "delta_ms": settings.delta_ms,
            "stall_ms": int(1000 * STALL_S),
            **asdict(sums),
            "dead_letters": streamed.dead_letters,
            "traces": told(found, traces.jaeger if is_passed_on else None),
            "log": str(self._log),
        }

    def _checked(self, settings: Settings) -> str:
        return settings.topic(RELAYED if self._show.is_broken else "decisions")


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """What is known once all is decided; `elapsed_s` runs until the last decision was read."""

    origins: list[str]
    elapsed_s: float
    dead_letters: int


class Live:
    """The part of the demo in which messages and decisions flow."""

    def __init__(
        self,
        show: Show,
        settings: Settings,
        *,
        client: KafkaClient,
        tally: Tally,
        digits: Digits,
        screen: Screen,
    ) -> None:
        self._show = show
        self._settings = settings
        self._client = client
        self._tally = tally
        self._digits = digits
        self._screen = screen
        self._clock = SystemClock()
        self._relay: Relay | None = None
        self._dead_letters = 0
        self._latest_s = time.monotonic()
        self._start_s = time.monotonic()

    async def run(self, stages: Stages) -> Streamed:
        """Sends all, and returns when all is decided or nothing has come for a while."""
        partitions = self._settings.partitions
        producer, consumer = self._client.producer(), self._client.consumer("read_committed")
        letters = self._client.consumer("read_committed")
        async with AsyncExitStack() as stack:
            ends = (producer, consumer, letters)
            for end in ends:
                stack.push_async_callback(end.stop)  # also those that an interrupt finds starting
            for end in ends:
                await end.start()
            stream = Stream(
                producer,
                self._settings.topic("messages"),
                partitions,
                message=self._message,
                clock=self._clock,
                on_sent=self._tally.on_sent,
            )
            topic = self._settings.topic
            readers = (
                watch(consumer, topic("decisions"), 2 * partitions, self._on_decisions),
                watch(letters, topic("dead-letters"), 3 * partitions, self._on_dead_letters),
            )
            tasks = [asyncio.create_task(reader) for reader in readers]
            stack.push_async_callback(_cancel, *tasks)
            if self._show.is_broken:
                self._relay = Relay(producer, self._settings.topic(RELAYED))
                tasks.append(asyncio.create_task(self._relay.run()))
                stack.push_async_callback(_cancel, tasks[-1])
            self._start_s = self._latest_s = time.monotonic()
            sending = asyncio.create_task(stream.run(self._show.count, self._show.rate))
            stalling = asyncio.create_task(self._stall(stages))
            stack.push_async_callback(_cancel, sending, stalling)
            with self._screen.streaming():
                await self._follow(tasks, sending, stalling)
        return Streamed(
            origins=stream.origins,
            elapsed_s=self._latest_s - self._start_s,
            dead_letters=self._dead_letters,
        )

    def _message(self, number: int) -> bytes:
        is_spoilt = number == self._show.spoilt
        return self._digits.spoilt(number) if is_spoilt else self._digits.message(number)

    async def _follow(
        self,
        readers: Sequence["asyncio.Task[None]"],
        sending: "asyncio.Task[None]",
        stalling: "asyncio.Task[None]",
    ) -> None:
        """Shows the figures until all is decided, or nothing has come for a while."""
        while True:
            self._screen.show(self._tally.sums(), self._show.count, self._elapsed_s())
            if sending.done() and stalling.done():
                silent_s = time.monotonic() - self._latest_s
                if self._tally.decided == self._show.count or silent_s > PATIENCE_S:
                    break
            waited = {task for task in (sending, stalling) if not task.done()}
            done, _ = await asyncio.wait({*readers, *waited}, timeout=LOOK_S)
            for task in done:
                task.result()

    async def _stall(self, stages: Stages) -> None:
        await asyncio.sleep(STALL_AT * self._show.count / self._show.rate)
        self._screen.say(
            f"  {self._elapsed_s():4.1f} s   the slow stage is stopped for {STALL_S:.0f} s: "
            "its messages fall back",
            "yellow",
        )
        stages.pause("slow")
        try:
            await asyncio.sleep(STALL_S)
        finally:
            stages.resume("slow")
        self._screen.say(f"  {self._elapsed_s():4.1f} s   the slow stage goes on", "yellow")

    def _on_decisions(self, records: Sequence[Record]) -> None:
        now_ms = self._clock.now_ms()
        self._latest_s = time.monotonic()
        for record in records:
            self._tally.on_decision(record.value or b"{}", now_ms)
        if self._relay is not None:
            self._relay.copy(records)

    def _on_dead_letters(self, records: Sequence[Record]) -> None:
        self._dead_letters += len(records)

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._start_s


async def _cancel(*tasks: "asyncio.Task[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
