"""A collector that takes every span and forgets it, in a process of its own."""

import contextlib
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

import grpc

SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"


@contextlib.contextmanager
def sink() -> Iterator[str]:
    """Its OTLP endpoint, by gRPC."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(there,))
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        process.terminate()
        process.join()


@contextlib.contextmanager
def nobody() -> Iterator[str]:
    """An endpoint where nobody listens."""
    yield "http://127.0.0.1:9"


def _serve(parent: Connection) -> None:
    server = grpc.server(ThreadPoolExecutor(2))
    take = grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"")
    handlers: Any = grpc.method_handlers_generic_handler(SERVICE, {"Export": take})
    server.add_generic_rpc_handlers((handlers,))
    parent.send(server.add_insecure_port("127.0.0.1:0"))
    server.start()
    server.wait_for_termination()
