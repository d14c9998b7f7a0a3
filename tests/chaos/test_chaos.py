"""The short chaos run: what each delivery promises holds while everything dies.

`CHAOS_SEED` runs another seed; `make chaos` runs longer, with more kinds of trouble.
"""

import os
from dataclasses import replace

import pytest
from tests.chaos.report import again
from tests.chaos.run import run
from tests.chaos.schedule import MIXES, Kind
from tests.chaos.short import SHORT

SEED = int(os.environ.get("CHAOS_SEED", SHORT.seed))


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(240, func_only=True)
def test_exactly_once_survives_the_short_run(chaos_broker, measured, tmp_path):
    """Kills, zombies, handovers, refusals and a broker that dies: one decision each, on time."""
    outcome = run(replace(SHORT, seed=SEED), chaos_broker, folder=tmp_path)
    counts = outcome.counts
    measured(
        f"chaos, seed {SEED}: {counts['messages']} messages, {sum(outcome.deeds.values())} faults, "
        f"{counts['aborted_transactions']} transactions aborted, {counts['fences']} fences seen in "
        f"{counts['wall_s']:.0f} s ({counts['cpu_s']:.0f} s CPU)"
    )

    assert outcome.has_passed, f"{outcome.problems} in {outcome.folder}; again: {again(outcome)}"
    assert counts["messages"] == counts["decisions"]
    assert counts["aborted_transactions"] > 0
    assert {"fast/confident", "slow/verified", "fallback/deadline"} <= counts["paths"].keys()


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(180, func_only=True)
def test_at_least_once_decides_some_messages_twice(chaos_broker, measured, tmp_path):
    """The harness can fail: zombies decide a second time, which is found; nothing is lost."""
    zombies = replace(
        MIXES["short"],
        weights={Kind.FREEZE: 1},
        stages=("fast", "join"),
        mean_pause_s=1.0,
    )
    outcome = run(
        replace(SHORT, mix=zombies, seed=SEED, seconds=10.0, delivery="at-least-once"),
        chaos_broker,
        folder=tmp_path,
    )
    problems = outcome.problems
    measured(f"chaos, at-least-once: {problems['duplicate']} decided twice, seed {SEED}")

    assert outcome.has_passed, f"{problems} in {outcome.folder}; again: {again(outcome)}"
    assert problems["duplicate"] > 0
    assert 0 == problems["lost"]
