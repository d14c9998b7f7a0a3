"""What OTLP requests say, as plain values: spans, their links, and points of metrics."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_STATUSES = ("unset", "ok", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedLink:
    """Another span, of this or of another trace."""

    trace_id: str
    span_id: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedSpan:
    """A span as it came; ids are hexadecimal digits.

    Attributes:
        service: `service.name` of its resource; empty where it has none.
        parent_id: None for the root of a trace.
        kind: `internal`, `server`, `client`, `producer`, `consumer` or `unspecified`.
        status: `unset`, `ok` or `error`.
        description: what the status says in words.
    """

    name: str
    service: str
    trace_id: str
    span_id: str
    parent_id: str | None
    kind: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Any]
    links: tuple[ReceivedLink, ...] = ()
    status: str = "unset"
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedPoint:
    """The newest value of one series of a metric.

    Attributes:
        kind: `sum`, `gauge`, `histogram` and so on, as OTLP calls it.
        value: of a histogram its sum.
        count: how many values a histogram has; None for others.
    """

    name: str
    service: str
    kind: str
    unit: str
    attributes: Mapping[str, Any]
    value: float
    count: int | None = None


def spans_of(body: bytes) -> list[ReceivedSpan]:
    """The spans of one request; raises `ValueError` for bytes that are none."""
    return [
        ReceivedSpan(
            name=span.name,
            service=service,
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex() or None,
            kind=span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
            start_ns=span.start_time_unix_nano,
            end_ns=span.end_time_unix_nano,
            attributes=_attributes(span.attributes),
            links=tuple(
                ReceivedLink(
                    trace_id=link.trace_id.hex(),
                    span_id=link.span_id.hex(),
                    attributes=_attributes(link.attributes),
                )
                for link in span.links
            ),
            status=_STATUSES[span.status.code] if span.status.code < len(_STATUSES) else "unset",
            description=span.status.message,
        )
        for of_resource in _parsed(ExportTraceServiceRequest(), body).resource_spans
        for service in [_service(of_resource.resource)]
        for scope in of_resource.scope_spans
        for span in scope.spans
    ]


def points_of(body: bytes) -> list[ReceivedPoint]:
    """The points of one request; raises `ValueError` for bytes that are none."""
    return [
        point
        for of_resource in _parsed(ExportMetricsServiceRequest(), body).resource_metrics
        for service in [_service(of_resource.resource)]
        for scope in of_resource.scope_metrics
        for metric in scope.metrics
        for point in _points(metric, service)
    ]


def _points(metric: Any, service: str) -> Iterator[ReceivedPoint]:
    kind = metric.WhichOneof("data")
    if kind is None:
        return
    for point in getattr(metric, kind).data_points:
        is_number = kind in {"sum", "gauge"}
        yield ReceivedPoint(
            name=metric.name,
            service=service,
            kind=kind,
            unit=metric.unit,
            attributes=_attributes(point.attributes),
            value=getattr(point, point.WhichOneof("value") or "as_int") if is_number else point.sum,
            count=None if is_number else point.count,
        )


def _parsed(message: Any, body: bytes) -> Any:
    try:
        message.ParseFromString(body)
    except DecodeError as error:
        raise ValueError("The body is no OTLP request.") from error
    return message


def _service(resource: Any) -> str:
    return str(_attributes(resource.attributes).get("service.name", ""))


def _attributes(pairs: Iterable[Any]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(_value(one) for one in value.array_value.values)
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return None if kind is None else getattr(value, kind)
