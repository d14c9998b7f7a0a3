"""Whether a Jaeger runs beside the demo: where its pages are, and where it takes spans."""

import http.client
import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

UI = "http://localhost:16686"
UI_PORT = 16686
OTLP_PORT = 4318
PROBE_S = 0.5
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"


@dataclass(frozen=True, slots=True)
class Jaeger:
    """One that is to be used: the address of its pages, and its endpoint for OTLP over HTTP."""

    ui: str
    endpoint: str

    def url(self, trace_id: str) -> str:
        """The page of a trace."""
        return f"{self.ui}/trace/{trace_id}"

    def is_there(self) -> bool:
        """Whether both answer; asks for a second at most."""
        pages = _status("GET", f"{self.ui}/api/services")
        return pages == 200 and _status("POST", f"{self.endpoint}/v1/traces") == 200


def jaeger_at(ui: str | None, env: Mapping[str, str] = os.environ) -> Jaeger:
    """The Jaeger that is meant: `--jaeger`, or the host to which the environment exports."""
    given = env.get(ENDPOINT, "").rstrip("/")
    host = urlsplit(given).hostname if given else None
    pages = (ui or (f"http://{_literal(host)}:{UI_PORT}" if host else UI)).rstrip("/")
    if given and env.get(PROTOCOL, "").startswith("http"):
        return Jaeger(pages, given)
    return Jaeger(pages, f"http://{_literal(host or urlsplit(pages).hostname or '')}:{OTLP_PORT}")


def _literal(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _status(method: str, url: str) -> int | None:
    """None where nobody answers in time."""
    parts = urlsplit(url)
    is_secure = parts.scheme == "https"
    kind = http.client.HTTPSConnection if is_secure else http.client.HTTPConnection
    try:
        connection = kind(parts.netloc, timeout=PROBE_S)
        try:
            connection.request(method, parts.path, b"", {"Content-Type": "application/x-protobuf"})
            return connection.getresponse().status
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException):
        return None
