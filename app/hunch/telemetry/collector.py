"""Sends encoded spans to a collector, by gRPC or HTTP, as OpenTelemetry's variables say where.

A collector that is busy or away is asked again, so many times; what it refuses for good is not sent
again, nor is what it did not answer in time. All tries together, the pauses between them and the
answer's body, however slowly it drips, end with the time-out. What a collector rejects out of a
request that it takes (OTLP's partial success) is told.
"""

import gzip
from collections.abc import Callable
from typing import Any, Protocol

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from hunch.clock import SystemClock
from hunch.telemetry.otel import Destination

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
TRIES = 3
PAUSE_S = 0.5
MAX_ANSWER_BYTES = 4_096
LEAST_TRY_S = 0.01
CLOCK = SystemClock()
BUSY = frozenset({408, 429, 502, 503, 504})


class Refused(Exception):  # noqa: N818 - what happened
    """The collector did not take a request; the text says why."""


class Collector(Protocol):
    """Where spans go."""

    def send(self, request: bytes) -> int:
        """How many spans it rejected of a request that it has taken; raises `Refused`."""

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
        """How many spans it rejected of a request that it has taken; raises `Refused`."""
        until_s = _now_s() + self._destination.timeout_s
        tried = 0
        while True:
            tried += 1
            try:
                answer = self._export(
                    request,
                    timeout=max(LEAST_TRY_S, until_s - _now_s()),
                    metadata=[(name.lower(), text) for name, text in self._destination.headers],
                    compression=self._compression,
                )
            except self._grpc.RpcError as error:
                if not _goes_on(tried, until_s) or error.code() not in self._busy:
                    raise Refused(f"{error.code().name}: {error.details()}") from error
            except ValueError as error:  # the channel was closed meanwhile
                raise Refused(str(error)) from error
            else:
                return _rejected(answer)
            self._wait(PAUSE_S * tried)

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
        """How many spans it rejected of a request that it has taken; raises `Refused`."""
        until_s = _now_s() + self._destination.timeout_s
        body = gzip.compress(request) if self._destination.is_gzipped else request
        tried = 0
        while True:
            tried += 1
            try:
                status, answer = self._post(body, until_s)
            except (self._requests.RequestException, OSError) as error:
                problem, is_busy = type(error).__name__, True
            else:
                if status // 100 == 2:
                    return _rejected(answer)
                problem, is_busy = f"HTTP {status}", status in BUSY
            if not is_busy or not _goes_on(tried, until_s):
                raise Refused(problem)
            self._wait(PAUSE_S * tried)

    def _post(self, body: bytes, until_s: float) -> tuple[int, bytes]:
        """Status and body of one answer; a redirect is none: it would turn POST into GET."""
        with self._session.post(
            self._destination.address,
            data=body,
            timeout=max(LEAST_TRY_S, until_s - _now_s()),
            verify=self._destination.certificate or True,  # REQUESTS_CA_BUNDLE beats a session's
            allow_redirects=False,
            stream=True,
        ) as answer:
            return answer.status_code, _read(answer, until_s)

    def close(self) -> None:
        """Gives up what is being sent."""
        self._session.close()


def _now_s() -> float:
    return CLOCK.now_ms() / 1000


def _goes_on(tried: int, until_s: float) -> bool:
    """Whether there is another try: not too many yet, and time for the pause before it."""
    return tried < TRIES and _now_s() + PAUSE_S * tried < until_s


def _read(answer: Any, until_s: float) -> bytes:
    """The body of an answer, so much of it and not longer; raises `TimeoutError`."""
    found = bytearray()
    for piece in answer.iter_content(1):  # more at once would wait until there is more
        found += piece
        if _now_s() > until_s:
            raise TimeoutError
        if len(found) >= MAX_ANSWER_BYTES:
            break
    return bytes(found)


def _rejected(answer: bytes) -> int:
    """How many spans an answer says were rejected; none where it is no such answer."""
    try:
        found = ExportTraceServiceResponse.FromString(answer)
    except DecodeError:
        return 0
    return max(0, int(found.partial_success.rejected_spans))
