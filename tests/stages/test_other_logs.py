"""Topics that were made anew, cut, renamed or grown, and outputs that name the wrong things.

Whatever is found, nothing is decided twice, and what cannot be known stops with a sentence.
"""

import orjson
import pytest
from aiokafka.structs import TopicPartition
from tests.stages.parties import by_origin, cascade, told

from hunch.errors import ConfigError
from hunch.kafka.harbour import LanePolicy
from hunch.testing.partition import Partition

SURE, UNSURE = {"c": 0.95}, {"c": 0.6}
ANSWER = b'{"label": "b", "confidence": 0.9}'


def exactly_once(**changes):
    """A cascade in memory whose lanes write transactions."""
    return cascade(lane_policy=LanePolicy(is_exactly_once=True), **changes)


def make_anew(memory, topic):
    """Deletes a topic and makes it again, and with it what groups have committed of it."""
    memory.log._topics[topic] = [Partition(p.name) for p in memory.log._topics[topic]]
    for group in memory.log._groups.values():
        for tp in [tp for tp in group.offsets if tp.topic == topic]:
            del group.offsets[tp]


def forget(memory, group):
    """Expires all that a group has committed."""
    memory.log._groups[group].offsets.clear()


async def decided_and_drained(memory, count=1):
    """Has so many messages decided by a fast stage that ends in order; their origins."""
    (running,) = await memory.start("fast")
    origins = [memory.send(SURE) for _ in range(count)]
    await memory.clock.advance(1_000)
    await running.drain()
    return origins


async def test_messages_made_anew_stop_the_stage_with_a_sentence():
    """What was decided of the old topic is not taken for the new one, and does not flap."""
    async with exactly_once() as memory:
        await decided_and_drained(memory, count=3)
        make_anew(memory, "messages")
        memory.send(SURE)
        (running,) = await memory.start("fast")
        await memory.clock.advance(1_000)

        with pytest.raises(ConfigError, match=r"decisions goes on to offset 2 .* ends at 1"):
            await running.task


async def test_nothing_left_to_go_on_from_stops_the_stage_with_a_sentence():
    """Without an offset, and with outputs that retention has deleted, nobody can know."""
    async with exactly_once() as memory:
        await decided_and_drained(memory)
        forget(memory, "hunch-fast")
        decisions = TopicPartition("decisions", 0)
        memory.log.truncate(decisions, memory.log.partition(decisions).end)
        (running,) = await memory.start("fast")
        await memory.clock.advance(1_000)

        with pytest.raises(ConfigError, match=r"past their retention.*--reset-offsets"):
            await running.task


async def test_outputs_that_end_below_the_log_start_go_on_at_the_start():
    """Offsets are gone and messages after the last decided one, too: those are counted as lost."""
    async with exactly_once() as memory:
        (first,) = await decided_and_drained(memory)
        forget(memory, "hunch-fast")
        rest = [memory.send(SURE) for _ in range(5)]
        memory.log.truncate(TopicPartition("messages", 0), 4)
        await memory.start("fast")
        await memory.clock.advance(1_000)

        assert {first, *rest[3:]} == set(by_origin(memory))
        assert 3 == memory.metrics.snapshot()["lost_records{stage=fast}"]


@pytest.mark.parametrize("make", [cascade, exactly_once])
async def test_a_new_decisions_topic_doubles_nothing(make):
    """Under another name it is empty: the offsets stand, and only what is undecided is decided."""
    async with make(delta_ms=60_000) as memory:
        running = {name: (await memory.start(name))[0] for name in ("fast", "slow", "join")}
        decided = {memory.send(message) for message in [SURE, UNSURE, SURE, UNSURE]}
        await memory.clock.advance(3_000)
        await running["slow"].drain()
        pending = memory.send(UNSURE)
        await memory.clock.advance(3_000)
        found = set(by_origin(memory))
        for name in ("fast", "join"):
            await running[name].drain()
        make_anew(memory, "decisions")
        later = memory.send(SURE)
        await memory.start("fast", "join")
        await memory.clock.advance(120_000)

        assert decided == found
        assert {pending, later} == set(by_origin(memory))


async def test_deferrals_made_anew_are_decided():
    """Decisions about others that had the same offsets are not taken for theirs."""
    async with exactly_once(delta_ms=500) as memory:
        running = await memory.start()
        old = {memory.send(UNSURE) for _ in range(3)}
        await memory.clock.advance(3_000)
        for stage in running:
            await stage.drain()
        for topic in ("deferrals", "slow-results"):
            make_anew(memory, topic)
        await memory.start("fast", "join")
        new = {memory.send(UNSURE) for _ in range(4)}
        await memory.clock.advance(5_000)

        assert old | new == set(by_origin(memory))


async def test_an_answer_to_another_message_decides_nothing():
    """A worker that mixes up partitions names the offset, and not the origin, of a deferral."""
    async with cascade() as memory:
        await memory.start("fast", "join")
        origin = memory.send(UNSURE)
        await memory.clock.advance(50)
        for other in ("messages-3-0", "messages-0-00"):
            head = orjson.dumps({"v": 1, "origin": other, "deferral": 0, "model": "m@1"})
            memory.log.append("slow-results", 0, None, ANSWER, [("hunch", head)])
        await memory.clock.advance(2_000)

        assert ("fallback", "deadline", "a") == told(by_origin(memory)[origin])
        assert 2 == memory.metrics.snapshot()["late_dropped"]


async def test_a_decision_about_what_is_not_there_yet_is_not_believed():
    """A stranger's decision about a message to come does not keep that from being decided."""
    async with cascade() as memory:
        (first,) = await decided_and_drained(memory)
        memory.log.append("decisions", 0, None, b"{}", [("hunch-origin", b"messages-0-1")])
        await memory.start("fast")
        second = memory.send(SURE)
        await memory.clock.advance(1_000)
        own = [r for r in memory.log.records("decisions") if r.value != b"{}"]

        assert {first, second} == {orjson.loads(record.value)["origin"] for record in own}


async def test_a_partition_that_came_later_stops_the_stage_with_a_sentence():
    """Its outputs would go where another stage writes."""
    async with cascade() as memory:
        memory.log._topics["messages"].append(Partition(TopicPartition("messages", 1)))
        (running,) = await memory.start("fast")
        await memory.clock.advance(1_000)

        with pytest.raises(ConfigError, match="more than the 1 partitions"):
            await running.task


async def test_large_messages_go_out_in_small_deliveries():
    """The bytes of what one delivery answers are bounded, as the number of messages is."""
    policy = LanePolicy(max_delivery_bytes=2_000)
    async with cascade(lane_policy=policy) as memory:
        origins = {memory.send(SURE | {"text": "x" * 900}) for _ in range(20)}
        await memory.start("fast")
        await memory.clock.advance(2_000)
        (series,) = (
            series
            for name, labels, series in memory.metrics.histograms()
            if (name, labels) == ("delivery_seconds", ("fast",))
        )

        assert origins == set(by_origin(memory))
        assert series.counts.sum() >= 5
