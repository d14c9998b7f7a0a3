"""The collector's end of a request: what counts as taken, and how long anything may take."""

import contextlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from hunch.telemetry.collector import EXPORT, Refused, collector
from hunch.telemetry.otel import Destination
from hunch.testing import OtlpReceiver

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\n"
PARTIAL = ExportTraceServiceResponse(
    partial_success=ExportTracePartialSuccess(rejected_spans=3, error_message="too old")
).SerializeToString()


@contextlib.contextmanager
def http_server(reply):
    """A server that reads a request, then lets `reply` answer; its address, and first lines."""
    asked = []

    def serve(listener):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    asked.append(connection.recv(65_536).split(b"\r\n")[0])
                    reply(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1/traces", asked
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


@contextlib.contextmanager
def by_http(answer):
    """A destination whose server answers these bytes, by HTTP."""
    reply = OK + b"Content-Length: %d\r\n\r\n" % len(answer) + answer
    with http_server(lambda connection: connection.sendall(reply)) as (address, _):
        yield Destination(protocol="http/protobuf", address=address)


@contextlib.contextmanager
def by_grpc(answer):
    """A destination whose server answers these bytes, by gRPC."""
    service, _, method = EXPORT.strip("/").partition("/")
    server = grpc.server(ThreadPoolExecutor(1))
    export = grpc.unary_unary_rpc_method_handler(lambda _request, _context: answer)
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(service, {method: export})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield Destination(address=f"127.0.0.1:{port}")
    server.stop(None).wait(5)


@contextlib.contextmanager
def sending(destination):
    """The way to a destination, closed at the end."""
    way = collector(destination, time.sleep)
    yield way
    way.close()


@pytest.mark.parametrize("served", [by_http, by_grpc])
@pytest.mark.parametrize(("answer", "rejected"), [(b"", 0), (PARTIAL, 3), (b"\xff", 0)])
def test_what_is_rejected_out_of_a_request_is_told(served, answer, rejected):
    """A partial success says how many; an empty answer and nonsense say none."""
    with served(answer) as destination, sending(destination) as way:
        assert rejected == way.send(b"spans")


def test_a_redirect_is_not_followed():
    """Followed, it would become a GET without the spans, and count as exported."""
    with http_server(lambda _: None) as (elsewhere, asked_there):
        reply = f"HTTP/1.1 302 Found\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n"
        with http_server(lambda connection: connection.sendall(reply.encode())) as (address, _):
            destination = Destination(protocol="http/protobuf", address=address)
            with sending(destination) as way, pytest.raises(Refused, match="HTTP 302"):
                way.send(b"spans")

    assert [] == asked_there


def test_an_answer_that_drips_ends_with_the_time_out():
    """Each byte comes in time, the whole never does."""
    is_enough = threading.Event()

    def drip(connection):
        connection.sendall(OK + b"Content-Length: 1000000\r\n\r\n")
        while not is_enough.wait(0.05):
            connection.sendall(b"x")

    began_s = time.monotonic()
    with http_server(drip) as (address, _):
        destination = Destination(protocol="http/protobuf", address=address, timeout_s=0.5)
        with sending(destination) as way, pytest.raises(Refused):
            way.send(b"spans")
        is_enough.set()

    assert time.monotonic() - began_s < 5


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_all_tries_together_end_with_the_time_out(protocol):
    """A collector that never answers is given the time-out once, not with each try."""
    with OtlpReceiver(protocols=[protocol]) as receiver:
        receiver.stall()
        endpoint = receiver.endpoint(protocol)
        is_http = protocol == "http/protobuf"
        destination = Destination(
            protocol=protocol,
            address=f"{endpoint}/v1/traces" if is_http else endpoint.removeprefix("http://"),
            timeout_s=1.0,
        )
        began_s = time.monotonic()
        with sending(destination) as way, pytest.raises(Refused):
            way.send(b"")
        ended_s = time.monotonic() - began_s

    assert ended_s < 2
    assert 1 == receiver.requests


def test_the_certificate_that_is_named_beats_the_one_of_requests(monkeypatch, tmp_path):
    """REQUESTS_CA_BUNDLE is for other programs' servers: the file named for OTLP is read."""
    own = tmp_path / "own.pem"
    own.write_text("no certificate")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    destination = Destination(
        protocol="http/protobuf",
        address="https://127.0.0.1:1/v1/traces",
        certificate=str(own),
        timeout_s=0.1,
    )
    with sending(destination) as way, pytest.raises(Refused, match="ConnectionError"):
        way.send(b"spans")
