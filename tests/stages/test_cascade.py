"""What the cascade promises, in memory, under a clock that only the test moves."""

import orjson
import pytest
from tests.stages.parties import by_origin, cascade, fast, schema_errors, slow, told

from hunch.core.exiting import ExitPolicy
from hunch.core.joining import JoinPolicy
from hunch.stages.in_force import InForce
from hunch.testing.cascade import run_cascade

SURE, UNSURE = {"c": 0.95}, {"c": 0.6}


async def test_confident_messages_exit_and_the_others_are_verified():
    """A message at or above τ goes out fast, one below it with the slow answer."""
    decisions = await run_cascade([{"c": 0.91}, {"c": 0.89}], fast=fast(), slow=slow(), tau=0.9)

    assert [("fast", "confident", "a"), ("slow", "verified", "b")] == [told(d) for d in decisions]


async def test_at_tau_zero_everything_exits():
    """τ = 0 makes every message exit, whatever its score."""
    decisions = await run_cascade([SURE, UNSURE], fast=fast(), slow=slow(), tau=0.0)

    assert ["fast", "fast"] == [decision["path"] for decision in decisions]


async def test_at_delta_zero_every_deferral_falls_back():
    """Δ = 0 gives the slow model no time, even where its answer comes first."""
    decisions = await run_cascade([UNSURE] * 20, fast=fast(), slow=slow(), delta_ms=0)

    assert {("fallback", "deadline", "a")} == {told(decision) for decision in decisions}


async def test_a_fallback_is_due_although_no_record_arrives():
    """With the slow stage dead and the topics silent, the fast answer goes out at the deadline."""
    async with cascade(delta_ms=500) as memory:
        await memory.start("fast", "join")
        origin = memory.send(UNSURE)
        await memory.clock.settle()
        deferred_ms = memory.clock.now_ms()
        await memory.clock.advance(499)
        before = memory.decisions()
        await memory.clock.advance(1)

        decision = by_origin(memory)[origin]
        assert not before
        assert told(decision) == ("fallback", "deadline", "a")
        assert decision["deadline_ms"] == decision["at_ms"] == deferred_ms + 500


@pytest.mark.parametrize(
    ("message", "model", "reason"),
    [
        (UNSURE | {"broken": True}, slow(), "slow_error"),
        (UNSURE, slow(), "slow_error"),
    ],
    ids=["a bad row", "a failed batch"],
)
async def test_a_slow_error_falls_back_at_once(message, model, reason):
    """An error of the slow model is an answer: nobody waits for Δ."""
    if "broken" not in message:
        model.fail_next(1)
    async with cascade(slow=model, delta_ms=60_000) as memory:
        await memory.start()
        origin = memory.send(message)
        await memory.clock.advance(1_000)

        assert told(by_origin(memory)[origin]) == ("fallback", reason, "a")


async def test_what_would_miss_its_deadline_is_shed_at_once():
    """Work that cannot end in time is refused, and falls back before its deadline."""
    async with cascade(delta_ms=1_000) as memory:
        model = slow(service_ms=800, clock=memory.clock)
        memory.replace_slow(model)
        await memory.start()
        origins = [memory.send(UNSURE)]
        await memory.clock.advance(100)
        origins += [memory.send(UNSURE) for _ in range(2)]
        await memory.clock.advance(1_050)
        origins += [memory.send(UNSURE) for _ in range(2)]
        await memory.clock.advance(3_000)

        reasons = [by_origin(memory)[origin]["reason"] for origin in origins]
        assert reasons[0] == "verified"
        assert "shed" in reasons


async def test_an_answer_after_the_deadline_goes_to_late_results():
    """The decision stands; the late answer is kept aside."""
    async with cascade(delta_ms=100) as memory:
        model = slow()
        memory.replace_slow(model)
        model.hang()
        await memory.start()
        origin = memory.send(UNSURE)
        await memory.clock.advance(200)
        model.resume()
        await memory.clock.advance(200)

        assert told(by_origin(memory)[origin]) == ("fallback", "deadline", "a")
        late = [orjson.loads(record.value) for record in memory.log.records("late-results")]
        assert ["b"] == [answer["label"] for answer in late]


async def test_a_hanging_slow_model_delays_no_fast_decision():
    """A slow message never delays a fast one, not even in its own partition."""
    async with cascade(delta_ms=60_000) as memory:
        model = slow()
        memory.replace_slow(model)
        model.hang()
        await memory.start()
        memory.send(UNSURE)
        await memory.clock.advance(50)
        origin = memory.send(SURE)
        await memory.clock.settle()

        assert told(by_origin(memory)[origin]) == ("fast", "confident", "a")


async def test_old_messages_exit_with_the_fast_answer():
    """A message older than max_age_ms is not worth the slow model any more."""
    policy = ExitPolicy(name="test", tau=0.9, delta_ms=500, max_age_ms=1_000)
    async with cascade(in_force=InForce(policy)) as memory:
        origin = memory.send(UNSURE)
        await memory.clock.advance(1_001)
        await memory.start()

        assert told(by_origin(memory)[origin]) == ("fallback", "stale", "a")


async def test_what_is_too_large_to_defer_falls_back():
    """A message that would not fit into a deferral is decided at once."""
    async with cascade(max_record_bytes=1_000) as memory:
        await memory.start()
        origin = memory.send(UNSURE | {"text": "x" * 1_000})
        await memory.clock.settle()

        assert told(by_origin(memory)[origin]) == ("fallback", "oversized", "a")


async def test_a_key_that_is_too_large_is_left_out_of_the_decision():
    """A decision that would not fit with its key is written without, and the partition goes on."""
    async with cascade(max_record_bytes=10_000) as memory:
        await memory.start()
        large = memory.send(SURE, key=b"k" * 10_000)
        unsure = memory.send(UNSURE, key=b"k" * 10_000)
        bad = memory.send(b"{", key=b"k" * 200_000, headers=[("h", b"x" * 200_000)])
        await memory.clock.settle()

        reasons = {origin: told(d)[1] for origin, d in by_origin(memory).items()}
        assert {large: "confident", unsure: "oversized", bad: "undecodable"} == reasons
        assert {None} == {record.key for record in memory.log.records("decisions")}
        (letter,) = memory.log.records("dead-letters")
        assert (None, b"{") == (letter.key, letter.value)
        assert "h" not in dict(letter.headers)


@pytest.mark.parametrize(
    ("value", "reason", "letters"),
    [
        (b"\xff\x00", "undecodable", 1),
        (b"[1]", "undecodable", 1),
        (None, "tombstone", 0),
        (b'{"c": "high"}', "bad_input", 1),
    ],
)
async def test_nothing_poisonous_stops_a_partition(value, reason, letters):
    """What nobody can answer gets an error decision and a dead letter; its neighbours go on."""
    model = fast()
    model._answer = _strict
    async with cascade(fast=model) as memory:
        await memory.start()
        before, origin, after = memory.send(SURE), memory.send(value, key=b"k"), memory.send(SURE)
        await memory.clock.settle()

        decisions = by_origin(memory)
        assert told(decisions[origin]) == ("error", reason, None)
        assert decisions[origin]["error"]
        assert ["fast", "fast"] == [decisions[o]["path"] for o in (before, after)]
        dead = memory.log.records("dead-letters", 0)
        assert [(b"k", value)] * letters == [(letter.key, letter.value) for letter in dead]


async def test_a_clients_deadline_counts_where_it_is_earlier():
    """hunch-deadline-ms in the past falls back at once; what is no integer is ignored, counted."""
    async with cascade(delta_ms=1_000) as memory:
        await memory.start("fast", "join")
        past, soon, odd = (
            memory.send(UNSURE, headers=[("hunch-deadline-ms", text)])
            for text in (b"1600000000000", b"%d" % (memory.clock.now_ms() + 200), b"soon")
        )
        await memory.clock.settle()
        assert {past} == set(by_origin(memory))
        await memory.clock.advance(200)
        assert {past, soon} == set(by_origin(memory))
        await memory.clock.advance(800)
        assert {past, soon, odd} == set(by_origin(memory))
        assert memory.metrics.snapshot()["deadlines_ignored"] == 1


async def test_at_its_bound_the_joiner_decides_the_oldest():
    """More pending than allowed: the oldest undecided falls back at once, reading goes on."""
    async with cascade(delta_ms=60_000, join_policy=JoinPolicy(max_pending=2)) as memory:
        await memory.start("fast", "join")
        origins = [memory.send(UNSURE) for _ in range(5)]
        await memory.clock.settle()

        decisions = by_origin(memory)
        assert origins[:3] == sorted(decisions)
        assert {("fallback", "overflow", "a")} == {told(d) for d in decisions.values()}


async def test_decisions_follow_their_schema_and_stay_small():
    """Every path's decision conforms to the published schema; a fast one is under 400 bytes."""
    async with cascade(delta_ms=100) as memory:
        await memory.start("fast", "join")
        trace = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        memory.send(SURE | {"id": "m-1"}, key=b"k", headers=[("traceparent", trace)])
        memory.send(UNSURE)
        memory.send(b"{")
        await memory.clock.advance(200)
        await memory.start("slow")
        memory.send(UNSURE)
        await memory.clock.advance(200)

        records = memory.log.records("decisions")
        decisions = [orjson.loads(record.value) for record in records]
        assert ["error", "fallback", "fast", "slow"] == sorted(d["path"] for d in decisions)
        assert [[]] * 4 == [schema_errors("decisions", decision) for decision in decisions]
        exit_ = next(r for r, d in zip(records, decisions, strict=True) if d["path"] == "fast")
        assert len(exit_.value) < 400
        assert exit_.key == b"k"
        assert dict(exit_.headers) == {
            "hunch-origin": b"messages-0-0",
            "hunch-path": b"fast",
            "traceparent": trace,
        }


async def test_a_deferral_is_the_input_untouched():
    """Key and value of a deferral are the input's own bytes; its meaning is in the headers."""
    async with cascade() as memory:
        await memory.start("fast")
        raw = b'{ "c":0.6,  "more": [1, 2 ]}'
        memory.send(raw, key=b"\x00\x01")
        await memory.clock.settle()

        (record,) = memory.log.records("deferrals")
        assert (record.key, record.value) == (b"\x00\x01", raw)
        assert ["hunch", "hunch-deadline-ms"] == [name for name, _ in record.headers]


def _strict(message):
    if not isinstance(message["c"], float):
        raise ValueError("c must be a number.")  # noqa: TRY004 - what a StubPredictor asks for
    return [message["c"], 1 - message["c"]]


@pytest.mark.parametrize("timestamp", [-1, 0, 2**62])
async def test_a_timestamp_that_cannot_be_a_time_costs_no_decision(timestamp):
    """Whatever the client says when it was, the message is deferred and decided."""
    async with cascade(delta_ms=100) as memory:
        await memory.start()
        memory.log.append("messages", 0, None, b'{"c": 0.6}', timestamp=timestamp)
        await memory.clock.advance(1_000)

        assert ["slow"] == [decision["path"] for decision in memory.decisions()]
        assert [] == memory.log.records("dead-letters")
