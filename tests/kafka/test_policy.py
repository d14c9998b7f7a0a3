"""A policy that is pushed to running stages on a real Kafka: taken whole, named and obeyed."""

import asyncio
import logging
import time

import pytest
from tests.kafka.checker import Checker
from tests.kafka.load import Load
from tests.policies import policy

from hunch.cli import policy as command
from hunch.settings import Settings

PARTITIONS = 4
RATE = 2_000
PAUSE_MS = 50
LONGEST_MS = 200
"""Without any push: for a machine that does other things, too."""


@pytest.fixture(autouse=True)
def loud_again():
    """What a command silences in its process is heard again in that of the tests."""
    library = logging.getLogger("aiokafka")
    level = library.level
    yield
    library.setLevel(level)


def taken(process, name):
    """Waits until a process has said that a policy of this name is in force."""
    process.wait_for(lambda e: e["event"] == "policy_in_force" and e["policy"] == name)


def obeys(body, policies):
    """Whether a decision follows the policy that it names."""
    made = policies[body["policy"]]
    tau = made.taus.get(body["fast"]["label"], made.tau)
    is_sure = body["fast"]["confidence"] >= tau
    return body["tau"] == tau and (body["path"] == "fast") == is_sure


def longest_ms(waits, start_s, end_s):
    """From a message to its decision, the longest of those decided in that time."""
    return max(ms for at_s, ms in waits if start_s <= at_s <= end_s)


@pytest.mark.timeout(120, func_only=True)
async def test_every_decision_obeys_the_policy_that_it_names(
    *, kafka_bootstrap, fresh_topics, start_stage, digits, measured
):
    """While 2,000 messages a second flow, pushes and a rollback change τ; nothing pauses."""
    prefix = await fresh_topics(partitions=PARTITIONS)
    settings = Settings(bootstrap=kafka_bootstrap, topic_prefix=prefix)
    high = policy(stem="high", tau=0.99)
    mixed = policy(stem="mixed", tau=0.7, taus={"1": 0.95, "8": 0.98})
    stages = [start_stage(stage, tau=0.9) for stage in ("fast", "slow", "join")]
    for process in stages:
        await asyncio.to_thread(process.wait_ready)
    fast, slow, _ = stages
    turned_s = []
    await command._read(settings)  # what is imported for it is not to hold up the load below
    async with (
        Checker(kafka_bootstrap, f"{prefix}decisions", 2 * PARTITIONS) as checker,
        Load(kafka_bootstrap, f"{prefix}messages", digits, rate=RATE) as load,
    ):
        await checker.hear(range(PARTITIONS), time.monotonic() + 2.0, 30.0, "fast")
        for turn, name in (
            (lambda: command.pushed(settings, high), high.name),
            (lambda: command.pushed(settings, mixed), mixed.name),
            (lambda: command._rollback(settings), high.name),
        ):
            turned_s.append(time.time())
            await turn()
            for process in (fast, slow):
                await asyncio.to_thread(taken, process, name)
            await checker.hear(range(PARTITIONS), time.monotonic() + 1.0, 30.0, "fast")
        origins = await load.stop()
        await checker.decide(origins, 30.0)
    policies = {made.name: made for made in (high, mixed)}
    policies["settings"] = policy(tau=0.9)
    bodies = [seen.body for seen in checker.seen]
    waits = [
        (s.body["at_ms"] / 1000, s.body["times"]["total"])
        for s in checker.seen
        if s.partition < PARTITIONS
    ]
    after_ms = [longest_ms(waits, at, at + 1) for at in turned_s]
    before_ms = [longest_ms(waits, turned_s[0] - ago, turned_s[0] - ago + 1) for ago in (1, 2)]
    measured(
        f"policy pushed at {RATE} messages a second: no fast decision took longer than "
        f"{max(after_ms):.0f} ms from its message in the second after a push, {max(before_ms):.0f} "
        "ms in the 2 s before the first"
    )

    assert set(policies) == {body["policy"] for body in bodies}
    assert [] == [body for body in bodies if not obeys(body, policies)]
    assert 0 == checker.doubled
    assert max(after_ms) < max(LONGEST_MS, *before_ms) + PAUSE_MS


@pytest.mark.timeout(120, func_only=True)
async def test_a_stage_that_starts_later_takes_what_was_pushed(
    *, kafka_bootstrap, fresh_topics, start_stage
):
    """What was pushed counts over the command line; what is for other models is refused."""
    prefix = await fresh_topics(partitions=1)
    settings = Settings(bootstrap=kafka_bootstrap, topic_prefix=prefix)
    made = policy(tau=0.42, delta_ms=700)
    stranger = {"name": "x", "version": "1", "sha256": "0" * 64}
    other = policy(models={"fast": stranger, "slow": stranger})
    await command.pushed(settings, made)
    fast = start_stage("fast", tau=0.9)
    ready = await asyncio.to_thread(fast.wait_ready)
    await command.pushed(settings, other)
    refused = await asyncio.to_thread(fast.wait_for, lambda e: e["event"] == "policy_refused")

    assert (made.name, 0.42, 700) == (ready["policy"], ready["tau"], ready["delta_ms"])
    assert "was made for the fast model x@1" in refused["message"]
    assert made.name == refused["stays"]


@pytest.mark.timeout(120, func_only=True)
async def test_two_that_push_at_the_same_moment_learn_what_is_in_force(
    *, kafka_bootstrap, fresh_topics
):
    """Both have read the topic before either writes: the later one counts, and both see it."""
    prefix = await fresh_topics(partitions=1)
    settings = Settings(bootstrap=kafka_bootstrap, topic_prefix=prefix)
    one, other = policy(stem="one"), policy(stem="other")
    async with command._control(settings) as first, command._control(settings) as second:
        was_first = await first.write(first.state.push(one), one.name)
        was_second = await second.write(second.state.push(other), other.name)
        await first.reader.catch_up(10_000)
        seen = first.state.history[0]

    assert (one.name, other.name, other.name) == (was_first.now, was_second.now, seen)
