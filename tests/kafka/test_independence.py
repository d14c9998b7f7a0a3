"""One stage that stands still holds up no other: not even in its own partitions, in a transaction.

A frozen process is worse than a dead one: its transactions stay open until somebody fences them.
`STANDSTILL_S` says how long it stands still, 10 s by default.
"""

import asyncio
import os
import time
from itertools import pairwise

import pytest
from tests.kafka.checker import Checker
from tests.kafka.load import Load

PARTITIONS = 4
RATE = 400
STANDSTILL_S = float(os.environ.get("STANDSTILL_S", "10"))
LONGEST_GAP_S = 0.5
LATE_MS = 250.0
WARM_UP_S = 2.0


def gaps_s(checker, from_s):
    """The longest silence of each partition of the fast stage's decisions since then."""
    found = {}
    for partition in range(PARTITIONS):
        times = [s.arrived_s for s in checker.of(partition, "fast") if s.arrived_s >= from_s]
        found[partition] = max(later - earlier for earlier, later in pairwise(times))
    return found


@pytest.mark.timeout(120, func_only=True)
@pytest.mark.parametrize("how", ["kill", "freeze"])
async def test_a_joiner_that_is_gone_holds_up_no_fast_decision(
    *, how, kafka_bootstrap, fresh_topics, start_stage, digits, measured
):
    """Fast decisions go on with no gap over half a second, seen by a read_committed reader."""
    prefix = await fresh_topics(partitions=PARTITIONS)
    fast, join = start_stage("fast", tau=0.97), start_stage("join", tau=0.97)
    for process in (fast, join):
        await asyncio.to_thread(process.wait_ready)
    async with (
        Checker(kafka_bootstrap, f"{prefix}decisions", 2 * PARTITIONS) as checker,
        Load(kafka_bootstrap, f"{prefix}messages", digits, rate=RATE) as load,
    ):
        await checker.hear(range(PARTITIONS), time.monotonic() + WARM_UP_S, 30.0, "fast")
        began_s = time.monotonic()
        getattr(join, how)()
        await checker.hear(range(PARTITIONS), began_s + STANDSTILL_S, 30.0 + STANDSTILL_S, "fast")
        found = gaps_s(checker, began_s)
        await load.stop()
    measured(
        f"joiner {how}: longest gap in fast decisions over {STANDSTILL_S:.0f} s "
        f"{1000 * max(found.values()):.0f} ms"
    )

    assert {} == {p: gap_s for p, gap_s in found.items() if gap_s > LONGEST_GAP_S}


@pytest.mark.timeout(120, func_only=True)
async def test_a_fast_stage_that_is_gone_holds_up_no_fallback(
    *, kafka_bootstrap, fresh_topics, start_stage, digits, measured
):
    """What it had deferred before it was killed is decided at its deadline."""
    prefix = await fresh_topics(partitions=PARTITIONS)
    settings = {"tau": 1.0, "delta_ms": 3_000}
    fast, join = start_stage("fast", **settings), start_stage("join", **settings)
    for process in (fast, join):
        await asyncio.to_thread(process.wait_ready)
    async with (
        Checker(kafka_bootstrap, f"{prefix}decisions", 2 * PARTITIONS) as checker,
        Load(kafka_bootstrap, f"{prefix}messages", digits, rate=RATE) as load,
    ):
        await checker.hear(range(PARTITIONS, 2 * PARTITIONS), time.monotonic(), 30.0)
        await load.stop()
        killed_ms = time.time() * 1000
        fast.kill()
        await checker.hear(range(PARTITIONS, 2 * PARTITIONS), time.monotonic() + 2.0, 30.0)
    due = [seen for seen in checker.seen if seen.body["deadline_ms"] > killed_ms + 500]
    late = sorted(seen.arrived_ms - seen.body["deadline_ms"] for seen in due)
    measured(
        f"fast killed: {len(late)} fallbacks due afterwards, seen p50 "
        f"{late[len(late) // 2]:.0f} ms, max {late[-1]:.0f} ms after their deadline"
    )

    assert {("fallback", "deadline")} == {(s.body["path"], s.body["reason"]) for s in due}
    assert late[len(late) // 2] <= LATE_MS
