"""Sends encoded spans to a collector, by gRPC or HTTP, as OpenTelemetry's variables say where.

A collector that is busy or away is asked again, all within the time-out of one request; what it
refuses for good is not sent again, and what it takes but rejects is counted.
"""

import gzip
import os
import time
from collections.abc import Callable
from typing import Any, Protocol

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from hunch.telemetry.otel import Destination

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
TRIES = 3
PAUSE_S = 0.5
BUSY = frozenset({408, 429, 502, 503, 504})
ANSWER_BYTES = 65_536
"""More of an answer is not read: it says how many spans were rejected, and why."""


class Refused(Exception):  # noqa: N818 - what happened
    """The collector did not take a request; the text says why."""


class Collector(Protocol):
    """Where spans go."""

    def send(self, request: bytes) -> int:
        """How many of the spans it has rejected, mostly 0; raises `Refused`."""

    def close(self) -> None:
        """Gives up what is being sent."""


def collector(destination: Destination, wait: Callable[[float], object]) -> Collector:
    """The way to a destination; `wait` waits seconds between two tries."""
    if destination.protocol == "grpc":
        return GrpcCollector(destination, wait)
    return HttpCollector(destination, wait)


class GrpcCollector:
    """OTLP over gRPC."""

    def __init__(self, destination: Destination, wait: Callable[[float], object]) -> None:
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its lines are no JSON
        import grpc  # noqa: PLC0415 - takes 0.1 s, and most processes do not trace

        self._grpc = grpc
        self._destination = destination
        self._wait = wait
        if destination.is_secure:
            credentials = grpc.ssl_channel_credentials(
                root_certificates=destination.read(destination.certificate),
                private_key=destination.read(destination.client_key),
                certificate_chain=destination.read(destination.client_certificate),
            )
            self._channel = grpc.secure_channel(destination.address, credentials)
        else:
            self._channel = grpc.insecure_channel(destination.address)
        self._export = self._channel.unary_unary(EXPORT)
        self._compression = (
            grpc.Compression.Gzip if destination.is_gzipped else grpc.Compression.NoCompression
        )
        self._busy = {
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            grpc.StatusCode.ABORTED,
        }

    def send(self, request: bytes) -> int:
        """How many of the spans it has rejected; raises `Refused`.

        A request that was not answered in time is not sent again: it may have been taken.
        """
        until_s = time.monotonic() + self._destination.timeout_s
        for tried in range(1, TRIES + 1):
            try:
                answer = self._export(
                    request,
                    timeout=max(0.001, until_s - time.monotonic()),
                    metadata=[(name.lower(), text) for name, text in self._destination.headers],
                    compression=self._compression,
                )
            except self._grpc.RpcError as error:
                is_late = time.monotonic() + PAUSE_S * tried >= until_s
                if tried == TRIES or is_late or error.code() not in self._busy:
                    raise Refused(f"{error.code().name}: {error.details()}") from error
            except ValueError as error:  # the channel was closed meanwhile
                raise Refused(str(error)) from error
            else:
                return _rejected(answer)
            self._wait(PAUSE_S * tried)
        raise Refused("no answer")

    def close(self) -> None:
        """Gives up what is being sent."""
        self._channel.close()


class HttpCollector:
    """OTLP over HTTP, as protobuf."""

    def __init__(self, destination: Destination, wait: Callable[[float], object]) -> None:
        import requests  # noqa: PLC0415 - most processes do not trace

        self._requests = requests
        self._destination = destination
        self._wait = wait
        self._session = requests.Session()
        self._session.headers.update(destination.headers)
        self._session.headers["Content-Type"] = "application/x-protobuf"
        if destination.is_gzipped:
            self._session.headers["Content-Encoding"] = "gzip"
        if destination.client_certificate and destination.client_key:
            self._session.cert = (destination.client_certificate, destination.client_key)

    def send(self, request: bytes) -> int:
        """How many of the spans it has rejected; raises `Refused`."""
        body = gzip.compress(request) if self._destination.is_gzipped else request
        until_s = time.monotonic() + self._destination.timeout_s
        for tried in range(1, TRIES + 1):
            try:
                status, answer = self._post(body, until_s)
            except self._requests.RequestException as error:
                problem, is_busy = type(error).__name__, True
            else:
                if status // 100 == 2:
                    return _rejected(answer)
                problem, is_busy = f"HTTP {status}", status in BUSY
            is_late = time.monotonic() + PAUSE_S * tried >= until_s
            if tried == TRIES or is_late or not is_busy:
                raise Refused(problem)
            self._wait(PAUSE_S * tried)
        raise Refused("no answer")

    def _post(self, body: bytes, until_s: float) -> tuple[int, bytes]:
        """Status and answer, which is read only in part and in time."""
        destination = self._destination
        with self._session.post(
            destination.address,
            data=body,
            timeout=max(0.001, until_s - time.monotonic()),
            verify=destination.certificate or True,  # REQUESTS_CA_BUNDLE beats a session's own
            allow_redirects=False,  # a redirected POST becomes a GET, and the spans are lost
            stream=True,
        ) as answer:
            read = b""
            for piece in answer.iter_content(1_024):
                read += piece
                if len(read) > ANSWER_BYTES or time.monotonic() > until_s:
                    break
            return answer.status_code, read

    def close(self) -> None:
        """Gives up what is being sent."""
        self._session.close()


def _rejected(answer: bytes) -> int:
    try:
        found: Any = ExportTraceServiceResponse.FromString(answer)
    except Exception:  # noqa: BLE001 - an answer that is no answer rejects nothing
        return 0
    return max(0, int(found.partial_success.rejected_spans))
