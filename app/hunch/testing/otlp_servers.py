"""The two doors of an OTLP receiver, on loopback: HTTP with protobuf, and gRPC.

Both hand the bytes of a request to a `Take` and answer as it says. A door that is closed leaves its
connections, too, as a process that dies does; it can be opened again at the same port.
"""

import gzip
import socket
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

MAX_BODY_BYTES = 64 << 20
MAX_AT_ONCE = 64
SILENCE_S = 60.0
"""How long a connection may say nothing."""
HOST = "127.0.0.1"
SIGNALS = {"/v1/traces": "traces", "/v1/metrics": "metrics"}
SERVICES = {
    "opentelemetry.proto.collector.trace.v1.TraceService": "traces",
    "opentelemetry.proto.collector.metrics.v1.MetricsService": "metrics",
}


class Answer(Enum):
    """What a request is answered, as a status of HTTP."""

    TAKEN = 200
    NONSENSE = 400
    REFUSED = 503


Take = Callable[[str, bytes], Answer]
"""Takes a signal and the bytes of a request, in any thread; may wait."""


class Door(Protocol):
    """One protocol at one port."""

    port: int

    def open(self) -> None:
        """Listens, at the port of last time if there was one."""

    def close(self) -> None:
        """Stops listening and ends all connections."""


class HttpDoor:
    """OTLP over HTTP, bodies in protobuf, compressed or not."""

    def __init__(self, take: Take) -> None:
        self.port = 0
        self._take = take
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Listens, at the port of last time if there was one."""
        if self._server is None:
            self._server = _Server((HOST, self.port), self._take)
            self.port = self._server.server_port
            self._thread = threading.Thread(
                target=self._server.serve_forever, args=(0.05,), name="otlp-http", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """Stops listening and ends all connections."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server.leave()
            self._server = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = MAX_AT_ONCE

    def __init__(self, address: tuple[str, int], take: Take) -> None:
        self.take = take
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Takes a connection, while there are not too many."""
        with self._lock:
            is_taken = len(self._connections) < MAX_AT_ONCE
            if is_taken:
                self._connections.add(request)
        if is_taken:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """Ends one connection."""
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: a client that goes away is none of ours."""

    def leave(self) -> None:
        """Ends the connections that there are."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = SILENCE_S

    def do_POST(self) -> None:
        """Answers one request."""
        size = int(self.headers.get("Content-Length") or 0)
        if size > MAX_BODY_BYTES:
            self.close_connection = True
            self._answer(413)
            return
        body = self.rfile.read(size)
        signal = SIGNALS.get(self.path)
        if signal is None:
            self._answer(404)
        elif self.headers.get("Content-Type") != "application/x-protobuf":
            self._answer(415)
        else:
            self._answer(self._taken(signal, body))

    def log_message(self, *_arguments: Any) -> None:
        """Says nothing."""

    def _taken(self, signal: str, body: bytes) -> int:
        try:
            plain = _decompressed(body, self.headers.get("Content-Encoding", "identity"))
        except (OSError, EOFError, zlib.error):
            return Answer.NONSENSE.value
        server = self.server
        assert isinstance(server, _Server)  # noqa: S101  for the type
        return server.take(signal, plain).value

    def _answer(self, status: int) -> None:
        """Without a body: an empty message in protobuf has no bytes."""
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()


class GrpcDoor:
    """OTLP over gRPC."""

    def __init__(self, take: Take) -> None:
        self.port = 0
        self._take = take
        self._server: Any = None
        self._pool: ThreadPoolExecutor | None = None

    def open(self) -> None:
        """Listens, at the port of last time if there was one."""
        if self._server is not None:
            return
        import grpc  # noqa: PLC0415  who asks for HTTP alone needs none of it

        self._pool = ThreadPoolExecutor(MAX_AT_ONCE, thread_name_prefix="otlp-grpc")
        self._server = grpc.server(
            self._pool,
            options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", MAX_BODY_BYTES)],
            maximum_concurrent_rpcs=MAX_AT_ONCE,
        )
        for service, signal in SERVICES.items():
            handler = grpc.unary_unary_rpc_method_handler(self._export(signal))
            self._server.add_generic_rpc_handlers(
                [grpc.method_handlers_generic_handler(service, {"Export": handler})]
            )
        self.port = self._server.add_insecure_port(f"{HOST}:{self.port}")
        self._server.start()

    def close(self) -> None:
        """Stops listening and ends all connections."""
        if self._server is not None and self._pool is not None:
            self._server.stop(grace=0).wait()
            self._pool.shutdown(wait=False)
            self._server = None

    def _export(self, signal: str) -> Callable[[bytes, Any], bytes]:
        from grpc import StatusCode  # noqa: PLC0415  as above

        codes = {
            Answer.NONSENSE: StatusCode.INVALID_ARGUMENT,
            Answer.REFUSED: StatusCode.UNAVAILABLE,
        }

        def answer(body: bytes, context: Any) -> bytes:
            code = codes.get(self._take(signal, body))
            if code is not None:
                context.abort(code, "The receiver was told to.")
            return b""

        return answer


def _decompressed(body: bytes, encoding: str) -> bytes:
    if encoding == "gzip":
        return gzip.decompress(body)
    return zlib.decompress(body) if encoding == "deflate" else body
