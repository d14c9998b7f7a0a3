"""What OpenTelemetry's standard `OTEL_*` variables ask for, read in this one place.

An empty variable is an unset one. A value that cannot be followed is refused with a sentence. What
endpoints, headers, certificates and time-outs of metrics are, the SDK's exporter reads by itself.
"""

import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
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
ENVIRONMENT: Mapping[str, str] = os.environ
INSTANCE_ID = str(uuid.uuid4())
"""Tells this process from others of the same stage."""
INTERVAL_MS = 60_000
MAX_QUEUE_SIZE = 16_384
MAX_BATCH_SIZE = 256
SCHEDULE_DELAY_MS = 500
SAMPLERS = ("always_on", "always_off", "traceidratio")


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where spans go, and how.

    Attributes:
        protocol: by which protocol.
        address: host:port for gRPC, a URL for HTTP.
        is_secure: whether gRPC uses TLS; of HTTP the URL says it.
        headers: what is sent with every request; may hold credentials, and is never shown.
        timeout_s: for one request.
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

    def shown(self) -> str:
        """The address without a name and a password in it."""
        return re.sub(r"//[^/@]*@", "//", self.address)

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
        metrics_protocol: by which protocol metrics go.
        metrics_interval_ms: time between two exports of metrics.
        ratio: the share of traces begun here that is sampled; None where no variable says it.
        service_name: how the service is called; None where no variable says it.
        max_queue_size: spans that may wait to be sent.
        max_batch_size: spans in one request.
        schedule_delay_ms: the longest that a span waits for a request to fill.
    """

    traces: bool = False
    metrics: bool = False
    destination: Destination = field(default_factory=Destination)
    metrics_protocol: Protocol = "grpc"
    metrics_interval_ms: int = INTERVAL_MS
    ratio: float | None = None
    service_name: str | None = None
    max_queue_size: int = MAX_QUEUE_SIZE
    max_batch_size: int = MAX_BATCH_SIZE
    schedule_delay_ms: int = SCHEDULE_DELAY_MS


def asked(env: Mapping[str, str] = ENVIRONMENT, *, is_traced: bool = False) -> Asked:
    """What the variables ask for; raises `ConfigError` for one that cannot be followed.

    `is_traced` says that Hunch's own settings ask for traces; variables of what is not exported
    are not looked at, they may be meant for somebody else.
    """
    name = _service_name(env)
    if _value(env, "OTEL_SDK_DISABLED").lower() == "true":
        return Asked(service_name=name)
    exporters = _exporters(env, "OTEL_TRACES_EXPORTER", ("otlp", "none"))
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    has_endpoint = any(_value(env, endpoint) for endpoint in endpoints)
    if len(exporters) > 1 and "none" in exporters:
        raise _refuse(env, "OTEL_TRACES_EXPORTER", "give otlp or none, not both")
    traces = "otlp" in exporters or (not exporters and (has_endpoint or is_traced))
    metrics = "otlp" in _exporters(env, "OTEL_METRICS_EXPORTER", ("otlp", "none", "prometheus"))
    return Asked(
        traces=traces,
        **(_of_traces_only(env) if traces else {}),
        metrics=metrics,
        metrics_protocol=_protocol(env, "METRICS") if metrics else "grpc",
        metrics_interval_ms=_number(env, "OTEL_METRIC_EXPORT_INTERVAL", INTERVAL_MS)
        if metrics
        else INTERVAL_MS,
        service_name=name,
    )


def _of_traces_only(env: Mapping[str, str]) -> dict[str, Any]:
    return {
        "max_queue_size": _number(env, "OTEL_BSP_MAX_QUEUE_SIZE", MAX_QUEUE_SIZE),
        "max_batch_size": _number(env, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", MAX_BATCH_SIZE),
        "schedule_delay_ms": _number(env, "OTEL_BSP_SCHEDULE_DELAY", SCHEDULE_DELAY_MS),
        "destination": _destination(env),
        "ratio": _ratio(env),
    }


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
    return ConfigError(f"{name} = {_value(env, name)!r} is not allowed: {allowed}.")


def _of_traces(env: Mapping[str, str], name: str) -> tuple[str, str]:
    """The variable of traces or, where that is silent, the one for all; and its value."""
    own, common = f"OTEL_EXPORTER_OTLP_TRACES_{name}", f"OTEL_EXPORTER_OTLP_{name}"
    named = own if _value(env, own) else common
    return named, _value(env, named)


def _destination(env: Mapping[str, str]) -> Destination:
    protocol = _protocol(env, "TRACES")
    name, endpoint = _of_traces(env, "ENDPOINT")
    files = {
        key: _of_traces(env, key) for key in ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE")
    }
    for variable, file in files.values():
        if file and not Path(file).is_file():
            raise _refuse(env, variable, "there is no such file")
    if bool(files["CLIENT_KEY"][1]) != bool(files["CLIENT_CERTIFICATE"][1]):
        raise ConfigError(
            "OTEL_EXPORTER_OTLP_CLIENT_KEY and OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE go together: "
            "set both or neither."
        )
    if protocol == "grpc":
        url = _url(name, endpoint if "//" in endpoint else f"//{endpoint or 'localhost:4317'}")
        is_insecure = _of_traces(env, "INSECURE")[1].lower() == "true"
        address = url.netloc
        is_secure = url.scheme == "https" or (bool(endpoint) and not url.scheme and not is_insecure)
        if url.path.strip("/") or "@" in address:
            raise _bad_url(name)
    else:
        base = endpoint or "http://localhost:4318"
        address = base if "TRACES" in name and endpoint else base.rstrip("/") + "/v1/traces"
        url, is_secure = _url(name, address), False
    compression, how = _of_traces(env, "COMPRESSION")
    if how not in {"", "none", "gzip"}:
        raise _refuse(env, compression, "give gzip or none")
    return Destination(
        protocol=protocol,
        address=address,
        is_secure=is_secure,
        headers=_headers(*_of_traces(env, "HEADERS")),
        timeout_s=_timeout_s(env),
        is_gzipped=how == "gzip",
        certificate=files["CERTIFICATE"][1] or None,
        client_key=files["CLIENT_KEY"][1] or None,
        client_certificate=files["CLIENT_CERTIFICATE"][1] or None,
    )


def _url(name: str, text: str) -> SplitResult:
    try:
        url = urlsplit(text)
        is_good = bool(url.hostname) and url.scheme in {"", "http", "https"} and url.port != 0
    except ValueError:
        raise _bad_url(name) from None
    if not is_good:
        raise _bad_url(name)
    return url


def _bad_url(name: str) -> ConfigError:
    """Without the value: it may hold a password."""
    return ConfigError(f"{name} is not allowed: give a URL such as http://localhost:4317.")


def _headers(name: str, text: str) -> tuple[tuple[str, str], ...]:
    """What is sent with every request; a mistake is told without the value, which is a secret."""
    pairs = [pair for pair in text.split(",") if pair.strip()]
    if not all(pair.partition("=")[0].strip() and "=" in pair for pair in pairs):
        raise ConfigError(f"{name} is not allowed: give key=value pairs, separated by commas.")
    headers = tuple(parse_env_headers(text, liberal=True).items())
    if len(headers) != len(pairs) or not all(value.isascii() for _, value in headers):
        raise ConfigError(f"{name} is not allowed: values must be ASCII, URL-encoded.")
    return headers


def _timeout_s(env: Mapping[str, str]) -> float:
    """The specification counts milliseconds, the Python SDK seconds: from 100 on, milliseconds."""
    name, text = _of_traces(env, "TIMEOUT")
    try:
        timeout_s = float(text or "10")
    except ValueError:
        timeout_s = -1.0
    if not 0.0 < timeout_s <= 600_000.0:
        raise _refuse(env, name, "give milliseconds, more than 0")
    return timeout_s if timeout_s < 100.0 else timeout_s / 1000.0


def _exporters(env: Mapping[str, str], name: str, known: tuple[str, ...]) -> set[str]:
    given = {part.strip().lower() for part in _value(env, name).split(",") if part.strip()}
    if not given <= set(known):
        raise _refuse(env, name, f"Hunch knows {', '.join(known[:-1])} and {known[-1]}")
    return given


def _protocol(env: Mapping[str, str], signal: str) -> Protocol:
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


def _number(env: Mapping[str, str], name: str, default: int) -> int:
    text = _value(env, name)
    if not text:
        return default
    is_number = text.isascii() and text.isdigit() and len(text) <= 9
    if not is_number or int(text) < 1:
        raise _refuse(env, name, "give a whole number, 1 or more")
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
