"""Transactional lanes that fail in a transaction: closed, opened again, nothing lost or doubled."""

import logging

import pytest
from aiokafka.errors import KafkaTimeoutError, MessageSizeTooLargeError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from tests.stages.parties import by_origin, cascade

from hunch.kafka.harbour import LanePolicy

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


async def test_a_commit_that_the_broker_forgets_during_a_takeover_counts(caplog):
    """It answered with one before, and says -1 now, as after a crash in a transaction."""
    caplog.set_level(logging.INFO, logger="hunch")
    async with transactional() as memory:
        group = memory.log.group("hunch-join")
        (joiner, _) = await memory.start("join", "fast")
        origins = [memory.send(UNSURE) for _ in range(5)]
        await memory.clock.advance(2_000)
        committed = dict(group.offsets)
        await joiner.kill()
        memory.log.latency_ms = 20.0
        (taking_over,) = await memory.start("join")
        while not taking_over.stage.lanes._open:
            await memory.clock.advance(1)
        await memory.clock.advance(50)
        assert {} == taking_over.stage.lanes.running
        group.offsets.clear()
        await memory.clock.advance(1_000)

        assert set(origins) == set(by_origin(memory))
    assert {tp.topic: at.offset for tp, at in committed.items()} == _starts(caplog)[-1]


@pytest.mark.parametrize("stage", LANES)
async def test_a_commit_that_the_broker_loads_during_a_takeover_counts(stage, caplog):
    """It answered with an older one before: what came in between is not read again."""
    caplog.set_level(logging.INFO, logger="hunch")
    async with transactional() as memory:
        group = memory.log.group(f"hunch-{stage}")
        running = {name: it for name in LANES for it in await memory.start(name)}
        memory.send(UNSURE)
        await memory.clock.advance(2_000)
        older = dict(group.offsets)
        origins = [memory.send(UNSURE) for _ in range(5)]
        await memory.clock.advance(2_000)
        newer = dict(group.offsets)
        await running[stage].kill()
        group.offsets.update(older)
        memory.log.latency_ms = 20.0
        (taking_over,) = await memory.start(stage)
        while not taking_over.stage.lanes._open:
            await memory.clock.advance(1)
        await memory.clock.advance(50)
        assert {} == taking_over.stage.lanes.running
        group.offsets.update(newer)
        await memory.clock.advance(1_000)
        found = by_origin(memory)

    assert {tp.topic: at.offset for tp, at in newer.items()} == _starts(caplog)[-1]
    assert set(origins) < set(found)


async def test_by_a_commit_that_is_still_to_be_loaded_nothing_is_refused_or_counted(caplog):
    """What it says was deleted unread, or has no outputs left, was decided by the newer one."""
    caplog.set_level(logging.INFO, logger="hunch")
    async with transactional() as memory:
        group = memory.log.group("hunch-fast")
        (running,) = await memory.start("fast")
        memory.send(SURE)
        await memory.clock.advance(2_000)
        older = dict(group.offsets)
        for _ in range(5):
            memory.send(SURE)
        await memory.clock.advance(2_000)
        newer = dict(group.offsets)
        await running.kill()
        memory.log.truncate(TopicPartition("messages", 0), 4)
        group.offsets.update(older)
        memory.log.latency_ms = 20.0
        (taking_over,) = await memory.start("fast")
        while not taking_over.stage.lanes._open:
            await memory.clock.advance(1)
        await memory.clock.advance(50)
        group.offsets.update(newer)
        await memory.clock.advance(1_000)

        assert {tp.topic: at.offset for tp, at in newer.items()} == _starts(caplog)[-1]
        assert "lost_records{stage=fast}" not in memory.metrics.snapshot()


async def test_a_takeover_ends_where_commits_go_on_moving(caplog):
    """Somebody else commits to the group: the lane closes, says so, and is tried again."""
    caplog.set_level(logging.INFO, logger="hunch")
    async with transactional() as memory:
        group = memory.log.group("hunch-fast")
        for _ in range(100):
            memory.send(SURE)
        memory.log.latency_ms = 20.0
        (running,) = await memory.start("fast")
        for offset in range(60):
            group.offsets[TopicPartition("messages", 0)] = OffsetAndMetadata(offset, "")
            await memory.clock.advance(20)

        assert {} == running.stage.lanes.running
    lost = [it.hunch_fields for it in caplog.records if it.hunch_event == "lane_lost"]
    assert lost
    assert "nobody else may commit" in lost[0]["reason"]


def _starts(caplog):
    """Where each lane that was opened has read on."""
    return [
        record.hunch_fields["start"]
        for record in caplog.records
        if getattr(record, "hunch_event", None) == "lane_opened"
    ]
