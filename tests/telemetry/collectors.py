"""The collector's side of OTLP metrics, over gRPC and over HTTP, in this process."""

import asyncio
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer

import grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)


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

    def named(self, name):
        """Every metric of that name, in the order in which they came."""
        return [
            metric
            for request in list(self.requests)
            for of_process in request.resource_metrics
            for metric in of_process.scope_metrics[0].metrics
            if metric.name == name
        ]

    def service(self):
        """The name of the service in the first request."""
        [of_process] = self.requests[0].resource_metrics
        attributes = {pair.key: pair.value.string_value for pair in of_process.resource.attributes}
        return attributes["service.name"]


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
