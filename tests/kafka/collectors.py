"""Where traces are read from: the receiver of `hunch.testing`, or a real Jaeger's query API."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

from hunch.testing import OtlpReceiver

PATIENCE_S = 20.0
LOOK_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One span, as either of them has it.

    Attributes:
        parent_id: None for a root.
        links: trace and span ids of what it is linked with.
    """

    name: str
    service: str
    span_id: str
    parent_id: str | None
    kind: str
    links: frozenset[tuple[str, str]]
    attributes: Mapping[str, Any]
    is_error: bool
    start_us: int
    end_us: int


class Collector(Protocol):
    """A place where traces arrive."""

    def environment(self) -> dict[str, str]:
        """The variables with which a process exports to it."""

    def spans(self, trace_id: str, names: set[str]) -> dict[str, Told]:
        """The spans of a trace by name, once there is one of each of these names."""


class Receiver:
    """The receiver that runs in this process."""

    def __init__(self, receiver: OtlpReceiver, protocol: str) -> None:
        self._receiver = receiver
        self._protocol: Any = protocol

    def environment(self) -> dict[str, str]:
        """The variables with which a process exports to it."""
        return self._receiver.environment(self._protocol)

    def spans(self, trace_id: str, names: set[str]) -> dict[str, Told]:
        """The spans of a trace by name, once there is one of each of these names."""

        def found(seen: OtlpReceiver) -> bool:
            return names <= {span.name for span in seen.traces.get(trace_id, ())}

        self._receiver.wait_for(found, PATIENCE_S)
        return {
            span.name: Told(
                name=span.name,
                service=span.service,
                span_id=span.span_id,
                parent_id=span.parent_id,
                kind=span.kind,
                links=frozenset((link.trace_id, link.span_id) for link in span.links),
                attributes=span.attributes,
                is_error=span.status == "error",
                start_us=span.start_ns // 1000,
                end_us=span.end_ns // 1000,
            )
            for span in self._receiver.traces[trace_id]
        }


class Jaeger:
    """A real Jaeger: spans go to it by gRPC, and are read from its query API.

    Args:
        address: `QUERY_URL,OTLP_GRPC_URL`.
    """

    def __init__(self, address: str) -> None:
        self._query, self._otlp = address.split(",")

    def environment(self) -> dict[str, str]:
        """The variables with which a process exports to it."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self._otlp}

    def spans(self, trace_id: str, names: set[str]) -> dict[str, Told]:
        """The spans of a trace by name, once there is one of each of these names."""
        until_s = time.monotonic() + PATIENCE_S
        while True:
            found = self._asked(trace_id)
            if names <= set(found):
                return found
            assert time.monotonic() < until_s, f"Jaeger has only {sorted(found)} of {trace_id}"
            time.sleep(LOOK_S)

    def _asked(self, trace_id: str) -> dict[str, Told]:
        try:
            with urllib.request.urlopen(
                f"{self._query}/api/traces/{trace_id}", timeout=5
            ) as answer:
                trace = json.load(answer)["data"][0]
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                return {}
            raise
        told = {}
        for span in trace["spans"]:
            tags = {tag["key"]: tag["value"] for tag in span["tags"]}
            of_kind = self._references(span)
            parents = of_kind("CHILD_OF")
            told[span["operationName"]] = Told(
                name=span["operationName"],
                service=trace["processes"][span["processID"]]["serviceName"],
                span_id=span["spanID"],
                parent_id=parents[0][1] if parents else None,
                kind=tags.get("span.kind", "internal"),
                links=frozenset(of_kind("FOLLOWS_FROM")),
                attributes=tags,
                is_error=tags.get("error", False) is True,
                start_us=span["startTime"],
                end_us=span["startTime"] + span["duration"],
            )
        return told

    @staticmethod
    def _references(span: dict[str, Any]) -> Callable[[str], list[tuple[str, str]]]:
        return lambda kind: [
            (one["traceID"], one["spanID"]) for one in span["references"] if one["refType"] == kind
        ]
