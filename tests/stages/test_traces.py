"""One trace a message: which spans there are, whose children, and what is passed on."""

import json

import pytest
from tests.stages.parties import by_origin, cascade, slow

from hunch.telemetry import Tracer, names
from hunch.telemetry.traces import TracePolicy

SURE, UNSURE = {"c": 0.95}, {"c": 0.6}
PRODUCER = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"
BAD = b"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"


class Traced:
    """A cascade whose spans a test reads."""

    def __init__(self, *, ratio=1.0, paths_per_s=50, **changes):
        self.spans = []
        tracer = Tracer(TracePolicy(ratio=ratio, paths_per_s=paths_per_s), self._take)
        self.memory = cascade(tracer=tracer, **changes)

    def _take(self, spans, acknowledged_ms):
        self.spans += [
            span if span.end_ms is not None else span._replace(end_ms=acknowledged_ms)
            for span in spans
        ]

    async def one(self, message, *, headers=(), stages=("fast", "slow", "join"), for_ms=2_000):
        """The decision on one message, and its spans by name."""
        async with self.memory as memory:
            await memory.start(*stages)
            origin = memory.send(message, headers=list(headers))
            await memory.clock.advance(for_ms)
            decision = by_origin(memory)[origin]
        return decision, {span.name: span for span in self.spans}

    def carried(self, topic):
        """What `traceparent` said on each record of a topic."""
        records = self.memory.log.records(topic)
        return [dict(record.headers)["traceparent"].decode() for record in records]


def family(spans):
    """Each span's parent, by name."""
    by_id = {span.span_id: name for name, span in spans.items()}
    return {name: by_id.get(span.parent_id, span.parent_id) for name, span in spans.items()}


async def test_an_exit_has_two_spans_and_its_batch():
    """Fast is the root, decide its child; the batch is a trace of its own, linked both ways."""
    traced = Traced()
    decision, spans = await traced.one(SURE)

    fast, decide, batch = spans["fast"], spans["decide"], spans["fast batch"]
    assert {"fast": None, "decide": "fast", "fast batch": None} == family(spans)
    assert fast.trace_id == decide.trace_id == decision["trace_id"] != batch.trace_id
    assert ((batch.trace_id, batch.span_id),) == tuple(fast.links)
    assert [(fast.trace_id, fast.span_id)] == list(batch.links)
    assert [f"00-{decide.trace_id}-{decide.span_id}-01"] == traced.carried("decisions")
    assert ("fast", "confident") == (
        decide.attributes[names.PATH],
        decide.attributes[names.REASON],
    )
    assert pytest.approx(0.95) == fast.attributes[names.CONFIDENCE]
    assert (0.9, "fast@1", decision["origin"]) == (
        fast.attributes[names.TAU],
        fast.attributes[names.MODEL],
        fast.attributes[names.ORIGIN],
    )


async def test_a_verified_message_has_one_trace_over_three_stages():
    """Fast → defer → slow and join → decide; join names the slow span that it waited for."""
    traced = Traced()
    decision, spans = await traced.one(UNSURE)

    assert {
        "fast": None,
        "defer": "fast",
        "slow": "defer",
        "join": "defer",
        "decide": "join",
        "fast batch": None,
        "slow batch": None,
    } == family(spans)
    own = {name: span for name, span in spans.items() if "batch" not in name}
    assert {decision["trace_id"]} == {span.trace_id for span in own.values()}
    assert ((decision["trace_id"], spans["slow"].span_id),) == tuple(spans["join"].links)
    assert [(decision["trace_id"], spans["slow"].span_id)] == list(spans["slow batch"].links)
    assert [f"00-{decision['trace_id']}-{spans['defer'].span_id}-01"] == traced.carried("deferrals")
    assert [f"00-{decision['trace_id']}-{spans['slow'].span_id}-01"] == traced.carried(
        "slow-results"
    )
    assert "slow" == spans["decide"].attributes[names.PATH]
    assert all(span.end_ms >= span.start_ms for span in spans.values())


@pytest.mark.parametrize("message", [SURE, UNSURE], ids=["exit", "deferral"])
async def test_a_producers_trace_goes_on(message):
    """A sampled traceparent is the parent of everything, whatever the ratio."""
    traced = Traced(ratio=0.0)
    decision, spans = await traced.one(message, headers=[("traceparent", PRODUCER + b"01")])

    assert "0af7651916cd43dd8448eb211c80319c" == decision["trace_id"] == spans["decide"].trace_id
    assert "b7ad6b7169203331" == spans["fast"].parent_id


async def test_a_producer_that_does_not_sample_is_heard():
    """Flag 00: no span, even at ratio 1; the context goes on as it came."""
    traced = Traced(ratio=1.0, paths_per_s=0)
    decision, spans = await traced.one(SURE, headers=[("traceparent", PRODUCER + b"00")])

    assert {} == spans
    assert [(PRODUCER + b"00").decode()] == traced.carried("decisions")
    assert "0af7651916cd43dd8448eb211c80319c" == decision["trace_id"]


@pytest.mark.parametrize(
    "header", [BAD, b"", b"\xff\xfe", b"ff" + (PRODUCER + b"01")[2:], b"x" * 900]
)
async def test_a_bad_traceparent_begins_a_new_trace(header):
    """Nonsense is not passed on: the message is decided in a trace of its own."""
    traced = Traced()
    decision, spans = await traced.one(SURE, headers=[("traceparent", header)])

    assert spans["fast"].parent_id is None
    assert [f"00-{decision['trace_id']}-{spans['decide'].span_id}-01"] == traced.carried(
        "decisions"
    )


async def test_the_same_record_has_the_same_trace():
    """Read again after a crash, a record is sampled again, and into the same trace."""
    first, _ = await Traced().one(SURE)
    second, _ = await Traced().one(SURE)

    assert first["trace_id"] == second["trace_id"]


@pytest.mark.parametrize(
    ("message", "stages", "reason"),
    [
        (UNSURE, ("fast", "join"), "deadline"),
        (UNSURE | {"broken": True}, ("fast", "slow", "join"), "slow_error"),
    ],
)
async def test_a_fallback_is_told_although_nobody_sampled_it(message, stages, reason):
    """From what the deferral carries: fast, defer, join and decide, without the slow stage."""
    traced = Traced(ratio=0.0)
    decision, spans = await traced.one(message, stages=stages)

    assert {"fast": None, "defer": "fast", "join": "defer", "decide": "join"} == family(spans)
    assert {decision["trace_id"]} == {span.trace_id for span in spans.values()}
    assert {"fast": "fast", "defer": "fast", "join": "join", "decide": "join"} == {
        name: span.form.stage for name, span in spans.items()
    }
    assert ("fallback", reason) == (
        spans["decide"].attributes[names.PATH],
        spans["decide"].attributes[names.REASON],
    )
    assert traced.carried("decisions")[0].endswith("-00")


async def test_a_shed_message_that_is_sampled_shows_the_slow_stage():
    """Its slow span has no batch, and says shed."""
    traced = Traced(delta_ms=1_000)
    traced.memory.replace_slow(slow(service_ms=800, clock=traced.memory.clock))
    async with traced.memory as memory:
        await memory.start()
        memory.send(UNSURE)
        await memory.clock.advance(100)
        memory.send(UNSURE)
        memory.send(UNSURE)
        await memory.clock.advance(2_000)

    shed = [s for s in traced.spans if s.attributes.get(names.REASON) == "shed"]
    slow_span = next(span for span in shed if span.name == "slow")
    decide = next(span for span in shed if span.name == "decide")
    assert () == tuple(slow_span.links)
    assert slow_span.trace_id == decide.trace_id
    assert "fallback" == decide.attributes[names.PATH]


async def test_an_error_is_told_with_its_sentence():
    """What nobody can decode has two spans, both failed."""
    traced = Traced(ratio=0.0)
    decision, spans = await traced.one(b"no JSON")

    assert {"fast", "decide", "fast batch"} == set(spans)
    assert decision["error"] == spans["fast"].error == spans["decide"].error
    assert "undecodable" == spans["decide"].attributes[names.REASON]


async def test_a_burst_of_fallbacks_is_told_at_a_bounded_rate():
    """Beyond trace_paths_per_s of a reason they are counted, not traced."""
    traced = Traced(ratio=0.0, paths_per_s=3)
    async with traced.memory as memory:
        await memory.start("fast", "join")
        for _ in range(10):
            memory.send(UNSURE)
        await memory.clock.advance(1_000)

        assert 7 == memory.metrics.snapshot()["traces_suppressed{reason=deadline}"]
    assert 3 == sum(span.name == "decide" for span in traced.spans)


async def test_with_tracing_off_headers_pass_as_they_came():
    """No span, no id of ours in a deferral, and the producer's context to the end."""
    async with cascade() as memory:
        await memory.start()
        origins = [
            memory.send(message, headers=[("traceparent", PRODUCER + b"01")])
            for message in (SURE, UNSURE)
        ]
        await memory.clock.advance(1_000)

        decided = by_origin(memory)
        deferral = dict(memory.log.records("deferrals")[0].headers)
        headers = [dict(record.headers) for record in memory.log.records("decisions")]
        assert {"0af7651916cd43dd8448eb211c80319c"} == {decided[o]["trace_id"] for o in origins}
        assert {PRODUCER + b"01"} == {header["traceparent"] for header in headers}
        assert "spans" not in json.loads(deferral["hunch"])


async def test_spans_are_told_only_of_what_the_broker_took():
    """A delivery that fails tells nothing; the one after the takeover does."""
    traced = Traced()
    async with traced.memory as memory:
        await memory.start("fast")
        memory.log.fail_next("produce", TimeoutError(), count=1)
        memory.send(SURE)
        await memory.clock.advance(5_000)

        assert 1 == len(memory.decisions())
    assert ["decide", "fast", "fast batch"] == sorted(span.name for span in traced.spans)
