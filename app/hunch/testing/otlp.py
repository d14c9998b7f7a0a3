"""A collector for tests: takes spans and metrics over OTLP as a real one does, and keeps them.

It listens on loopback at ports of its own. It can be told to stall, to refuse and to go away, so
that a test sees what a bad collector costs::

    with OtlpReceiver() as collector:
        start_a_program(**collector.environment("grpc"))
        traces = collector.wait_for(lambda seen: seen.traces, timeout_s=10)
        collector.go_away()
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Literal, Self, TypeVar

from hunch.testing.otlp_forward import Forwarder
from hunch.testing.otlp_servers import HOST, Answer, Door, GrpcDoor, HttpDoor
from hunch.testing.otlp_values import ReceivedPoint, ReceivedSpan, points_of, spans_of

T = TypeVar("T")
Protocol = Literal["http/protobuf", "grpc"]
"""As OTEL_EXPORTER_OTLP_PROTOCOL spells them."""

PROTOCOLS: tuple[Protocol, ...] = ("http/protobuf", "grpc")
MAX_STALL_S = 60.0
MAX_SPANS_OF_TRACE = 10_000
MAX_SERIES = 10_000


class OtlpReceiver:
    """Keeps the newest traces, and the newest point of each series.

    Args:
        protocols: which to serve, each at a port of its own.
        max_traces: beyond these the oldest trace is forgotten.
        forward_to: OTLP/HTTP endpoint that gets all traces, too, as well as that goes.
    """

    def __init__(
        self,
        *,
        protocols: Sequence[Protocol] = PROTOCOLS,
        max_traces: int = 10_000,
        forward_to: str | None = None,
    ) -> None:
        doors: dict[Protocol, Callable[[], Door]] = {
            "http/protobuf": lambda: HttpDoor(self._take),
            "grpc": lambda: GrpcDoor(self._take),
        }
        self._doors = {protocol: doors[protocol]() for protocol in protocols}
        self._max_traces = max_traces
        self._traces: OrderedDict[str, list[ReceivedSpan]] = OrderedDict()
        self._points: OrderedDict[tuple[object, ...], ReceivedPoint] = OrderedDict()
        self._news = threading.Condition()
        self._requests = 0
        self._goes_on = threading.Event()
        self._goes_on.set()
        self._refuses = False
        self._is_away = True
        self._forwarder = None if forward_to is None else Forwarder(forward_to)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listens."""
        if self._forwarder is not None:
            self._forwarder.start()
        self.come_back()

    def stop(self) -> None:
        """Ends for good; what was received stays."""
        self.go_away()
        if self._forwarder is not None:
            self._forwarder.stop()

    def endpoint(self, protocol: Protocol = "http/protobuf") -> str:
        """The URL, as in OTEL_EXPORTER_OTLP_ENDPOINT."""
        return f"http://{HOST}:{self._doors[protocol].port}"

    def environment(self, protocol: Protocol = "http/protobuf") -> dict[str, str]:
        """The variables with which a process exports to here."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint(protocol),
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        }

    @property
    def requests(self) -> int:
        """How many requests came, refused and stalled ones too."""
        with self._news:
            return self._requests

    @property
    def spans(self) -> tuple[ReceivedSpan, ...]:
        """All spans, by the age of their traces."""
        with self._news:
            return tuple(span for spans in self._traces.values() for span in spans)

    @property
    def traces(self) -> dict[str, tuple[ReceivedSpan, ...]]:
        """Trace id → its spans in the order in which they came; the oldest trace first."""
        with self._news:
            return {trace_id: tuple(spans) for trace_id, spans in self._traces.items()}

    @property
    def metrics(self) -> dict[str, tuple[ReceivedPoint, ...]]:
        """Name → the newest point of each series."""
        found: dict[str, tuple[ReceivedPoint, ...]] = {}
        with self._news:
            for point in self._points.values():
                found[point.name] = (*found.get(point.name, ()), point)
        return found

    @property
    def forwarded(self) -> tuple[int, int]:
        """How many requests the other endpoint has taken, and how many not."""
        return (self._forwarder.passed_on, self._forwarder.lost) if self._forwarder else (0, 0)

    def wait_for(self, look: Callable[[Self], T], timeout_s: float) -> T:
        """The first true answer of `look`, asked after each request; raises `TimeoutError`."""
        with self._news:
            found = self._news.wait_for(lambda: look(self), timeout_s)
            if not found:
                raise TimeoutError(
                    f"Not seen after {timeout_s:g} s; there were {self._requests} requests, "
                    f"{len(self._traces)} traces and {len(self._points)} series."
                )
            return found

    def flush(self, timeout_s: float) -> bool:
        """Waits until all is passed on; whether that came in time."""
        return self._forwarder is None or self._forwarder.flush(timeout_s)

    def accept(self) -> None:
        """Takes what comes: the end of `stall` and `refuse`."""
        self._refuses = False
        self._goes_on.set()

    def stall(self) -> None:
        """Takes requests and leaves them unanswered, until `accept`, for a minute at most."""
        self._goes_on.clear()

    def refuse(self) -> None:
        """Answers every request that the client may try again: UNAVAILABLE, or 503."""
        self._refuses = True
        self._goes_on.set()

    def go_away(self) -> None:
        """Closes the ports and the connections, as a collector that dies."""
        self._is_away = True
        self._goes_on.set()
        for door in self._doors.values():
            door.close()

    def come_back(self) -> None:
        """Listens again at the same ports."""
        self._is_away = False
        for door in self._doors.values():
            door.open()

    def _take(self, signal: str, body: bytes) -> Answer:
        with self._news:
            self._requests += 1
            self._news.notify_all()
        self._goes_on.wait(MAX_STALL_S)
        if self._refuses or self._is_away:
            return Answer.REFUSED
        try:
            if signal == "traces":
                self._keep_spans(spans_of(body))
            else:
                self._keep_points(points_of(body))
        except ValueError:
            return Answer.NONSENSE
        if signal == "traces" and self._forwarder is not None:
            self._forwarder.put(body)
        return Answer.TAKEN

    def _keep_spans(self, spans: Sequence[ReceivedSpan]) -> None:
        with self._news:
            for span in spans:
                of_trace = self._traces.setdefault(span.trace_id, [])
                if len(of_trace) < MAX_SPANS_OF_TRACE:
                    of_trace.append(span)
            while len(self._traces) > self._max_traces:
                self._traces.popitem(last=False)
            self._news.notify_all()

    def _keep_points(self, points: Sequence[ReceivedPoint]) -> None:
        with self._news:
            for point in points:
                labels = sorted((key, str(value)) for key, value in point.attributes.items())
                self._points[point.service, point.name, *labels] = point
            while len(self._points) > MAX_SERIES:
                self._points.popitem(last=False)
            self._news.notify_all()
