"""Transactional lanes that fail in a transaction: closed, opened again, nothing lost or doubled."""

import pytest
from aiokafka.errors import KafkaTimeoutError, MessageSizeTooLargeError
from tests.stages.parties import by_origin, cascade

from hunch.kafka.lane import LanePolicy

SURE, UNSURE = {"c": 0.95}, {"c": 0.6}
LANES = {"fast": "hunch-fast.messages.0", "join": "hunch-join.deferrals.0"}


def transactional(**changes):
    """A cascade in memory with `delivery = "exactly-once"`."""
    return cascade(delta_ms=300, lane_policy=LanePolicy(is_exactly_once=True), **changes)


@pytest.mark.parametrize("stage", LANES)
async def test_a_lane_that_was_fenced_while_it_owns_is_opened_again(stage):
    """As after a transaction that took too long: the sole owner takes its own partition over."""
    async with transactional() as memory:
        await memory.start("fast", "join")
        origins = [memory.send(UNSURE)]
        await memory.clock.advance(100)
        memory.log.transactions.fence(LANES[stage])
        origins += [memory.send(message) for message in (SURE, UNSURE)]
        await memory.clock.advance(10_000)

        assert set(origins) == set(by_origin(memory))
        assert 2 == memory.metrics.snapshot()[f"takeovers{{stage={stage}}}"]


@pytest.mark.parametrize("stage", LANES)
@pytest.mark.parametrize(
    ("operation", "error", "is_applied"),
    [
        ("produce", MessageSizeTooLargeError(), False),
        ("produce", KafkaTimeoutError(), True),
        ("txn_offsets", KafkaTimeoutError(), False),
        ("end_txn", KafkaTimeoutError(), False),
        ("end_txn", KafkaTimeoutError(), True),
    ],
    ids=["batch refused", "batch unknown", "offsets", "commit refused", "commit unknown"],
)
async def test_a_transaction_that_fails_anywhere_costs_nothing(stage, operation, error, is_applied):
    """Whatever has come of it, each message gets one decision."""
    topic = {"fast": "messages", "join": "deferrals"}[stage]
    topic = {("produce", "fast"): "deferrals", ("produce", "join"): "decisions"}.get(
        (operation, stage), topic
    )
    async with transactional() as memory:
        await memory.start("fast", "join")
        await memory.clock.advance(100)
        memory.log.fail_next(operation, error, topic, is_applied=is_applied)
        origins = [memory.send(UNSURE) for _ in range(3)]
        await memory.clock.advance(10_000)

        assert set(origins) == set(by_origin(memory))


async def test_a_fenced_lane_with_several_outputs_closes_like_any_other():
    """Decisions and deferrals at once: what the second send says is no bug of ours."""
    async with transactional() as memory:
        (running,) = await memory.start("fast")
        await memory.clock.advance(100)
        memory.log.transactions.fence(LANES["fast"])
        for message in (SURE, UNSURE, b"{"):
            memory.send(message)
        await memory.clock.advance(5_000)

        assert not running.task.done()
        assert 2 == len(memory.decisions())
        assert 1 == len(memory.log.records("deferrals"))


@pytest.mark.parametrize("stage", LANES)
async def test_a_process_that_stood_still_does_not_fence_the_new_owner(stage):
    """It opens no lane before its group has told it what it lost."""
    async with transactional() as memory:
        (old,) = await memory.start(stage)
        await memory.start(stage)
        await memory.clock.advance(100)
        await memory.log.evict(old.seat)
        await memory.clock.advance(100)
        old.stage.member._beat_ms -= 10_000
        await memory.clock.advance(1_000)
        await memory.log.rejoin(old.seat)
        await memory.clock.advance(5_000)

        assert 2 == memory.metrics.snapshot()[f"takeovers{{stage={stage}}}"]


async def test_a_commit_that_the_broker_has_not_loaded_yet_is_asked_for_again():
    """It knows less than this process: the lane waits, and reads nothing twice."""
    async with transactional() as memory:
        (running,) = await memory.start("fast")
        origins = [memory.send(SURE) for _ in range(5)]
        await memory.clock.advance(100)
        offsets = memory.log.group("hunch-fast").offsets
        loaded = dict(offsets)
        offsets.clear()
        memory.log.transactions.fence(LANES["fast"])
        origins.append(memory.send(SURE))
        await memory.clock.advance(3_000)
        waiting = dict(running.stage.lanes.running)
        offsets.update(loaded)
        await memory.clock.advance(1_000)

        assert {} == waiting
        assert set(origins) == set(by_origin(memory))
        assert "duplicates_skipped{stage=fast}" not in memory.metrics.snapshot()
