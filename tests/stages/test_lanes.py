"""Ownership: what a takeover finds, and that no crash, freeze or failure loses a decision."""

import asyncio
import random

import pytest
from aiokafka.errors import CommitFailedError, KafkaTimeoutError, RequestTimedOutError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from tests.stages.parties import by_origin, cascade, slow

from hunch.errors import ConfigError
from hunch.kafka.metadata import unpack

SURE, UNSURE = {"c": 0.95}, {"c": 0.6}


def committed(memory, stage, topic):
    """What a group has committed of partition 0 of a topic."""
    offsets = memory.log._groups[f"hunch-{stage}"].offsets
    return offsets.get(TopicPartition(topic, 0), OffsetAndMetadata(-1, "")).offset


async def test_offsets_are_committed_after_the_outputs_are_acknowledged():
    """While the broker holds an acknowledgement back, nothing is committed past it."""
    async with cascade() as memory:
        await memory.start("fast")
        memory.log.hold("decisions", 0, "acknowledgements")
        memory.send(SURE)
        await memory.clock.advance(1_000)
        held = committed(memory, "fast", "messages")
        memory.log.release("decisions", 0)
        await memory.clock.advance(200)

        assert (held, committed(memory, "fast", "messages")) == (-1, 1)


async def test_a_pending_deferral_holds_its_offset_back():
    """The joiner commits no deferral that is undecided, whatever is decided behind it."""
    async with cascade(delta_ms=1_000) as memory:
        await memory.start("fast", "join")
        memory.send(UNSURE)
        await memory.clock.advance(500)
        memory.send(UNSURE, headers=[("hunch-deadline-ms", b"1600000000000")])
        await memory.clock.advance(400)
        before = committed(memory, "join", "deferrals")
        await memory.clock.advance(300)

        assert (before, committed(memory, "join", "deferrals")) == (0, 2)


@pytest.mark.parametrize("stage", ["fast", "slow", "join"])
@pytest.mark.parametrize("seed", range(5))
async def test_a_killed_stage_loses_nothing_and_doubles_nothing(stage, seed):
    """Killed at any moment and started again, before any commit, a stage goes on exactly there."""
    chance = random.Random(seed)
    async with cascade(delta_ms=300) as memory:
        running = {name: (await memory.start(name))[0] for name in ("fast", "slow", "join")}
        origins = []
        for _ in range(12):
            origins += [
                memory.send(chance.choice([SURE, UNSURE])) for _ in range(chance.randint(1, 5))
            ]
            for _ in range(chance.randint(0, 3)):
                await memory.clock.advance(chance.randint(0, 40))
            await running[stage].kill()
            running[stage] = (await memory.start(stage))[0]
        await memory.clock.advance(5_000)

        assert set(origins) == set(by_origin(memory))


async def test_a_process_that_stood_still_writes_nothing_afterwards():
    """A zombie that wakes up after its session finds its lanes closed; the new owner decides."""
    async with cascade(delta_ms=10_000) as memory:
        (old,) = await memory.start("join")
        await memory.start("fast")
        origin = memory.send(UNSURE)
        await memory.clock.advance(50)
        (beat,) = (task for task in asyncio.all_tasks() if task.get_name() == "join-member")
        beat.cancel()
        await memory.log.evict(old.seat)
        (new,) = await memory.start("join")
        await memory.clock.advance(11_000)

        assert {origin} == set(by_origin(memory))
        assert new.stage.lanes.running
        with pytest.raises(CommitFailedError):
            await old.seat.commit({})


@pytest.mark.parametrize("stage", ["fast", "join", "slow"])
async def test_a_failed_delivery_closes_the_lane_and_the_next_one_goes_on(stage):
    """An unknown outcome is settled by a takeover, not by sending again from memory."""
    topic = {"fast": "deferrals", "join": "decisions", "slow": "slow-results"}[stage]
    async with cascade(delta_ms=20_000) as memory:
        await memory.start()
        memory.log.fail_next("produce", KafkaTimeoutError(), topic)
        origins = [memory.send(UNSURE) for _ in range(3)]
        await memory.clock.advance(30_000)

        assert set(origins) == set(by_origin(memory))
        assert memory.metrics.snapshot()[f"takeovers{{stage={stage}}}"] == 2


async def test_a_refused_commit_is_tried_again():
    """A commit that fails costs nothing: it goes with the next one."""
    async with cascade() as memory:
        await memory.start("fast")
        memory.log.fail_next("commit", RequestTimedOutError(), count=2)
        memory.send(SURE)
        await memory.clock.advance(1_000)

        assert committed(memory, "fast", "messages") == 1
        assert memory.metrics.snapshot()["commits_failed{stage=fast}"] == 2


async def test_offsets_that_nobody_can_read_leave_no_lag():
    """Transaction markers at the end of a partition are passed and committed."""
    async with cascade() as memory:
        await memory.start()
        memory.send(SURE)
        memory.log.skip_offsets(TopicPartition("messages", 0), 3)
        memory.log.skip_offsets(TopicPartition("deferrals", 0), 3)
        await memory.clock.advance(3_000)

        assert committed(memory, "fast", "messages") == 4
        assert committed(memory, "join", "deferrals") == 3
        assert committed(memory, "slow", "deferrals") == 3


async def test_records_deleted_before_anybody_read_them_are_counted():
    """A committed offset below the log's start: what lies between is lost, and said so."""
    async with cascade() as memory:
        (running,) = await memory.start("fast")
        memory.send(SURE)
        await memory.clock.advance(1_000)
        await running.drain()
        for _ in range(5):
            memory.send(SURE)
        memory.log.truncate(TopicPartition("messages", 0), 4)
        await memory.start("fast")
        await memory.clock.advance(1_000)

        assert memory.metrics.snapshot()["lost_records{stage=fast}"] == 3
        assert {0, 4, 5} == {int(origin.rsplit("-", 1)[1]) for origin in by_origin(memory)}


async def test_an_offset_beyond_the_end_stops_the_stage_with_a_sentence():
    """A topic that was made anew under a group is not guessed about."""
    async with cascade() as memory:
        (running,) = await memory.start("fast")
        await memory.clock.settle()
        await running.seat.commit({TopicPartition("messages", 0): OffsetAndMetadata(7, "")})
        await running.kill()
        (running,) = await memory.start("fast")
        await memory.clock.advance(1_000)

        with pytest.raises(ConfigError, match=r"committed offset 7 .* ends at 0"):
            await running.task


@pytest.mark.parametrize("stage", ["fast", "join"])
@pytest.mark.parametrize("text", ["", "somebody else's words"])
async def test_foreign_offsets_double_nothing(stage, text):
    """Offsets set back by a tool or an auto-commit: what has its output is not decided again."""
    topic = {"fast": "messages", "join": "deferrals"}[stage]
    async with cascade(delta_ms=100) as memory:
        await memory.start("slow")
        running = {name: (await memory.start(name))[0] for name in ("fast", "join")}
        origins = [memory.send(message) for message in [SURE, UNSURE] * 4]
        await memory.clock.advance(2_000)
        await running[stage].drain()
        (other,) = await memory.start(stage)
        await memory.clock.settle()
        await other.seat.commit({TopicPartition(topic, 0): OffsetAndMetadata(0, text)})
        await other.kill()
        await memory.start(stage)
        origins += [memory.send(UNSURE)]
        await memory.clock.advance(2_000)

        assert set(origins) == set(by_origin(memory))


async def test_expired_offsets_of_the_group_double_nothing():
    """No committed offset, but outputs: the outputs are right."""
    async with cascade(delta_ms=100) as memory:
        (old,) = await memory.start("fast")
        origins = [memory.send(SURE) for _ in range(3)]
        await memory.clock.advance(1_000)
        await old.drain()
        memory.log._groups["hunch-fast"].offsets.clear()
        await memory.start("fast")
        origins.append(memory.send(SURE))
        await memory.clock.advance(1_000)

        assert set(origins) == set(by_origin(memory))
        assert memory.metrics.snapshot()["duplicates_skipped{stage=fast}"] == 3


async def test_partitions_that_stay_are_read_on_while_others_move():
    """A second process takes some partitions over; the lanes of the others are not touched."""
    async with cascade(partitions=4) as memory:
        (first,) = await memory.start("fast")
        await memory.clock.settle()
        lanes = dict(first.stage.lanes.running)
        (second,) = await memory.start("fast")
        await memory.clock.advance(3_000)

        kept = first.stage.lanes.running
        assert {0, 1, 2, 3} == set(kept) | set(second.stage.lanes.running)
        assert len(kept) == 2
        assert all(lanes[partition] is lane for partition, lane in kept.items())


@pytest.mark.parametrize("after_ms", range(40, 140, 10))
async def test_a_lane_that_has_lost_its_term_ends_also_where_its_cancellation_is_lost(after_ms):
    """A library takes it for its own during a takeover: the next lane works all the same."""
    async with cascade() as memory:
        (killed,) = await memory.start("fast")
        origins = [memory.send(SURE) for _ in range(3)]
        await memory.clock.advance(20)
        await killed.kill()
        memory.log.latency_ms = memory.log.stop_ms = 20.0
        (running,) = await memory.start("fast")
        await memory.log.rebalance("hunch-fast")
        await memory.clock.advance(after_ms)
        await memory.log.evict(running.seat)
        await memory.log.rejoin(running.seat)
        await memory.clock.advance(5_000)
        origins.append(memory.send(SURE))
        await memory.clock.advance(1_000)
        memory.log.stop_ms = 0.0

        assert set(origins) == set(by_origin(memory))
        lanes = running.stage.lanes.running
        assert running.stage.member.terms == {p: lane.term for p, lane in lanes.items()}


@pytest.mark.parametrize("after_ms", range(40, 140, 10))
async def test_a_stage_ends_also_where_a_cancellation_is_lost(after_ms):
    """Whatever its lanes are about: it does not wait for one that has not heard of the end."""
    async with cascade() as memory:
        (killed,) = await memory.start("fast")
        memory.send(SURE)
        await memory.clock.advance(20)
        await killed.kill()
        memory.log.latency_ms = memory.log.stop_ms = 20.0
        (running,) = await memory.start("fast")
        await memory.clock.advance(after_ms)
        running.task.cancel()
        await memory.clock.advance(20_000)

        assert running.task.done()


async def test_a_drain_finishes_what_is_in_hand():
    """After SIGTERM everything read is answered and committed; pending deferrals stay in Kafka."""
    async with cascade(delta_ms=60_000) as memory:
        memory.replace_slow(slow(service_ms=100, clock=memory.clock))
        running = {name: (await memory.start(name))[0] for name in ("fast", "slow", "join")}
        origin = memory.send(UNSURE)
        await memory.clock.advance(20)
        draining = asyncio.create_task(running["slow"].drain())
        await memory.clock.advance(500)
        await draining
        await memory.clock.advance(200)

        assert {origin} == set(by_origin(memory))
        assert committed(memory, "slow", "deferrals") == 1


async def test_marks_stay_low_until_what_was_read_back_is_passed():
    """A second crash right after a takeover still finds the outputs of the first owner."""
    async with cascade() as memory:
        (first,) = await memory.start("fast")
        for _ in range(10):
            memory.send(SURE)
        await memory.clock.settle()
        await first.kill()
        memory.log.hold("messages", 0, "records")
        (second,) = await memory.start("fast")
        await memory.clock.settle()

        lane = second.stage.lanes.running[0]
        messages = TopicPartition("messages", 0)
        found = [unpack(lane._offsets(at)[messages].metadata) or {} for at in (3, 10)]
        assert [0, 10] == [numbers["decisions"] for numbers in found]
