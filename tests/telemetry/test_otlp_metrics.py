"""Metrics by OTLP: a real receiver over gRPC and HTTP, and what a dead one costs."""

import asyncio
import contextlib
import io
import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)

from hunch.clock import SystemClock
from hunch.telemetry import Metrics, configure_logging
from hunch.telemetry.otel import resource
from hunch.telemetry.otlp_metrics import OtlpMetrics, exporter

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


class Received:
    """What the receiver has got; the first request can be awaited."""

    def __init__(self):
        self.requests = []
        self._came = threading.Event()

    def take(self, request):
        """Notes a request."""
        self.requests.append(request)
        self._came.set()

    async def first(self):
        """The first request, within ten seconds."""
        assert await asyncio.to_thread(self._came.wait, 10), "nothing was exported"
        return self.requests[0]


class GrpcReceiver(MetricsServiceServicer):
    """The collector's side of OTLP over gRPC."""

    def __init__(self, received):
        self._received = received

    def Export(self, request, context):  # noqa: ARG002, N802  the service's signature
        """Takes one request."""
        self._received.take(request)
        return ExportMetricsServiceResponse()


@contextlib.contextmanager
def by_grpc(received):
    """A gRPC receiver on a free port; its endpoint."""
    server = grpc.server(ThreadPoolExecutor(2))
    add_MetricsServiceServicer_to_server(GrpcReceiver(received), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop(None).wait(5)


@contextlib.contextmanager
def by_http(received):
    """An HTTP receiver on a free port; its endpoint."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            assert "/v1/metrics" == self.path
            body = self.rfile.read(int(self.headers["content-length"]))
            received.take(ExportMetricsServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(5)


def sender(metrics, protocol, interval_ms=20):
    """An exporter of these metrics that is about to begin."""
    return OtlpMetrics(
        metrics,
        clock=SystemClock(),
        resource=resource("fast"),
        interval_ms=interval_ms,
        make_exporter=lambda: exporter(protocol),
    )


@contextlib.asynccontextmanager
async def running(sending):
    """Exports by the clock while this is open, and once more at its end."""
    task = asyncio.create_task(sending.run())
    yield
    task.cancel()
    await sending.close()


@pytest.mark.parametrize(("receiver", "protocol"), [(by_grpc, "grpc"), (by_http, "http/protobuf")])
async def test_a_collector_gets_every_metric(receiver, protocol, monkeypatch):
    """Sums, gauges and histograms arrive with labels, bounds and the resource, by each protocol."""
    metrics, received = Metrics(), Received()
    metrics.count("decisions", 3, stage="fast", path="fast", reason="confident")
    metrics.gauge("pending", lambda: {("0",): 2.0})
    metrics.observe("batch_size", [1, 2, 5000], stage="slow")
    with receiver(received) as endpoint:
        monkeypatch.setenv(ENDPOINT, endpoint)
        async with running(sender(metrics, protocol)):
            request = await received.first()

    [of_process] = request.resource_metrics
    attributes = {pair.key: pair.value.string_value for pair in of_process.resource.attributes}
    assert ("hunch-fast", "hunch") == (attributes["service.name"], attributes["service.namespace"])
    found = {metric.name: metric for metric in of_process.scope_metrics[0].metrics}
    assert {"hunch_decisions", "hunch_pending", "hunch_batch_size"} == set(found)
    [decisions] = found["hunch_decisions"].sum.data_points
    assert found["hunch_decisions"].sum.is_monotonic
    assert 3 == decisions.as_int
    assert {"stage": "fast", "path": "fast", "reason": "confident"} == {
        pair.key: pair.value.string_value for pair in decisions.attributes
    }
    assert [2.0] == [point.as_double for point in found["hunch_pending"].gauge.data_points]
    [sizes] = found["hunch_batch_size"].histogram.data_points
    assert (3, 5003.0, 1) == (sizes.count, sizes.sum, sizes.bucket_counts[-1])
    assert len(sizes.explicit_bounds) + 1 == len(sizes.bucket_counts)
    assert not sizes.HasField("min")


async def test_the_end_of_the_process_is_told_too(monkeypatch):
    """What was counted after the last export by the clock goes out at the end."""
    metrics, received = Metrics(), Received()
    with by_http(received) as endpoint:
        monkeypatch.setenv(ENDPOINT, endpoint)
        async with running(sender(metrics, "http/protobuf", interval_ms=60_000)):
            metrics.count("late_results", 5)

    [request] = received.requests
    [metric] = request.resource_metrics[0].scope_metrics[0].metrics
    assert ("hunch_late_results", 5) == (metric.name, metric.sum.data_points[0].as_int)


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
async def test_a_dead_collector_costs_a_line_and_nothing_else(protocol, monkeypatch, capture):
    """Nobody listens: the loop is never held up, threads do not pile up, the end comes soon."""
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    longest_s = 0.0
    async with running(sender(Metrics(), protocol, interval_ms=1)):
        until = time.monotonic() + 10
        while not capture() and time.monotonic() < until:
            before = time.monotonic()
            await asyncio.sleep(0.001)
            longest_s = max(longest_s, time.monotonic() - before)
        senders = [t for t in threading.enumerate() if t.name == "hunch-otlp-metrics"]
        began = time.monotonic()
    ended_s = time.monotonic() - began

    [line] = capture()
    assert "The export of metrics fails" in line["message"]
    assert longest_s < 0.5
    assert len(senders) <= 1
    assert ended_s < 2


@pytest.fixture
def capture(monkeypatch):
    """The lines that Hunch has logged so far."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    written = io.StringIO()
    monkeypatch.setattr("sys.stderr", written)
    root.handlers = []
    configure_logging(SystemClock())
    yield lambda: [
        line
        for line in map(json.loads, written.getvalue().splitlines())
        if line["event"] == "warning"
    ]
    root.handlers = before
    root.setLevel(level)
