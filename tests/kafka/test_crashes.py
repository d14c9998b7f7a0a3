"""Promise 1, at-least-once: kill -9 of any stage, at any moment, loses no decision.

Each test kills one stage ten times under a steady load, at moments drawn from a seed, and starts it
again at once. A kill counts only where it is proven to hurt: records of the stage's input that
were there and not committed, and deferrals that were undecided. `CRASH_SEED` runs one seed again.
"""

import asyncio
import os
import random
import time
from dataclasses import dataclass

import pytest
from tests.kafka.checker import Checker, Offsets
from tests.kafka.load import Load

KILLS = 10
MOST_KILLS = 15
PARTITIONS = 4
RATE = 400.0
TAU = 0.995
"""About half of the digits are deferred."""
IN_HAND = {"delta_ms": 2_000, "max_queue_delay_ms": 800, "max_batch_size": 1_024}
"""Deferrals wait long for their batch, while every second message is decided at once: commits flow,
and always leave older work behind that is undecided."""
INPUTS = {"fast": "messages", "slow": "deferrals", "join": "deferrals"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """What one kill hit.

    Attributes:
        after_ms: how long the stage had been ready.
        uncommitted: records of its input that were there before and never committed by it.
        undecided: deferrals that were there before and undecided after.
    """

    after_ms: int
    uncommitted: int
    undecided: int

    @property
    def counts(self) -> bool:
        """Whether there was work of both kinds to lose."""
        return self.uncommitted > 0 and self.undecided > 0


class Scene:
    """All that a kill is seen by."""

    def __init__(self, prefix: str, checker: Checker, offsets: Offsets) -> None:
        self._prefix = prefix
        self._checker = checker
        self._offsets = offsets

    async def kill(self, process, start, after_ms: int):
        """Kills and starts again; the new process, and what the kill hit."""
        of_stage = f"{self._prefix}{INPUTS[process.stage]}"
        there, deferred = await asyncio.gather(
            self._offsets.ends(of_stage, PARTITIONS),
            self._offsets.ends(f"{self._prefix}deferrals", PARTITIONS),
        )
        process.kill()
        successor = start(process.stage)
        # Whatever the dead one had written is below these ends.
        await self._checker.reach(await self._checker.ends())
        undecided = sum(deferred.values()) - self._decided(deferred)
        # Its last commit has arrived by the time that its successor starts; the group has no
        # other owner before the dead one's session ends.
        await asyncio.to_thread(successor.wait_for, lambda event: event["event"] == "starting")
        group = f"{self._prefix}hunch-{process.stage}"
        committed = await self._offsets.committed(group, of_stage, PARTITIONS)
        uncommitted = sum(max(0, there[p] - committed[p]) for p in there)
        await asyncio.to_thread(successor.wait_ready)
        return successor, Kill(after_ms=after_ms, uncommitted=uncommitted, undecided=undecided)

    def _decided(self, below: dict[int, int]) -> int:
        decided = {
            (seen.partition - PARTITIONS, seen.deferral)
            for seen in self._checker.seen
            if seen.deferral is not None and seen.deferral < below[seen.partition - PARTITIONS]
        }
        return len(decided)


@pytest.mark.timeout(150, func_only=True)
@pytest.mark.parametrize(("stage", "seed"), [("fast", 11), ("slow", 12), ("join", 13)])
async def test_killed_stages_lose_no_decision(
    *, stage, seed, kafka_bootstrap, fresh_topics, start_stage, digits, measured
):
    """Ten kills of a stage, each with work in hand: the origins decided are the origins sent."""
    seed = int(os.environ.get("CRASH_SEED", seed))
    chance = random.Random(seed)
    began_s = time.monotonic()

    def start(name):
        return start_stage(name, tau=TAU, **IN_HAND)

    prefix = await fresh_topics(partitions=PARTITIONS)
    running = {name: start(name) for name in ("fast", "slow", "join")}
    for process in running.values():
        process.wait_ready()
    async with (
        Offsets(kafka_bootstrap) as offsets,
        Checker(kafka_bootstrap, f"{prefix}decisions", 2 * PARTITIONS) as checker,
        Load(kafka_bootstrap, f"{prefix}messages", digits, rate=RATE, hurried_every=2) as load,
    ):
        scene = Scene(prefix, checker, offsets)
        await checker.hear(range(2 * PARTITIONS), time.monotonic(), 20.0)
        kills: list[Kill] = []
        while sum(kill.counts for kill in kills) < KILLS and len(kills) < MOST_KILLS:
            moment_ms = chance.randint(20, 700)
            await asyncio.sleep(moment_ms / 1000)
            running[stage], kill = await scene.kill(running[stage], start, moment_ms)
            kills.append(kill)
        sent = await load.stop()
        await checker.decide(sent, 30.0)
        codes = [process.terminate() for process in running.values()]
        await checker.reach(await checker.ends())
    measured(
        f"{len(kills)} x kill -9 of {stage} (seed {seed}) in {time.monotonic() - began_s:.0f} s: "
        f"{len(sent)} sent, {checker.doubled} decided twice; at the kills "
        f"{[kill.uncommitted for kill in kills]} uncommitted, "
        f"{[kill.undecided for kill in kills]} undecided"
    )

    assert set(sent) == set(checker.by_origin)
    assert KILLS == sum(kill.counts for kill in kills)
    assert [0, 0, 0] == codes
