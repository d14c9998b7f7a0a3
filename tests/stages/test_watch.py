"""A stage as its metrics and its health show it: lag, age, skew, stuck or not, ready or not."""

import pytest
from aiokafka.errors import KafkaConnectionError, RequestTimedOutError
from aiokafka.structs import TopicPartition
from tests.stages.parties import cascade, slow

from hunch.kafka.harbour import LanePolicy
from hunch.stages.health import live, ready

SURE, UNSURE = {"c": 0.95}, {"c": 0.6}
TIMEOUT_MS = 30_000.0


def gauges(memory, name):
    """The values of a gauge by labels."""
    return {labels: value for found, labels, value in memory.metrics.gauges() if found == name}


def is_alive(*running):
    """Whether /live answers 200, and the stages that it says are stuck."""
    well, answer = live([one.stage for one in running], TIMEOUT_MS)
    return well, answer.get("stuck", [])


async def stuck_fast(memory):
    """A fast stage whose decision the broker does not acknowledge."""
    (fast,) = await memory.start("fast")
    memory.log.hold("decisions", 0, "acknowledgements")
    memory.send(SURE)
    return fast


@pytest.fixture
def patient():
    """A cascade whose lanes wait for an acknowledgement for as long as it takes."""
    return cascade(lane_policy=LanePolicy(delivery_timeout_ms=10_000_000))


async def test_an_idle_stage_is_alive_for_ever_also_behind_markers():
    """Offsets that nobody can read, at the end of every input, are neither lag nor work."""
    async with cascade() as memory:
        running = await memory.start()
        memory.send(SURE)
        memory.log.skip_offsets(TopicPartition("messages", 0), 3)
        memory.log.skip_offsets(TopicPartition("deferrals", 0), 3)
        await memory.clock.advance(200_000)

        assert (True, []) == is_alive(*running)
        assert {0.0} == set(gauges(memory, "lag_records").values())
        assert {0.0} == set(gauges(memory, "stalled_seconds").values())
        assert {0.0} == set(gauges(memory, "lag_age_seconds").values())


async def test_a_stage_whose_work_waits_without_progress_is_stuck_and_named(patient):
    """No acknowledgement comes, the broker answers: 30 s later /live says which stage it is."""
    async with patient as memory:
        fast = await stuck_fast(memory)
        await memory.clock.advance(28_000)
        before = is_alive(fast)
        await memory.clock.advance(5_000)
        after = is_alive(fast)
        stalled = gauges(memory, "stalled_seconds")["fast",]
        memory.log.release("decisions", 0)
        await memory.clock.advance(2_000)

        assert (True, []) == before
        assert (False, ["fast"]) == after
        assert 30 < stalled <= 33
        assert (True, []) == is_alive(fast)


async def test_a_lane_that_fails_over_and_over_is_stuck():
    """Taking over again and reading the same records again is no progress."""
    async with cascade() as memory:
        (fast,) = await memory.start("fast")
        memory.log.fail_next("produce", RequestTimedOutError(), "decisions", count=100)
        memory.send(SURE)
        await memory.clock.advance(60_000)

        assert (False, ["fast"]) == is_alive(fast)
        assert memory.metrics.snapshot()["lanes_lost{stage=fast,cause=timeout}"] > 3


async def test_a_lost_broker_is_no_reason_to_restart(patient):
    """While the broker does not tell the ends, nobody is stuck; /live says that it is away."""
    async with patient as memory:
        fast = await stuck_fast(memory)
        await memory.clock.advance(10)
        memory.log.fail_next("ends", KafkaConnectionError(), count=50)
        await memory.clock.advance(90_000)
        well, answer = live([fast.stage], TIMEOUT_MS)

        assert well
        assert "away" == answer["stages"]["fast"]["broker"]


async def test_a_long_inference_is_in_hand():
    """The model computes for a minute: inference_timeout_ms judges that, not /live."""
    async with cascade(delta_ms=500_000) as memory:
        memory.replace_slow(slow(service_ms=60_000, clock=memory.clock))
        running = await memory.start()
        memory.send(UNSURE)
        await memory.clock.advance(59_000)

        assert (True, []) == is_alive(*running)
        assert {("0",): 1} == gauges(memory, "slow_queue")


async def test_age_is_that_of_the_oldest_work_that_is_not_done(patient):
    """From the timestamp of the message that waits for its acknowledgement."""
    async with patient as memory:
        await stuck_fast(memory)
        await memory.clock.advance(7_000)
        memory.send(SURE)
        await memory.clock.advance(3_000)
        age_s = gauges(memory, "lag_age_seconds")["fast", "0"]
        memory.log.release("decisions", 0)
        await memory.clock.advance(1_000)

        assert 10.0 == age_s
        assert {0.0} == set(gauges(memory, "lag_age_seconds").values())


async def test_age_in_the_slow_stage_is_that_of_the_oldest_deferral():
    """Also of one that is in the model, or waits for it."""
    async with cascade(delta_ms=500_000) as memory:
        memory.replace_slow(slow(service_ms=60_000, clock=memory.clock))
        await memory.start()
        memory.send(UNSURE)
        await memory.clock.advance(20_000)

        assert 19 < gauges(memory, "lag_age_seconds")["slow", "0"] <= 20
        assert 0.0 == gauges(memory, "lag_age_seconds")["join", "0"]
        assert {("0",): 1} == gauges(memory, "pending")
        await memory.clock.advance(60_000)
        assert 0.0 == gauges(memory, "lag_age_seconds")["slow", "0"]


async def test_what_is_not_read_yet_is_lag():
    """A full slow queue pauses reading: what lies behind it is counted, and has an age."""
    async with cascade(delta_ms=500_000, max_slow_queue=2) as memory:
        memory.replace_slow(slow(service_ms=60_000, clock=memory.clock))
        await memory.start("fast", "slow")
        memory.send(UNSURE)
        memory.send(UNSURE)
        await memory.clock.advance(2_000)
        for _ in range(5):
            memory.send(UNSURE)
        await memory.clock.advance(10_000)

        assert 5 == gauges(memory, "lag_records")["slow", "deferrals", "0"]


async def test_skew_is_the_shortest_way_of_a_deferral():
    """In one process with one clock it is no time at all; without deferrals there is no number."""
    async with cascade() as memory:
        await memory.start()
        before = gauges(memory, "clock_skew_seconds")
        memory.send(UNSURE)
        await memory.clock.advance(1_000)

        assert {} == before
        assert {(): 0.0} == gauges(memory, "clock_skew_seconds")


async def test_ready_once_lanes_are_open_and_through_a_rebalance():
    """Not before; and a second process that joins changes nothing."""
    async with cascade(partitions=4) as memory:
        (first,) = await memory.start("fast")
        stage = first.stage
        await memory.clock.advance(1_000)
        seen = [ready([stage])[0]]
        await memory.start("fast")
        for _ in range(50):
            await memory.clock.advance(100)
            seen.append(ready([stage])[0])

        assert {True} == set(seen)


async def test_a_partition_that_nobody_reads_for_ten_seconds_is_not_ready():
    """Owned, and every takeover fails: said by number, until one succeeds."""
    async with cascade() as memory:
        memory.log.fail_next("committed", RequestTimedOutError(), count=1_000)
        (fast,) = await memory.start("fast")
        await memory.clock.advance(5_000)
        never = ready([fast.stage])
        memory.log._faults.clear()
        await memory.clock.advance(30_000)
        opened = ready([fast.stage])
        memory.log.fail_next("fetch", RequestTimedOutError())
        memory.log.fail_next("committed", RequestTimedOutError(), count=1_000)
        await memory.clock.advance(5_000)
        soon = ready([fast.stage])
        await memory.clock.advance(10_000)
        late = ready([fast.stage])

        assert (False, ["fast: its lanes are not open yet"]) == (never[0], never[1]["missing"])
        assert (True, True) == (opened[0], soon[0])
        assert (False, ["fast: owned and not read for 10 s: 0"]) == (late[0], late[1]["missing"])


async def test_lanes_owned_and_open_are_told_apart():
    """What the group gave, and what is read of it."""
    async with cascade(partitions=2) as memory:
        memory.log.fail_next("committed", RequestTimedOutError(), count=1_000)
        await memory.start("join")
        await memory.clock.advance(1_000)

        assert {("join",): 2} == gauges(memory, "lanes_owned")
        assert {("join",): 0} == gauges(memory, "lanes_open")
