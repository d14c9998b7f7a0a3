"""`OtlpReceiver` against the exporters of OpenTelemetry's SDK: it keeps, stalls, refuses, dies."""

import gzip
import http.client
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as over_grpc
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (
    OTLPMetricExporter as GrpcMetricExporter,
)
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http import trace_exporter as over_http
from opentelemetry.exporter.otlp.proto.http.metric_exporter import (
    OTLPMetricExporter as HttpMetricExporter,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, set_span_in_context

from hunch.testing import OtlpReceiver
from hunch.testing.otlp import PROTOCOLS

SOON_S = 5.0
SHORT_S = 0.3
"""How long an exporter waits for a collector that does not answer."""


@pytest.fixture
def collector():
    """A receiver of both protocols."""
    with OtlpReceiver() as receiver:
        yield receiver


def exporter(collector, protocol, timeout_s=SOON_S, **options):
    """The SDK's exporter to this receiver."""
    endpoint = collector.endpoint(protocol)
    if protocol == "grpc":
        return over_grpc.OTLPSpanExporter(endpoint, insecure=True, timeout=timeout_s, **options)
    return over_http.OTLPSpanExporter(f"{endpoint}/v1/traces", timeout=timeout_s, **options)


def family(service="hunch-fast"):
    """A parent, its child with an error and a link to it, as the SDK makes them."""
    tracer = TracerProvider(resource=Resource({"service.name": service})).get_tracer("test")
    parent = tracer.start_span("fast", kind=SpanKind.CONSUMER, start_time=1_000_000)
    child = tracer.start_span(
        "decide",
        set_span_in_context(parent),
        kind=SpanKind.PRODUCER,
        attributes={"hunch.tau": 0.9, "n": 7, "yes": True, "many": ["a", "b"]},
        links=[Link(parent.get_span_context(), {"why": "test"})],
        start_time=2_000_000,
    )
    child.set_status(Status(StatusCode.ERROR, "It broke."))
    child.end(5_000_000)
    parent.end(9_000_000)
    return parent, child


def exported(sender, spans):
    """Whether the exporter says that these spans were taken; older ones raise instead."""
    try:
        return sender.export(spans) is SpanExportResult.SUCCESS
    except OSError:
        return False


def ids(span):
    """Trace and span id of the SDK's span, as hexadecimal digits."""
    context = span.get_span_context()
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_spans_arrive_with_all_that_they_say(collector, protocol):
    """Ids, times, kinds, attributes, links, status and service are those of the SDK's spans."""
    parent, child = family()
    sender = exporter(collector, protocol)

    assert exported(sender, [parent, child])
    sender.shutdown()
    [(trace_id, (seen, seen_child))] = collector.traces.items()
    assert (*ids(parent), None) == (trace_id, seen.span_id, seen.parent_id)
    assert ("fast", "hunch-fast", "consumer", "unset") == (
        *(seen.name, seen.service, seen.kind, seen.status),
    )
    assert (1_000_000, 9_000_000) == (seen.start_ns, seen.end_ns)
    assert (ids(child)[1], seen.span_id) == (seen_child.span_id, seen_child.parent_id)
    assert ("producer", "error", "It broke.") == (
        *(seen_child.kind, seen_child.status, seen_child.description),
    )
    expected = {"hunch.tau": 0.9, "n": 7, "yes": True, "many": ("a", "b")}
    assert expected == seen_child.attributes
    [link] = seen_child.links
    assert (*ids(parent), {"why": "test"}) == (link.trace_id, link.span_id, link.attributes)
    assert (seen, seen_child) == collector.spans


@pytest.mark.parametrize("compression", [Compression.Gzip, Compression.Deflate])
def test_compressed_bodies_are_read(collector, compression):
    """Both that the SDK can write."""
    sender = exporter(collector, "http/protobuf", compression=compression)

    assert exported(sender, family())
    sender.shutdown()
    assert 2 == len(collector.spans)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_environment_leads_here(collector, protocol, monkeypatch):
    """An exporter without arguments finds the receiver by its variables."""
    for name, text in collector.environment(protocol).items():
        monkeypatch.setenv(name, text)
    module = over_grpc if protocol == "grpc" else over_http
    sender = module.OTLPSpanExporter()

    assert exported(sender, family())
    sender.shutdown()
    assert 1 == len(collector.traces)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_refusal_reaches_the_exporter_until_it_is_over(collector, protocol):
    """UNAVAILABLE or 503: the spans are not taken, later ones are."""
    sender = exporter(collector, protocol, timeout_s=SHORT_S)

    collector.refuse()
    is_taken = exported(sender, family())
    collector.accept()

    assert not is_taken
    assert collector.requests
    assert () == collector.spans
    assert exported(sender, family())
    assert 2 == len(collector.spans)
    sender.shutdown()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_stalled_receiver_has_the_request_and_does_not_answer(collector, protocol):
    """The exporter runs into its time-out; the receiver answers when it goes on."""
    collector.stall()
    hasty, patient = exporter(collector, protocol, SHORT_S), exporter(collector, protocol)
    assert not exported(hasty, family("hasty"))

    with ThreadPoolExecutor(1) as pool:
        before = collector.requests
        answer = pool.submit(exported, patient, family("patient"))
        collector.wait_for(lambda seen: seen.requests > before, SOON_S)
        is_answered_early = answer.done()
        collector.accept()
        is_taken = answer.result(SOON_S)

    assert (False, True) == (is_answered_early, is_taken)
    assert "patient" in {span.service for span in collector.spans}
    hasty.shutdown()
    patient.shutdown()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_receiver_that_went_comes_back_at_the_same_port(collector, protocol):
    """Nobody answers in between, also not on the connection that there was."""
    endpoint = collector.endpoint(protocol)
    sender = exporter(collector, protocol, timeout_s=SHORT_S)
    assert exported(sender, family())

    collector.go_away()
    is_taken = exported(sender, family())
    collector.come_back()
    again = exporter(collector, protocol)

    assert not is_taken
    assert endpoint == collector.endpoint(protocol)
    assert exported(again, family())
    assert 2 == len(collector.traces)
    sender.shutdown()
    again.shutdown()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_stalled_request_is_not_kept_when_the_receiver_goes(collector, protocol):
    """What a dead collector had in hand is lost."""
    collector.stall()
    sender = exporter(collector, protocol, timeout_s=SHORT_S)

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(exported, sender, family())
        collector.wait_for(lambda seen: seen.requests, SOON_S)
        collector.go_away()
        is_taken = answer.result(SOON_S)

    assert not is_taken
    assert () == collector.spans
    sender.shutdown()


def test_only_the_newest_traces_are_kept():
    """The oldest goes first, with all its spans."""
    with OtlpReceiver(protocols=["http/protobuf"], max_traces=2) as collector:
        sender = exporter(collector, "http/protobuf")
        for service in ("a", "b", "c"):
            sender.export(family(service))
        sender.shutdown()

        assert ["b", "b", "c", "c"] == [span.service for span in collector.spans]


def test_what_is_awaited_is_told_or_said_not_to_have_come(collector):
    """The answer of the look itself, or an error that says what there was."""
    sender = exporter(collector, "http/protobuf")
    sender.export(family())
    sender.shutdown()

    assert 2 == collector.wait_for(lambda seen: len(seen.spans), SOON_S)
    with pytest.raises(
        TimeoutError, match=r"Not seen after 0\.01 s; there were 1 requests, 1 trace"
    ):
        collector.wait_for(lambda seen: len(seen.spans) > 2, 0.01)


def test_traces_are_passed_on():
    """Another endpoint gets the same spans, and flushing waits for that."""
    with OtlpReceiver() as last:
        forward_to = last.endpoint()
        with OtlpReceiver(forward_to=forward_to) as first:
            for protocol in PROTOCOLS:
                sender = exporter(first, protocol)
                sender.export(family(protocol))
                sender.shutdown()

            assert first.flush(SOON_S)
            assert first.spans == last.spans
            assert (2, 0) == first.forwarded


def test_a_dead_endpoint_costs_the_receiver_nothing():
    """What cannot be passed on is counted; the receiver keeps it and answers."""
    with OtlpReceiver(forward_to="http://127.0.0.1:1") as collector:
        sender = exporter(collector, "http/protobuf")

        assert exported(sender, family())
        sender.shutdown()
        assert collector.flush(SOON_S)
        assert (0, 1) == collector.forwarded
        assert 2 == len(collector.spans)


def test_an_endpoint_that_hangs_does_not_hold_requests():
    """Exports are answered while passing on waits; the end does not wait for it long."""
    with OtlpReceiver(protocols=["http/protobuf"]) as last:
        last.stall()
        with OtlpReceiver(forward_to=last.endpoint()) as first:
            sender = exporter(first, "grpc", timeout_s=1.0)
            taken = [exported(sender, family()) for _ in range(5)]
            sender.shutdown()

            assert [True] * 5 == taken
            assert not first.flush(0.01)
            last.go_away()


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        ("/v1/traces", {}, b"\xff\xff", 400),
        ("/v1/traces", {"Content-Encoding": "gzip"}, b"not gzip", 400),
        ("/v1/traces", {"Content-Type": "application/json"}, b"{}", 415),
        ("/v1/logs", {}, b"", 404),
        ("/v1/traces", {"Content-Encoding": "gzip"}, gzip.compress(b""), 200),
        ("/v1/traces", {"Content-Length": str(1 << 40)}, b"", 413),
    ],
)
def test_what_is_no_export_is_answered_so(collector, path, headers, body, status):
    """Bad bytes, encodings, types, sizes and paths have the status that HTTP has for them."""
    connection = http.client.HTTPConnection("127.0.0.1", int(collector.endpoint().split(":")[2]))

    connection.request("POST", path, body, {"Content-Type": "application/x-protobuf"} | headers)
    answer = connection.getresponse()
    connection.close()

    assert status == answer.status
    assert () == collector.spans


def test_a_connection_serves_many_requests(collector):
    """HTTP/1.1 as exporters use it: the second request goes the same way."""
    body = encode_spans(family()).SerializeToString()
    connection = http.client.HTTPConnection("127.0.0.1", int(collector.endpoint().split(":")[2]))

    for _ in range(2):
        headers = {"Content-Type": "application/x-protobuf"}
        connection.request("POST", "/v1/traces", body, headers)
        answer = connection.getresponse()
        assert (200, b"") == (answer.status, answer.read())
    connection.close()

    assert 4 == len(collector.spans)


def test_who_goes_away_hangs_up(collector):
    """A connection that is kept open ends with the receiver, not only the port."""
    connection = http.client.HTTPConnection("127.0.0.1", int(collector.endpoint().split(":")[2]))
    connection.request("POST", "/v1/traces", b"", {"Content-Type": "application/x-protobuf"})
    connection.getresponse().read()
    kept = connection.sock
    kept.settimeout(SOON_S)

    collector.go_away()

    assert b"" == kept.recv(1)
    connection.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_metrics_keep_their_newest_point(collector, protocol):
    """A counter by its attributes, and a histogram with sum and count."""
    endpoint = collector.endpoint(protocol)
    sender = (
        GrpcMetricExporter(endpoint, insecure=True)
        if protocol == "grpc"
        else HttpMetricExporter(f"{endpoint}/v1/metrics")
    )
    reader = PeriodicExportingMetricReader(sender, export_interval_millis=60_000)
    provider = MeterProvider([reader], resource=Resource({"service.name": "hunch-join"}))
    meter = provider.get_meter("test")
    counter, histogram = meter.create_counter("n"), meter.create_histogram("seconds", unit="s")

    counter.add(2, {"path": "fast"})
    provider.force_flush()
    counter.add(3, {"path": "fast"})
    counter.add(1, {"path": "slow"})
    for seconds in (0.25, 0.5):
        histogram.record(seconds)
    provider.shutdown()

    points = collector.metrics
    assert [("fast", 5), ("slow", 1)] == [(p.attributes["path"], p.value) for p in points["n"]]
    [seconds] = points["seconds"]
    assert ("hunch-join", "histogram", "s", 0.75, 2) == (
        *(seconds.service, seconds.kind, seconds.unit, seconds.value, seconds.count),
    )
