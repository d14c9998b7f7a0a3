"""Partitions that keep their owner go on: while one joins, one leaves, one is frozen and returns.

Two processes of the stage in question and one of each other, under a steady load; an outside reader
measures the silence of each partition. No fallback of a partition that keeps its owner waits for
the group. The p99 of promise 2 is judged by `bench/deadline.py`: here processes start on the same
cores, so that lateness is reported, beside that of a while in which nothing happens.
"""

import asyncio
import time
from dataclasses import dataclass

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from tests.kafka.checker import Checker
from tests.kafka.load import Load
from tests.kafka.ownership import Owners, Window

PARTITIONS = 4
LONGEST_GAP_S = 0.5
LATEST_MS = 500.0
TIMER_P50_MS = 5.0
STEADY_S = 2.0
SETTLED_MS = 250.0
"""Of the end of a window: what is due then may be in the hands of whoever the next one hits."""
COLD_S = 2.0
"""Of the first decisions; a broker and stages that have just started take longer for each."""


@pytest.fixture
async def appended(kafka_bootstrap, topic_prefix, fresh_topics):
    """Fresh topics; records of `decisions` carry the time at which the broker appended them."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    configs = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": "1114124"}
    decisions = NewTopic(f"{topic_prefix}decisions", 2 * PARTITIONS, 1, topic_configs=configs)
    try:
        await admin.create_topics([decisions])
    finally:
        await admin.close()
    return await fresh_topics(partitions=PARTITIONS)


class Shifts:
    """The changes of ownership that one stage goes through, each in a window of its own."""

    def __init__(self, owners: Owners, checker: Checker, load: Load, *, offset: int, paths) -> None:
        self.windows: list[Window] = []
        self._owners = owners
        self._checker = checker
        self._load = load
        self._seen_by = {"offset": offset, "paths": paths}

    async def stay(self) -> None:
        """Nothing happens: what the others are compared with."""
        window = self._open("stays")
        await asyncio.sleep(STEADY_S)
        await self._close(window)

    async def join(self, start) -> None:
        """One more process comes."""
        window = self._open("joins")
        self._owners.processes.append(start())
        await self._owners.settle(window.from_s)
        await self._close(window)

    async def leave(self) -> int:
        """The second process goes in order; its exit code."""
        window = self._open("leaves")
        leaver = self._owners.processes.pop(1)
        code = await asyncio.to_thread(leaver.terminate)
        await self._owners.settle(window.from_s)
        await self._close(window)
        return code

    async def freeze_and_thaw(self) -> None:
        """The first process stands still past its session, and comes back."""
        sleeper, *others = self._owners.processes
        window = self._open("is frozen")
        sleeper.freeze()
        await self._owners.settle(window.from_s, others)
        await self._close(window, without=sleeper)
        window = self._open("is back", without=sleeper)
        sleeper.thaw()
        await self._owners.settle(window.from_s)
        await self._close(window)

    def _open(self, name: str, without=None) -> Window:
        window = Window(name, self._now(without), **self._seen_by)
        self.windows.append(window)
        return window

    async def _close(self, window: Window, without=None) -> None:
        await window.close(self._checker, self._load, self._now(without))

    def _now(self, without):
        """The owners; what a frozen process still holds for its own is not so any more."""
        awake = [process for process in self._owners.processes if process is not without]
        return Owners(awake, PARTITIONS).now()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lateness:
    """Milliseconds between the deadlines of some fallbacks and what became of them, sorted."""

    timer: list[float]
    appended: list[float]

    @property
    def is_prompt(self) -> bool:
        """Whether the timer keeps time, and nothing waited for the group."""
        return self.timer[len(self.timer) // 2] <= TIMER_P50_MS and self.appended[-1] <= LATEST_MS

    def told(self) -> str:
        """The percentiles in words."""
        return "; ".join(
            f"{name} p50 {late[len(late) // 2]:.0f}, p99 {late[len(late) * 99 // 100]:.0f}, "
            f"max {late[-1]:.0f} ms"
            for name, late in (("timer", self.timer), ("appended", self.appended))
        )


def lateness_in(checker: Checker, window: Window) -> Lateness:
    """Of partitions that kept their owner, the fallbacks that were due in a window."""
    due = [
        seen
        for seen in checker.seen
        if seen.path == "fallback"
        and seen.partition - PARTITIONS in window.kept
        and window.from_ms <= seen.body["deadline_ms"] < window.to_ms - SETTLED_MS
    ]
    return Lateness(
        timer=sorted(abs(seen.body["at_ms"] - seen.body["deadline_ms"]) for seen in due),
        appended=sorted(abs(seen.timestamp_ms - seen.body["deadline_ms"]) for seen in due),
    )


@pytest.mark.timeout(120, func_only=True)
@pytest.mark.parametrize(
    ("stage", "others", "paths"),
    [
        ("fast", ("slow", "join"), ("fast",)),
        ("slow", ("fast", "join"), ("slow",)),
        ("join", ("fast",), ("fallback",)),
    ],
)
async def test_kept_partitions_go_on_while_owners_change(
    *, stage, others, paths, kafka_bootstrap, appended, start_stage, digits, measured
):
    """No gap over 500 ms where the owner stays, nothing lost, and fallbacks on time."""
    is_join = stage == "join"

    def start(name=stage):
        return start_stage(name, tau=0.995, delta_ms=300 if is_join else 5_000)

    supporting = [start(name) for name in others]
    owners = Owners([start(), start()], PARTITIONS)
    for process in [*supporting, *owners.processes]:
        process.wait_ready()
    async with (
        Checker(kafka_bootstrap, f"{appended}decisions", 2 * PARTITIONS) as checker,
        Load(kafka_bootstrap, f"{appended}messages", digits, rate=500) as load,
    ):
        await owners.settle(0.0)
        offset = 0 if stage == "fast" else PARTITIONS
        decided_by = range(offset, offset + PARTITIONS)
        await checker.hear(decided_by, time.monotonic() + COLD_S, 20.0, *paths)
        shifts = Shifts(owners, checker, load, offset=offset, paths=paths)
        await shifts.stay()
        await shifts.join(start)
        left_with = await shifts.leave()
        await shifts.freeze_and_thaw()
        sent = await load.stop()
        await checker.decide(sent, 30.0)
        codes = [process.terminate() for process in [*owners.processes, *supporting]]
        await checker.reach(await checker.ends())
    for window in shifts.windows:
        measured(f"{stage}, one {window.told()}")
    measured(f"{stage}, all of it: {len(sent)} sent, {checker.doubled} decided twice")
    late = [lateness_in(checker, window) for window in shifts.windows] if is_join else []
    for window, its in zip(shifts.windows, late, strict=False):
        measured(f"join, one {window.name}, distance from the deadline of kept: {its.told()}")

    assert set(sent) == set(checker.by_origin)
    assert [True] * 5 == [bool(window.kept) for window in shifts.windows]
    assert [] == [window.told() for window in shifts.windows if window.kept_gap_s > LONGEST_GAP_S]
    assert [] == [its.told() for its in late if not its.is_prompt]
    assert 0 == left_with
    assert [0] * len(codes) == codes
