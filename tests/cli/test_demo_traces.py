"""What the demo makes of traces: which it shows, what it tells, and whether a Jaeger is there."""

import asyncio

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider

from hunch.cli.demo_jaeger import Jaeger, jaeger_at
from hunch.cli.demo_screen import Screen
from hunch.cli.demo_traces import SPANS, Traces, told, typical
from hunch.testing import ReceivedLink, ReceivedSpan

NOBODY = "http://127.0.0.1:1"


def trace(trace_id, path, ms, names=None, *, is_sampled=True):
    """The spans of a message; the sampled ones are linked to a batch."""
    link = ReceivedLink(trace_id="b", span_id="b", attributes={})
    return tuple(
        ReceivedSpan(
            name=name,
            service="hunch",
            trace_id=trace_id,
            span_id=f"{trace_id}-{name}",
            parent_id=None,
            kind="internal",
            start_ns=0,
            end_ns=ms * 1_000_000,
            attributes={"hunch.path": path, "hunch.origin": f"m-0-{trace_id}"}
            if name == "decide"
            else {},
            links=(link,) if is_sampled and name == "fast" else (),
        )
        for name in names or SPANS[path]
    )


FAST = {"fast": trace("abc", "fast", 1)}


def ended_span():
    """A span of the SDK's."""
    span = TracerProvider().get_tracer("test").start_span("fast")
    span.end()
    return span


def ids(found):
    """Path → trace id."""
    return {path: spans[0].trace_id for path, spans in found.items()}


def test_the_middle_one_of_the_whole_sampled_traces_is_typical():
    """Not the quickest, not the slowest, none with parts missing, none rebuilt where others are."""
    traces = [
        trace("quick", "fast", 1),
        trace("middle", "fast", 2),
        trace("first", "fast", 90),
        trace("torn", "slow", 5, names=("fast", "defer", "decide")),
        trace("rebuilt", "fallback", 5, is_sampled=False),
        trace("sampled", "fallback", 9),
        trace("bad", "error", 1, is_sampled=False),
        trace("undecided", "slow", 5, names=("fast", "defer")),
    ]

    found = typical({spans[0].trace_id: spans for spans in traces})

    assert {"fast": "middle", "fallback": "sampled", "error": "bad"} == ids(found)


def test_programs_are_told_the_message_and_its_page():
    """No page where there is no Jaeger."""
    at = {"origin": "m-0-abc", "trace_id": "abc"}

    assert {"fast": at | {"url": None}} == told(FAST, None)
    assert {"fast": at | {"url": "http://j:1/trace/abc"}} == told(FAST, Jaeger("http://j:1", ""))


async def test_stages_that_do_not_trace_are_not_waited_for():
    """Without any request there is nothing to wait for, and nothing to show."""
    traces = await Traces.start(Jaeger(NOBODY, NOBODY))
    try:
        found = await traces.by_path({"fast", "slow"})
    finally:
        await traces.stop()

    assert ({}, None, []) == (found, traces.jaeger, traces.batches)


async def test_the_stages_go_past_a_proxy(monkeypatch):
    """The collector is on this machine, whatever proxy the user has; hosts of their own stay."""
    monkeypatch.setenv("NO_PROXY", "intern.example")
    traces = await Traces.start(Jaeger(NOBODY, NOBODY))
    environment = traces.environment()
    await traces.stop()

    assert "intern.example,127.0.0.1,localhost" == environment["NO_PROXY"]
    assert environment["OTEL_EXPORTER_OTLP_ENDPOINT"].startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    ("ui", "endpoint", "protocol", "expected"),
    [
        (None, "", "", Jaeger("http://localhost:16686", "http://localhost:4318")),
        ("http://j:9/", "", "", Jaeger("http://j:9", "http://j:4318")),
        (None, "http://c:4317", "", Jaeger("http://c:16686", "http://c:4318")),
        (None, "http://c:4317", "grpc", Jaeger("http://c:16686", "http://c:4318")),
        (None, "https://c/otlp/", "http/protobuf", Jaeger("http://c:16686", "https://c/otlp")),
        ("http://j:9", "http://[::1]:4317", "", Jaeger("http://j:9", "http://[::1]:4318")),
    ],
)
def test_the_jaeger_that_is_meant(ui, endpoint, protocol, expected):
    """The option, then OpenTelemetry's variables, then this machine."""
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}

    assert expected == jaeger_at(ui, env)


def test_a_jaeger_is_there_when_both_its_ends_answer(collector, jaeger_pages):
    """One that shows pages and takes spans, and not half of one."""
    endpoint = collector.endpoint()

    assert Jaeger(jaeger_pages, endpoint).is_there()
    assert not Jaeger(jaeger_pages, NOBODY).is_there()
    assert not Jaeger(NOBODY, endpoint).is_there()
    assert not Jaeger(endpoint, endpoint).is_there()
    assert not Jaeger("localhost", "no url").is_there()


def test_a_jaeger_that_hangs_is_not_waited_for(collector, jaeger_pages):
    """A collector that answers nothing counts as none, within a second."""
    collector.stall()

    assert not Jaeger(jaeger_pages, collector.endpoint()).is_there()


@pytest.mark.parametrize("is_refused", [False, True])
async def test_a_jaeger_that_takes_not_all_is_told_apart(collector, jaeger_pages, is_refused):
    """Pages are only promised for what Jaeger has taken."""
    traces = await Traces.start(Jaeger(jaeger_pages, collector.endpoint()))
    if is_refused:
        collector.refuse()
    sender = OTLPSpanExporter(traces.environment()["OTEL_EXPORTER_OTLP_ENDPOINT"] + "/v1/traces")

    await asyncio.to_thread(sender.export, [ended_span()])
    is_passed_on = await traces.passed_on()
    await traces.stop()
    sender.shutdown()

    assert (not is_refused) is is_passed_on


@pytest.mark.parametrize(
    ("found", "jaeger", "is_passed_on", "said"),
    [
        ({}, None, False, "No traces came from the stages."),
        (FAST, None, False, "A Jaeger at http://localhost:16686 would get these traces"),
        (FAST, Jaeger("http://j:1", ""), False, "The Jaeger at http://j:1 did not take all"),
        (FAST, Jaeger("http://j:1", ""), True, "http://j:1/trace/abc\n"),
    ],
)
def test_the_end_says_where_traces_are(capsys, found, jaeger, is_passed_on, said):
    """Or that there are none, or who did not take them."""
    Screen(is_silent=False).traces(found, [], jaeger, is_passed_on=is_passed_on)

    printed = capsys.readouterr().out
    assert said in printed
    assert is_passed_on is ("/trace/" in printed)
    assert bool(found) is ("fast  m-0-abc" in printed)
