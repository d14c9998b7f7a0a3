"""Spans on their way out: bounded, counted, and nobody waits for them."""

import threading
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from hunch.telemetry import Metrics, otel
from hunch.telemetry.collector import Refused
from hunch.telemetry.encoding import Encoder
from hunch.telemetry.export import ExportPolicy, SpanExport
from hunch.telemetry.traces import Form, Span

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
FORM = Form("fast", "fast", {"messaging.system": "kafka"}, is_parent_remote=True)


class Collecting:
    """Keeps what it is sent; can be told to refuse, and to block until it is let go."""

    def __init__(self, *, takes=True, rejects=0):
        self.rejects = rejects
        self.spans = []
        self.asked = threading.Event()
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.is_closed = False
        self._takes = takes

    def send(self, request):
        """Answers as it was told."""
        self.asked.set()
        self.goes_on.wait(10)
        if not self._takes:
            raise Refused("no")
        for resource in ExportTraceServiceRequest.FromString(request).resource_spans:
            self.spans += resource.scope_spans[0].spans
        return self.rejects

    def close(self):
        """Lets go of what blocks."""
        self.is_closed = True
        self.goes_on.set()


def span(number=1, **changes):
    """One span of the fast stage."""
    fields: dict[str, Any] = {
        "form": FORM,
        "trace_id": TRACE,
        "span_id": f"{number:016x}",
        "parent_id": PARENT,
        "start_ms": 1_000.5,
        "end_ms": None,
        "own": {"hunch.path": "fast"},
    }
    return Span(**(fields | changes))


def exporting(collector, **policy):
    """An export to this collector, started, and its metrics."""
    metrics = Metrics()
    bounds = ExportPolicy(**({"delay_ms": 1, "stop_ms": 5_000} | policy))
    encoder = Encoder({"fast": otel.resource("fast")})
    export = SpanExport(lambda _wait: collector, encoder, metrics, bounds)
    export.start()
    return export, metrics


def test_what_is_queued_at_the_end_is_sent():
    """The last spans of a process are not lost, in batches of the bound."""
    collector = Collecting()
    export, metrics = exporting(collector, delay_ms=60_000, max_batch_size=10)
    export.take([span(number) for number in range(1, 26)], 2_000.0)
    export.stop()

    assert 25 == len(collector.spans)
    assert collector.is_closed
    assert {"spans_exported": 25} == metrics.snapshot()


def test_a_full_queue_drops_what_comes_and_counts_it():
    """While the collector blocks, memory stays bounded and take returns at once."""
    collector = Collecting()
    collector.goes_on.clear()
    export, metrics = exporting(collector, max_queue_size=3, max_batch_size=1)
    export.take([span()], 2_000.0)
    assert collector.asked.wait(10)
    for number in range(2, 100):
        export.take([span(number)], 2_000.0)
    collector.goes_on.set()
    export.stop()

    counts = metrics.snapshot()
    assert 99 == counts["spans_exported"] + counts["spans_dropped{reason=queue_full}"]
    assert 4 >= counts["spans_exported"]


def test_a_collector_that_refuses_costs_its_spans_only():
    """A refusal is counted, and the thread goes on to the next spans."""
    collector = Collecting(takes=False)
    export, metrics = exporting(collector, max_batch_size=1)
    export.take([span(1), span(2)], 2_000.0)
    export.stop()

    assert collector.is_closed
    assert {"spans_dropped{reason=collector}": 2} == metrics.snapshot()


def test_a_collector_that_hangs_does_not_keep_the_process():
    """stop() comes back within its limit, and shuts the exporter."""
    collector = Collecting()
    collector.goes_on.clear()
    export, _ = exporting(collector, stop_ms=50)
    export.take([span()], 2_000.0)
    assert collector.asked.wait(10)
    export.stop()

    assert collector.is_closed


def test_a_chunk_larger_than_the_queue_is_taken_as_far_as_it_fits():
    """What a batch of a model leaves is more than a small queue holds: the rest is counted."""
    collector = Collecting()
    export, metrics = exporting(collector, delay_ms=60_000, max_queue_size=10)
    export.take([span(number) for number in range(1, 26)], 2_000.0)
    export.stop()

    assert {"spans_exported": 10, "spans_dropped{reason=queue_full}": 15} == metrics.snapshot()
    assert list(range(1, 11)) == [int(one.span_id.hex(), 16) for one in collector.spans]


def test_what_is_left_at_the_end_is_counted_once():
    """A collector that hangs takes nothing: in hand or queued, each span is dropped, once."""
    collector = Collecting()
    collector.goes_on.clear()
    export, metrics = exporting(collector, stop_ms=50, max_batch_size=2)
    export.take([span(number) for number in range(1, 8)], 2_000.0)
    assert collector.asked.wait(10)
    export.stop()
    export._thread.join(10)

    assert {"spans_dropped{reason=stopped}": 7} == metrics.snapshot()


def test_what_a_collector_rejects_is_counted():
    """A partial success is not a whole one."""
    collector = Collecting(rejects=2)
    export, metrics = exporting(collector, delay_ms=60_000)
    export.take([span(number) for number in range(1, 6)], 2_000.0)
    export.stop()

    assert {"spans_exported": 3, "spans_dropped{reason=collector}": 2} == metrics.snapshot()


def test_an_export_that_never_started_is_stopped():
    """A process whose start fails closes what it has made; spans taken meanwhile are counted."""
    metrics = Metrics()
    encoder = Encoder({"fast": otel.resource("fast")})
    export = SpanExport(lambda _wait: Collecting(), encoder, metrics)
    export.take([span()], 2_000.0)
    export.stop()

    assert {"spans_dropped{reason=stopped}": 1} == metrics.snapshot()


def test_a_span_that_cannot_be_encoded_costs_its_batch_only():
    """Whatever is wrong with one, the thread goes on to the next."""
    collector = Collecting()
    export, metrics = exporting(collector, max_batch_size=1)
    export.take([span(1, trace_id="no hex"), span(2)], 2_000.0)
    export.stop()

    assert {"spans_exported": 1, "spans_dropped{reason=collector}": 1} == metrics.snapshot()


def test_a_way_that_cannot_be_made_is_tried_again():
    """A certificate that cannot be read costs the spans of that request, not the thread."""
    collector, metrics, tried = Collecting(), Metrics(), []

    def collect(_wait):
        tried.append(1)
        if len(tried) <= 2:
            raise PermissionError("no")
        return collector

    export = SpanExport(
        collect, Encoder({"fast": otel.resource("fast")}), metrics, ExportPolicy(max_batch_size=1)
    )
    export.start()
    export.take([span(1), span(2)], 2_000.0)
    export.stop()

    assert {"spans_exported": 1, "spans_dropped{reason=collector}": 1} == metrics.snapshot()
