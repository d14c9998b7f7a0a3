"""What strangers write on Hunch's own topics stops nobody: these topics are a public contract."""

import orjson
import pytest
from tests.stages.parties import by_origin, cascade, told

SURE, UNSURE = {"c": 0.95}, {"c": 0.6}
FIELDS = {
    "v": 1,
    "origin": "messages-0-7",
    "id": None,
    "fast": {"label": "a", "confidence": 0.6, "model": "fast@1"},
    "tau": 0.9,
    "delta_ms": 500,
    "policy": "test",
    "ingest_ms": 1_700_000_000_000,
    "wait_ms": 1.0,
    "fast_ms": 1.0,
    "deferred_ms": 1_700_000_000_000,
}


def deferral_headers(deadline=b"1700000000500", **changes):
    """The headers of a deferral as a stranger may write it."""
    return [("hunch", orjson.dumps(FIELDS | changes)), ("hunch-deadline-ms", deadline)]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("hunch", None), ("hunch-deadline-ms", None)],
        [("hunch", b"\xff"), ("hunch-deadline-ms", b"1700000000500")],
        deferral_headers(deadline="²".encode()),
        deferral_headers(deadline=b"9" * 5_000),
        deferral_headers(ingest_ms="9" * 400),
        deferral_headers(tau=-1),
        deferral_headers(fast={"label": {"x": 1}, "confidence": 0.5, "model": "m"}),
        deferral_headers(fast=None),
        deferral_headers(origin=["messages"]),
    ],
)
async def test_a_deferral_that_makes_no_sense_is_put_aside(headers):
    """It becomes a dead letter of the joiner, and the deferrals around it are decided."""
    async with cascade() as memory:
        await memory.start()
        origins = [memory.send(UNSURE)]
        await memory.clock.settle()
        memory.log.append("deferrals", 0, b"k", b"v", headers)
        await memory.clock.settle()
        origins.append(memory.send(UNSURE))
        await memory.clock.advance(2_000)

        assert set(origins) == set(by_origin(memory))
        assert 1 == len(memory.log.records("dead-letters", 1))


async def test_a_deferral_with_an_odd_id_is_decided_without_it():
    """An id that is neither text nor number is no reason to stop, however deep it is nested."""
    async with cascade() as memory:
        await memory.start("join")
        body = orjson.dumps(FIELDS)[:-1] + b',"id":' + b"[" * 300 + b"]" * 300 + b"}"
        headers = [("hunch", body), ("hunch-deadline-ms", b"1700000000500")]
        memory.log.append("deferrals", 0, b"k", b"v", headers)
        await memory.clock.advance(2_000)

        (decision,) = memory.decisions()
        assert ("messages-0-7", None) == (decision["origin"], decision["id"])


async def test_a_far_deadline_is_cut_to_the_deferrals_own_time():
    """Nobody makes the joiner wait beyond Δ from the deferral."""
    async with cascade() as memory:
        await memory.start("join")
        memory.log.append("deferrals", 0, b"k", b"v", deferral_headers(deadline=b"9" * 18))
        await memory.clock.advance(1_000)

        assert [("fallback", "deadline", "a")] == [told(d) for d in memory.decisions()]


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"\xff",
        b"[]",
        b'{"label": {"x": 1}, "confidence": 0.5}',
        b'{"label": null, "confidence": 0.5}',
        b'{"label": "b", "confidence": "nan"}',
        b'{"label": "b", "confidence": 99}',
        b'{"label": "b"}',
    ],
)
async def test_a_slow_result_that_makes_no_sense_decides_nothing(value):
    """It is put aside; the deferral is decided at its deadline by the fast answer."""
    async with cascade() as memory:
        await memory.start("fast", "join")
        origin = memory.send(UNSURE)
        await memory.clock.settle()
        head = orjson.dumps({"v": 1, "origin": origin, "deferral": 0, "model": "m@1"})
        memory.log.append("slow-results", 0, None, value, [("hunch", head)])
        await memory.clock.advance(1_000)

        assert ("fallback", "deadline", "a") == told(by_origin(memory)[origin])
        assert 1 == len(memory.log.records("dead-letters", 1))


@pytest.mark.parametrize("deferral", [-1, 10**12, 2**80, "0", True])
async def test_a_result_for_no_deferral_holds_nothing_back(deferral):
    """A result for an offset that is not there is never waited for."""
    async with cascade(partitions=1) as memory:
        await memory.start("fast", "join")
        head = orjson.dumps({"v": 1, "origin": "messages-0-0", "model": "m@1"})
        head = head[:-1] + b',"deferral":' + str(deferral).lower().encode() + b"}"
        value = b'{"label": "b", "confidence": 0.9}'
        for _ in range(3):
            memory.log.append("slow-results", 0, None, value, [("hunch", head)])
        origin = memory.send(UNSURE)
        await memory.clock.advance(5_000)

        assert {origin} == set(by_origin(memory))
        committed = memory.log._groups["hunch-join"].offsets
        assert {"slow-results": 3, "deferrals": 1} == {
            tp.topic: at.offset for tp, at in committed.items()
        }


@pytest.mark.parametrize("origin", ["messages-0-²", "messages-0-", "0", "messages-0--1", "x" * 900])
async def test_a_foreign_decision_stops_no_takeover(origin):
    """What somebody else wrote among the decisions is read over."""
    async with cascade() as memory:
        headers = [
            ("hunch-origin", origin.encode()),
            ("hunch-path", b"fast"),
            ("hunch-deferral", b"9" * 5_000),
        ]
        for partition in (0, 1):
            memory.log.append("decisions", partition, None, b"{}", headers)
        await memory.start()
        origins = {memory.send(SURE), memory.send(UNSURE)}
        await memory.clock.advance(2_000)

        assert origins <= {decision.get("origin") for decision in memory.decisions()}
