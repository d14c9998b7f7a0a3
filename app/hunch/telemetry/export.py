"""Spans on their way to a collector, in a thread of their own.

The event loop only appends lists; this thread encodes and sends them. A queue that is full drops
what comes, a collector that does not answer loses what it was sent, the end of the process loses
what is left: all are counted, and nothing waits. No span, however strange, ends the thread. It
rests after each request for twice the time that it has computed, so that it never takes more than a
third of the process.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from hunch.telemetry.collector import Collector, Refused
from hunch.telemetry.encoding import Encoder
from hunch.telemetry.logs import log_event
from hunch.telemetry.metrics import Metrics
from hunch.telemetry.names import CounterName
from hunch.telemetry.traces import Span

RESTS = 2.0
Wait = Callable[[float], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPolicy:
    """The bounds of the queue, in the words of OpenTelemetry's batch span processor.

    Attributes:
        max_queue_size: spans that wait; what comes beyond is dropped.
        max_batch_size: spans in one request.
        delay_ms: the longest that a span waits for a request to fill.
        stop_ms: how long the last spans may take when the process ends.
    """

    max_queue_size: int = 16_384
    max_batch_size: int = 256
    delay_ms: float = 500.0
    stop_ms: float = 2_000.0


class SpanExport:
    """The queue and its thread.

    Args:
        collect: makes the way to the collector; called in the thread, as it may take a while.
    """

    def __init__(
        self,
        collect: Callable[[Wait], Collector],
        encoder: Encoder,
        metrics: Metrics,
        policy: ExportPolicy | None = None,
    ) -> None:
        self._collect = collect
        self._encoder = encoder
        self._metrics = metrics
        self._policy = policy or ExportPolicy()
        self._queue: deque[tuple[Sequence[Span], float]] = deque()
        self._queued = 0
        self._taken = 0
        self._settled = 0
        self._is_over = False
        self._settling = threading.Lock()
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hunch-spans", daemon=True)
        self._collector: Collector | None = None
        self._rested_at_s = 0.0

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def take(self, spans: Sequence[Span], acknowledged_ms: float) -> None:
        """Queues as many spans as there is room for; never waits."""
        room = max(0, self._policy.max_queue_size - (self._queued - self._taken))
        if len(spans) > room:
            self._metrics.count("spans_dropped", len(spans) - room, reason="queue_full")
            spans = spans[:room]
        if spans:
            self._queued += len(spans)
            self._queue.append((spans, acknowledged_ms))

    def stop(self) -> None:
        """Sends what is queued, within a limit, counts what is left as dropped, and ends."""
        self._is_ending.set()
        if self._thread.ident is not None:
            self._thread.join(self._policy.stop_ms / 1000)
        with self._settling:
            if left := self._queued - self._settled:
                self._metrics.count("spans_dropped", left, reason="stopped")
            self._is_over = True
        if self._collector is not None:
            self._collector.close()

    def _run(self) -> None:
        with contextlib.suppress(Exception):  # told with the first spans that it costs
            self._way()  # importing gRPC takes 0.1 s: better now than when there is work
        self._rested_at_s = time.thread_time()
        is_last = False
        while not is_last:
            is_last = self._is_ending.wait(self._policy.delay_ms / 1000)
            for batch in self._batches():
                self._send(batch)
                if self._is_over:
                    return

    def _batches(self) -> Iterator[list[tuple[Span, float]]]:
        batch: list[tuple[Span, float]] = []
        while self._queue:
            spans, acknowledged_ms = self._queue.popleft()
            for span in spans:
                batch.append((span, acknowledged_ms))
                if len(batch) >= self._policy.max_batch_size:
                    yield batch
                    batch = []
        if batch:
            yield batch

    def _send(self, batch: Sequence[tuple[Span, float]]) -> None:
        self._taken += len(batch)
        try:
            rejected = self._way().send(self._encoder.request(batch))
        except Exception as error:  # noqa: BLE001 - whatever it is, the next spans go on
            self._settle("spans_dropped", len(batch), reason="collector")
            said = str(error) if isinstance(error, Refused) else type(error).__name__
            log_event("export_failed", what="spans", error=said)
        else:
            rejected = min(rejected, len(batch))
            self._settle("spans_exported", len(batch) - rejected)
            if rejected:
                self._settle("spans_dropped", rejected, reason="collector")
                log_event("export_failed", what="spans", error=f"{rejected} were rejected")
        computed_s = time.thread_time() - self._rested_at_s
        self._is_ending.wait(RESTS * computed_s)
        self._rested_at_s = time.thread_time()

    def _way(self) -> Collector:
        if self._collector is None:
            self._collector = self._collect(self._is_ending.wait)
        return self._collector

    def _settle(self, counter: CounterName, n: int, **labels: str) -> None:
        """Counts what became of spans; once the end has counted them, nobody does it again."""
        with self._settling:
            if n and not self._is_over:
                self._settled += n
                self._metrics.count(counter, n, **labels)
