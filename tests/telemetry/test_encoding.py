"""Spans written by hand are what OpenTelemetry's own protobuf classes read."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Read
from opentelemetry.sdk.resources import Resource

from hunch import __version__
from hunch.telemetry.encoding import Encoder
from hunch.telemetry.traces import Form, Span

KINDS = {
    "fast": Read.SPAN_KIND_CONSUMER,
    "defer": Read.SPAN_KIND_PRODUCER,
    "slow": Read.SPAN_KIND_CONSUMER,
    "join": Read.SPAN_KIND_CONSUMER,
    "decide": Read.SPAN_KIND_PRODUCER,
    "fast batch": Read.SPAN_KIND_INTERNAL,
    "slow batch": Read.SPAN_KIND_INTERNAL,
}
TEXTS = st.text(st.characters(codec="utf-8"), max_size=300)
VALUES = st.one_of(
    TEXTS, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False)
)
ATTRIBUTES = st.dictionaries(TEXTS, VALUES, max_size=5)
TRACE_IDS = st.integers(1, 2**128 - 1).map(lambda number: f"{number:032x}")
SPAN_IDS = st.integers(1, 2**64 - 1).map(lambda number: f"{number:016x}")
LAST_MS = (2**64 - 1) // 1_000_000
TIMES = st.floats(0, 4e12)


def read(attributes):
    """Attributes as a dictionary of plain values."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@st.composite
def spans(draw):
    """Any span, with the time of its acknowledgement."""
    form = Form(
        draw(st.sampled_from(sorted(KINDS))),
        "fast",
        draw(ATTRIBUTES),
        is_parent_remote=draw(st.booleans()),
    )
    span = Span(
        form,
        draw(TRACE_IDS),
        draw(SPAN_IDS),
        draw(st.none() | SPAN_IDS),
        draw(TIMES),
        draw(st.none() | TIMES),
        draw(ATTRIBUTES),
        draw(st.lists(st.tuples(TRACE_IDS, SPAN_IDS), max_size=4)),
        draw(st.none() | TEXTS),
    )
    return span, draw(TIMES)


@given(spans())
def test_a_span_is_read_as_it_was_written(told):
    """Whatever it holds: ids, times, attributes of all kinds, links, status and flags."""
    span, acknowledged_ms = told
    encoder = Encoder({"fast": Resource({"service.name": "hunch-fast", "n": 3})})
    request = ExportTraceServiceRequest.FromString(encoder.request([told]))

    [resource] = request.resource_spans
    [scope] = resource.scope_spans
    [found] = scope.spans
    form, end_ms = span.form, acknowledged_ms if span.end_ms is None else span.end_ms
    assert {"service.name": "hunch-fast", "n": 3} == read(resource.resource.attributes)
    assert ("hunch", __version__) == (scope.scope.name, scope.scope.version)
    assert (form.name, KINDS[form.name]) == (found.name, found.kind)
    assert (span.trace_id, span.span_id) == (found.trace_id.hex(), found.span_id.hex())
    assert (span.parent_id or "") == found.parent_span_id.hex()
    assert int(span.start_ms * 1e6) == found.start_time_unix_nano
    assert int(max(span.start_ms, end_ms) * 1e6) == found.end_time_unix_nano
    assert [*form.attributes.items(), *span.own.items()] == [
        item for one in found.attributes for item in read([one]).items()
    ]
    assert span.links == [(link.trace_id.hex(), link.span_id.hex()) for link in found.links]
    assert (0x301 if form.is_parent_remote else 0x101) == found.flags
    status = (0, "") if span.error is None else (2, span.error)
    assert status == (found.status.code, found.status.message)


def test_each_stage_has_its_own_resource():
    """What the joiner tells for the fast stage stands under the fast stage's name."""
    resources = {stage: Resource({"service.name": stage}) for stage in ("fast", "join")}
    told = [
        (Span(Form("fast", stage, {}), "1" * 32, f"{n}" * 16, None, 1.0, 2.0, {}), 3.0)
        for n, stage in ((1, "fast"), (2, "join"), (3, "fast"))
    ]
    request = ExportTraceServiceRequest.FromString(Encoder(resources).request(told))

    assert {"fast": 2, "join": 1} == {
        one.resource.attributes[0].value.string_value: len(one.scope_spans[0].spans)
        for one in request.resource_spans
    }


@pytest.mark.parametrize(
    ("start_ms", "end_ms", "expected_ms"),
    [
        (4_503_599_627_370_496, 1.0, (LAST_MS, LAST_MS)),
        (-5.0, 10.0**300, (0, LAST_MS)),
        (math.nan, math.inf, (0, LAST_MS)),
        (10**400, None, (LAST_MS, LAST_MS)),
    ],
)
def test_a_time_that_otlp_cannot_say_becomes_the_nearest(start_ms, end_ms, expected_ms):
    """Who writes a deferral may name any time: it is no reason to lose other spans."""
    told = Span(Form("defer", "fast", {}), "1" * 32, "1" * 16, None, start_ms, end_ms, {})
    encoder = Encoder({"fast": Resource({"service.name": "hunch-fast"})})
    request = ExportTraceServiceRequest.FromString(encoder.request([(told, 3.0)]))

    [found] = request.resource_spans[0].scope_spans[0].spans
    times = found.start_time_unix_nano, found.end_time_unix_nano
    assert expected_ms == tuple(time // 1_000_000 for time in times)
