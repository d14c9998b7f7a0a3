"""Metrics by OTLP: a real receiver over gRPC and HTTP, and what a dead one costs."""

import asyncio
import contextlib
import io
import json
import logging
import threading
import time

import pytest
from tests.telemetry.collectors import Received, by_grpc, by_http

from hunch.clock import SystemClock
from hunch.telemetry import Metrics, configure_logging
from hunch.telemetry.otel import resource
from hunch.telemetry.otlp_metrics import OtlpMetrics, exporter

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def sender(metrics, protocol, interval_ms=20):
    """An exporter of these metrics that is about to begin."""
    return OtlpMetrics(
        metrics,
        clock=SystemClock(),
        resource=resource("fast"),
        interval_ms=interval_ms,
        make_exporter=lambda: exporter(protocol, timeout_s=1.0),
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
    monkeypatch.setattr("threading.excepthook", threading.excepthook)
    root.handlers = []
    configure_logging(SystemClock())
    yield lambda: [
        line
        for line in map(json.loads, written.getvalue().splitlines())
        if line["event"] == "warning"
    ]
    root.handlers = before
    root.setLevel(level)
