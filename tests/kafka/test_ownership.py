"""Partitions that keep their owner go on: while one joins, one leaves, one is frozen and returns.

Two processes of the stage in question and one of each other, under a steady load; an outside reader
measures the silence of each partition. Promise 2 holds through it: fallbacks of partitions that
keep their owner are on time.
"""

import asyncio
import time

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from tests.kafka.checker import Checker
from tests.kafka.load import Load
from tests.kafka.ownership import Owners, Window

PARTITIONS = 4
LONGEST_GAP_S = 0.5


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

    def __init__(self, owners: Owners, checker: Checker, *, offset: int, paths) -> None:
        self.windows: list[Window] = []
        self._owners = owners
        self._checker = checker
        self._seen_by = {"offset": offset, "paths": paths}

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
        await window.close(self._checker, self._now(without))

    def _now(self, without):
        """The owners; what a frozen process still holds for its own is not so any more."""
        awake = [process for process in self._owners.processes if process is not without]
        return Owners(awake, PARTITIONS).now()


def told_late(late_ms: list[float]) -> str:
    """The percentiles in words."""
    p50, p99 = percentile(late_ms, 50), percentile(late_ms, 99)
    return f"p50 {p50:.0f}, p99 {p99:.0f}, max {max(late_ms):.0f} ms of {len(late_ms)}"


def percentile(values: list[float], percent: int) -> float:
    """The smallest value that so many percent do not exceed."""
    return sorted(values)[min(len(values) * percent // 100, len(values) - 1)]


def due_in(checker: Checker, window: Window):
    """The fallbacks of partitions that kept their owner and were due in a window."""
    return [
        seen
        for seen in checker.seen
        if seen.path == "fallback"
        and seen.partition - PARTITIONS in window.kept
        and window.from_ms <= seen.body["deadline_ms"] < window.to_ms
    ]


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
        await checker.hear(decided_by, time.monotonic(), 20.0, *paths)
        shifts = Shifts(owners, checker, offset=offset, paths=paths)
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
    if is_join:
        for window in shifts.windows:
            due = due_in(checker, window)
            fired = [abs(seen.body["at_ms"] - seen.body["deadline_ms"]) for seen in due]
            appended_ms = [abs(seen.timestamp_ms - seen.body["deadline_ms"]) for seen in due]
            measured(f"{window.name}: timer {told_late(fired)}; appended {told_late(appended_ms)}")

    assert set(sent) == set(checker.by_origin)
    assert [True] * 4 == [bool(window.kept) for window in shifts.windows]
    assert [] == [
        window.told() for window in shifts.windows if max(window.kept.values()) > LONGEST_GAP_S
    ]
    assert 0 == left_with
    assert [0] * len(codes) == codes
