"""Sends encoded spans to a collector, by gRPC or HTTP, as OpenTelemetry's variables say where.

A collector that is busy or away is asked again, so many times, within the time-out; what it refuses
for good is not sent again.
"""

import gzip
from collections.abc import Callable
from typing import Protocol

from hunch.telemetry.otel import Destination

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
TRIES = 3
PAUSE_S = 0.5
BUSY = frozenset({408, 429, 502, 503, 504})


class Refused(Exception):  # noqa: N818 - what happened
    """The collector did not take a request; the text says why."""


class Collector(Protocol):
    """Where spans go."""

    def send(self, request: bytes) -> None:
        """Returns once it has taken them; raises `Refused`."""

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

    def send(self, request: bytes) -> None:
        """Returns once the collector has taken it; raises `Refused`."""
        for tried in range(1, TRIES + 1):
            try:
                self._export(
                    request,
                    timeout=self._destination.timeout_s,
                    metadata=[(name.lower(), text) for name, text in self._destination.headers],
                    compression=self._compression,
                )
            except self._grpc.RpcError as error:
                if tried == TRIES or error.code() not in self._busy:
                    raise Refused(f"{error.code().name}: {error.details()}") from error
            except ValueError as error:  # the channel was closed meanwhile
                raise Refused(str(error)) from error
            else:
                return
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
        self._session.verify = destination.certificate or True
        if destination.client_certificate and destination.client_key:
            self._session.cert = (destination.client_certificate, destination.client_key)

    def send(self, request: bytes) -> None:
        """Returns once the collector has taken it; raises `Refused`."""
        destination = self._destination
        body = gzip.compress(request) if destination.is_gzipped else request
        for tried in range(1, TRIES + 1):
            try:
                answer = self._session.post(
                    destination.address, data=body, timeout=destination.timeout_s
                )
            except self._requests.RequestException as error:
                problem, is_busy = type(error).__name__, True
            else:
                if answer.ok:
                    return
                problem, is_busy = f"HTTP {answer.status_code}", answer.status_code in BUSY
            if tried == TRIES or not is_busy:
                raise Refused(problem)
            self._wait(PAUSE_S * tried)

    def close(self) -> None:
        """Gives up what is being sent."""
        self._session.close()
