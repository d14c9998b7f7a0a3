"""What OpenTelemetry's standard `OTEL_*` variables ask for, read in this one place.

An empty variable is an unset one. A value that would have no effect is refused with a sentence.
What endpoints, headers, certificates and time-outs are, the SDK's exporters read by themselves.
"""

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from opentelemetry.sdk.resources import (
    SERVICE_INSTANCE_ID,
    SERVICE_NAME,
    SERVICE_NAMESPACE,
    SERVICE_VERSION,
    OTELResourceDetector,
    Resource,
)

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
class Asked:
    """What is to be exported, and how.

    Attributes:
        traces: whether spans go out by OTLP.
        metrics: whether metrics go out by OTLP, besides `/metrics`.
        traces_protocol: by which protocol spans go.
        metrics_protocol: by which protocol metrics go.
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
    traces_protocol: Protocol = "grpc"
    metrics_protocol: Protocol = "grpc"
    metrics_interval_ms: int = INTERVAL_MS
    ratio: float | None = None
    service_name: str | None = None
    is_disabled: bool = False
    max_queue_size: int = MAX_QUEUE_SIZE
    max_batch_size: int = MAX_BATCH_SIZE
    schedule_delay_ms: int = SCHEDULE_DELAY_MS


def asked(env: Mapping[str, str] = ENVIRONMENT) -> Asked:
    """What the variables ask for; raises `ConfigError` for one that cannot be followed."""
    name = _service_name(env)
    if _value(env, "OTEL_SDK_DISABLED").lower() == "true":
        return Asked(service_name=name, is_disabled=True)
    exporters = _exporters(env, "OTEL_TRACES_EXPORTER", ("otlp", "none"))
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    has_endpoint = any(_value(env, endpoint) for endpoint in endpoints)
    traces = "otlp" in exporters or (not exporters and has_endpoint)
    metrics = "otlp" in _exporters(env, "OTEL_METRICS_EXPORTER", ("otlp", "none", "prometheus"))
    return Asked(
        traces=traces,
        is_disabled="none" in exporters,
        max_queue_size=_number(env, "OTEL_BSP_MAX_QUEUE_SIZE", MAX_QUEUE_SIZE),
        max_batch_size=_number(env, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", MAX_BATCH_SIZE),
        schedule_delay_ms=_number(env, "OTEL_BSP_SCHEDULE_DELAY", SCHEDULE_DELAY_MS),
        metrics=metrics,
        traces_protocol=_protocol(env, "TRACES") if traces else "grpc",
        metrics_protocol=_protocol(env, "METRICS") if metrics else "grpc",
        metrics_interval_ms=_number(env, "OTEL_METRIC_EXPORT_INTERVAL", INTERVAL_MS),
        ratio=_ratio(env) if traces else None,
        service_name=name,
    )


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
    if not text.isascii() or not text.isdigit() or int(text) < 1:
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
