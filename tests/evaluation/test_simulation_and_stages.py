"""The simulation against the stages themselves, on an in-memory log under a manual clock.

The same messages come at the same times, models take constant times, the broker takes none. So
both must decide the same, at the same times.
"""

from typing import Any

import numpy as np
import orjson
import pytest
from tests.evaluation.simulated import exits, place, policy, scenario, simulate

from hunch.core.batching import BatchPolicy
from hunch.evaluation.simulation.run import ENDS
from hunch.kafka.harbour import LanePolicy
from hunch.testing import ManualClock, StubPredictor
from hunch.testing.cascade import MemoryCascade

START_MS = 1_700_000_000_000
CASES: dict[str, dict[str, Any]] = {
    "at ease": {"rate": 60.0},
    "in batches": {"rate": 250.0, "max_batch_size": 8, "max_queue_delay_ms": 5},
    "in transactions": {"rate": 100.0, "is_exactly_once": True, "commit_interval_ms": 50},
    "in small deliveries": {"rate": 200.0, "max_delivery_messages": 4, "max_batch_size": 8},
    "short of time": {"rate": 100.0, "delta_ms": 25.0, "max_batch_size": 4},
    "without time": {"rate": 100.0, "delta_ms": 0.0},
    "overloaded": {"rate": 600.0, "delta_ms": 150.0, "max_batch_size": 2},
    "over partitions": {"rate": 250.0, "partitions": 3, "max_batch_size": 4, "fast_ms": 0.0},
    "overloaded over partitions": {
        "rate": 500.0,
        "partitions": 3,
        "max_batch_size": 4,
        "fast_ms": 0.0,
        "delta_ms": 120.0,
        "max_queue_delay_ms": 5,
    },
    "in bursts": {"rate": 150.0, "pattern": "burst", "delta_ms": 200.0, "slow_reserve_ms": 20},
}


async def staged(found, which, *, fast_ms, slow_ms, delta_ms, deployment):
    """Reason and time of each decision of the stages, in the order of the messages."""
    clock = ManualClock(start_ms=START_MS)

    def sure(message):
        return [1.0, 0.0] if which[message["row"]] else [0.6, 0.4]

    async with MemoryCascade(
        fast=StubPredictor(sure, service_ms=fast_ms, clock=clock),
        slow=StubPredictor(sure, service_ms=slow_ms, clock=clock),
        delta_ms=delta_ms,
        clock=clock,
        partitions=deployment.partitions,
        batch_policy=BatchPolicy(
            max_batch_size=deployment.max_batch_size,
            max_queue_delay_ms=deployment.max_queue_delay_ms,
            reserve_ms=deployment.slow_reserve_ms,
        ),
        lane_policy=LanePolicy(
            is_exactly_once=deployment.is_exactly_once,
            commit_interval_ms=deployment.commit_interval_ms,
            max_delivery_messages=deployment.max_delivery_messages,
        ),
    ) as cascade:
        await cascade.start()
        origins = []
        columns = found.rows.tolist(), found.partitions.tolist(), found.arrived_ms.tolist()
        for row, partition, at_ms in zip(*columns, strict=True):
            await clock.advance(START_MS + at_ms - clock.now_ms())
            origins.append(cascade.send({"row": row}, partition=partition))
        await clock.advance(5_000)
        decided = {}
        for record in cascade.log.records("decisions"):
            said = orjson.loads(record.value or b"")
            decided[said["origin"]] = said["reason"], record.timestamp - START_MS
    return [decided[origin] for origin in origins]


@pytest.mark.parametrize("case", CASES)
async def test_both_decide_the_same_at_the_same_time(case):
    """All but one message in a hundred has the same reason, and comes within 2 ms."""
    changes = dict(CASES[case])
    delta_ms = changes.pop("delta_ms", 1_000.0)
    fast_ms, slow_ms = changes.pop("fast_ms", 1.5), 8.0
    where = place(fast_ms=fast_ms or 1e-6, slow_ms=slow_ms)
    given = scenario(seconds=2.0 - delta_ms / 1000, warm_up=0.0, where=where, fresh=True, **changes)
    which = exits(0.5, rows=100)
    found = simulate(given, which=which, by=policy(delta_ms))
    real = await staged(
        found,
        which,
        fast_ms=fast_ms,
        slow_ms=slow_ms,
        delta_ms=delta_ms,
        deployment=given.deployment,
    )

    simulated = [ENDS[number][1].value for number in found.ends]
    same = np.array([one == other for one, (other, _) in zip(simulated, real, strict=True)])
    apart_ms = np.abs(found.seen_ms - np.array([at_ms for _, at_ms in real]))[same]
    assert len(same) > 80
    assert same.mean() >= 0.99
    assert np.mean(apart_ms <= 2.0) >= 0.99
