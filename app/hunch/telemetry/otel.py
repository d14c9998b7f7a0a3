"""What OpenTelemetry's standard `OTEL_*` variables ask for, read in this one place.

An empty variable is an unset one. A value that cannot be followed is refused with a sentence, but
only where something goes out that it is for. No sentence shows what may be a credential: headers,
user and password. Time-outs are milliseconds, as the specification says; the exporters of Python's
SDK would take them for seconds, so that they are told.
"""

import logging
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from opentelemetry.sdk.resources import (
    SERVICE_INSTANCE_ID,
    SERVICE_NAME,
    SERVICE_NAMESPACE,
    SERVICE_VERSION,
    OTELResourceDetector,
    Resource,
)
from opentelemetry.util.re import parse_env_headers

from hunch import __version__
from hunch.errors import ConfigError

Protocol = Literal["grpc", "http/protobuf"]
Signal = Literal["TRACES", "METRICS"]
ENVIRONMENT: Mapping[str, str] = os.environ
INSTANCE_ID = str(uuid.uuid4())
"""Tells this process from others of the same stage."""
INTERVAL_MS = 60_000
MAX_QUEUE_SIZE = 16_384
MAX_BATCH_SIZE = 256
SCHEDULE_DELAY_MS = 500
MOST_SPANS = 1_000_000
MOST_MS = 86_400_000
TIMEOUT_MS = 10_000
MOST_SHOWN = 100
SAMPLERS = ("always_on", "always_off", "traceidratio")

logging.getLogger("opentelemetry.util.re").disabled = True
"""It writes headers that it cannot read into the log, credentials and all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where spans or metrics go, and how.

    Attributes:
        protocol: by which protocol.
        address: host:port for gRPC, a URL for HTTP.
        is_secure: whether gRPC uses TLS; of HTTP the URL says it.
        headers: what is sent with every request; may hold credentials, and is never shown.
        timeout_s: for one request, all tries together.
        is_gzipped: whether requests are compressed.
        certificate: file of certificates to trust.
        client_key: file of this client's key.
        client_certificate: file of this client's certificate.
    """

    protocol: Protocol = "grpc"
    address: str = "localhost:4317"
    is_secure: bool = False
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    timeout_s: float = 10.0
    is_gzipped: bool = False
    certificate: str | None = None
    client_key: str | None = None
    client_certificate: str | None = None

    @staticmethod
    def read(file: str | None) -> bytes | None:
        """What a file of these holds; None where none is named."""
        return None if file is None else Path(file).read_bytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be exported, and how.

    Attributes:
        traces: whether spans go out by OTLP.
        metrics: whether metrics go out by OTLP, besides `/metrics`.
        destination: where spans go, and how.
        metrics_destination: where metrics go; all but protocol and time-out the SDK reads itself.
        metrics_interval_ms: time between two exports of metrics.
        ratio: the share of traces begun here that is sampled; None where no variable says it.
        service_name: how the service is called; None where no variable says it.
        is_disabled: whether nothing may go out at all, whatever the settings say.
        max_queue_size: spans that may wait to be sent.
        max_batch_size: spans in one request.
        schedule_delay_ms: the longest that a span waits for a request to fill.
    """

    traces: bool = False
    metrics: bool = False
    destination: Destination = field(default_factory=Destination)
    metrics_destination: Destination = field(default_factory=Destination)
    metrics_interval_ms: int = INTERVAL_MS
    ratio: float | None = None
    service_name: str | None = None
    is_disabled: bool = False
    max_queue_size: int = MAX_QUEUE_SIZE
    max_batch_size: int = MAX_BATCH_SIZE
    schedule_delay_ms: int = SCHEDULE_DELAY_MS


def asked(env: Mapping[str, str] = ENVIRONMENT, *, is_traced: bool = False) -> Asked:
    """What the variables ask for; raises `ConfigError` for one that cannot be followed.

    Args:
        env: the variables.
        is_traced: whether a setting of Hunch's asks for traces, too.
    """
    name = _service_name(env)
    if _value(env, "OTEL_SDK_DISABLED").lower() == "true":
        return Asked(service_name=name, is_disabled=True)
    exporters = _exporters(env, "OTEL_TRACES_EXPORTER", ("otlp", "none"))
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    has_endpoint = any(_value(env, endpoint) for endpoint in endpoints)
    found = Asked(
        traces="otlp" in exporters or (not exporters and has_endpoint),
        metrics="otlp" in _exporters(env, "OTEL_METRICS_EXPORTER", ("otlp", "none", "prometheus")),
        is_disabled="none" in exporters,
        service_name=name,
    )
    if found.traces or (is_traced and not found.is_disabled):
        batch = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
        found = replace(
            found,
            destination=_destination(env, "TRACES"),
            max_queue_size=_number(env, "OTEL_BSP_MAX_QUEUE_SIZE", MAX_QUEUE_SIZE, MOST_SPANS),
            max_batch_size=_number(env, batch, MAX_BATCH_SIZE, MOST_SPANS),
            schedule_delay_ms=_number(env, "OTEL_BSP_SCHEDULE_DELAY", SCHEDULE_DELAY_MS, MOST_MS),
            ratio=_ratio(env) if found.traces else None,
        )
    if found.metrics:
        found = replace(
            found,
            metrics_destination=_destination(env, "METRICS"),
            metrics_interval_ms=_number(env, "OTEL_METRIC_EXPORT_INTERVAL", INTERVAL_MS, MOST_MS),
        )
    return found


def resource(stage: str | None = None) -> Resource:
    """Who tells: the service `hunch-<stage>` (`hunch` for a process of several stages).

    OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over every attribute of ours.
    """
    own = {
        SERVICE_NAME: "hunch" if stage is None else f"hunch-{stage}",
        SERVICE_NAMESPACE: "hunch",
        SERVICE_VERSION: __version__,
        SERVICE_INSTANCE_ID: INSTANCE_ID,
    }
    return Resource.create({**own, **OTELResourceDetector().detect().attributes})


def _value(env: Mapping[str, str], name: str) -> str:
    return env.get(name, "").strip()


def _refuse(env: Mapping[str, str], name: str, allowed: str) -> ConfigError:
    user, at, shown = _value(env, name).rpartition("@")
    shown = f"…{at}{shown}" if user else shown
    shown = shown if len(shown) <= MOST_SHOWN else f"{shown[:MOST_SHOWN]}…"
    return ConfigError(f"{name} = {shown!r} is not allowed: {allowed}.")


def _of(env: Mapping[str, str], signal: Signal, name: str) -> tuple[str, str]:
    """The variable of a signal or, where that is silent, the one for all; and its value."""
    own, common = f"OTEL_EXPORTER_OTLP_{signal}_{name}", f"OTEL_EXPORTER_OTLP_{name}"
    named = own if _value(env, own) else common
    return named, _value(env, named)


def _destination(env: Mapping[str, str], signal: Signal) -> Destination:
    protocol = _protocol(env, signal)
    address, is_secure = _address(env, signal, protocol)
    compression, how = _of(env, signal, "COMPRESSION")
    if how not in {"", "none", "gzip"}:
        raise _refuse(env, compression, "give gzip or none")
    timeout, _ = _of(env, signal, "TIMEOUT")
    certificate, client_key, client_certificate = (
        _of(env, signal, key) for key in ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE")
    )
    for variable, file in (certificate, client_key, client_certificate):
        if file and not Path(file).is_file():
            raise _refuse(env, variable, "there is no such file")
    if bool(client_key[1]) != bool(client_certificate[1]):
        raise ConfigError(
            f"{client_key[0]} and {client_certificate[0]} go together: set both or neither."
        )
    return Destination(
        protocol=protocol,
        address=address,
        is_secure=is_secure,
        headers=_headers(env, signal),
        timeout_s=_number(env, timeout, TIMEOUT_MS, MOST_MS, "a number of milliseconds") / 1000,
        is_gzipped=how == "gzip",
        certificate=certificate[1] or None,
        client_key=client_key[1] or None,
        client_certificate=client_certificate[1] or None,
    )


def _address(env: Mapping[str, str], signal: Signal, protocol: Protocol) -> tuple[str, bool]:
    """Where to, and whether gRPC is to be secure."""
    name, endpoint = _of(env, signal, "ENDPOINT")
    if protocol == "http/protobuf":
        base = endpoint or "http://localhost:4318"
        is_own = endpoint and f"_{signal}_" in name
        address = base if is_own else f"{base.rstrip('/')}/v1/{signal.lower()}"
        _url(env, name, address)
        return address, False
    url = _url(env, name, endpoint if "//" in endpoint else f"//{endpoint or 'localhost:4317'}")
    if url.path.strip("/") or url.query:
        raise _refuse(env, name, "gRPC knows no path: leave it out, or ask for http/protobuf")
    is_insecure = _of(env, signal, "INSECURE")[1].lower() == "true"
    is_secure = url.scheme == "https" or (bool(endpoint) and not url.scheme and not is_insecure)
    return url.netloc, is_secure


def _url(env: Mapping[str, str], name: str, address: str) -> SplitResult:
    try:
        url = urlsplit(address)
        is_url = bool(url.hostname) and url.port != 0 and url.scheme in {"", "http", "https"}
    except ValueError:  # half an IPv6 address, or no port
        url, is_url = urlsplit(""), False
    if not is_url:
        raise _refuse(env, name, "give a URL such as http://localhost:4317")
    if url.username is not None or url.password is not None:
        raise _refuse(env, name, "credentials belong into OTEL_EXPORTER_OTLP_HEADERS")
    return url


def _headers(env: Mapping[str, str], signal: Signal) -> tuple[tuple[str, str], ...]:
    name, text = _of(env, signal, "HEADERS")
    found: dict[str, str] = {}
    for pair in text.split(","):
        parsed = parse_env_headers(pair, liberal=True)
        said = "".join((*parsed, *parsed.values()))
        if pair.strip() and not (parsed and said.isascii() and said.isprintable()):
            raise ConfigError(
                f"{name} cannot be read: give key=value, more of them with commas between, "
                "in ASCII and percent-encoded."
            )
        found |= parsed
    return tuple(found.items())


def _exporters(env: Mapping[str, str], name: str, known: tuple[str, ...]) -> set[str]:
    given = {part.strip().lower() for part in _value(env, name).split(",") if part.strip()}
    if not given <= set(known):
        raise _refuse(env, name, f"Hunch knows {', '.join(known[:-1])} and {known[-1]}")
    if "none" in given and len(given) > 1:
        raise _refuse(env, name, "none stands alone")
    return given


def _protocol(env: Mapping[str, str], signal: Signal) -> Protocol:
    for name in (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        match _value(env, name).lower():
            case "":
                continue
            case "grpc":
                return "grpc"
            case "http/protobuf":
                return "http/protobuf"
            case _:
                raise _refuse(env, name, "give grpc or http/protobuf")
    return "grpc"


def _number(
    env: Mapping[str, str], name: str, default: int, most: int, what: str = "a whole number"
) -> int:
    text = _value(env, name)
    if not text:
        return default
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(most))
    if not is_number or not 1 <= int(text) <= most:
        raise _refuse(env, name, f"give {what}, from 1 to {most}")
    return int(text)


def _ratio(env: Mapping[str, str]) -> float | None:
    name = "OTEL_TRACES_SAMPLER"
    sampler = _value(env, name).lower().removeprefix("parentbased_")
    if not sampler:
        return None
    if sampler not in SAMPLERS:
        raise _refuse(env, name, f"give {', '.join(SAMPLERS)}, or one with parentbased_ before it")
    if sampler != "traceidratio":
        return 1.0 if sampler == "always_on" else 0.0
    argument = "OTEL_TRACES_SAMPLER_ARG"
    try:
        ratio = float(_value(env, argument) or "1")
    except ValueError:
        ratio = -1.0
    if not 0.0 <= ratio <= 1.0:
        raise _refuse(env, argument, "give a share from 0 to 1")
    return ratio


def _service_name(env: Mapping[str, str]) -> str | None:
    if name := _value(env, "OTEL_SERVICE_NAME"):
        return name
    for pair in _value(env, "OTEL_RESOURCE_ATTRIBUTES").split(","):
        key, _, value = pair.partition("=")
        if key.strip() == SERVICE_NAME and value.strip():
            return value.strip()
    return None
