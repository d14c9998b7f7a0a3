"""What became of the messages of one chunk: told once the broker has acknowledged it, in columns.

A delivery that fails tells nothing: whoever takes the partition over decides, and tells, again.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from hunch.telemetry.metrics import Metrics
from hunch.telemetry.names import CounterName
from hunch.telemetry.traces import Span, Tracer

MISSED_MS = 10.0
"""A fallback emitted later than this after its deadline is a miss."""


@dataclass(slots=True)
class Told:
    """Columns, appended to as decisions are made.

    Attributes:
        decided: decisions by path and reason.
        elapsed_ms: by path, from the input record's timestamp to the decision.
        due: of fallbacks at the deadline, the deadline and when it was decided, in epoch ms.
        spans: of traced messages.
        counted: anything else that counts once it is in the log, by metric and labels.
    """

    decided: Counter[tuple[str, str]] = field(default_factory=Counter)
    elapsed_ms: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    due: list[tuple[float, float]] = field(default_factory=list)
    counted: Counter[tuple[CounterName, tuple[tuple[str, str], ...]]] = field(
        default_factory=Counter
    )

    spans: list[Span] = field(default_factory=list)

    def decision(self, path: str, reason: str, elapsed_ms: float) -> None:
        """Notes one decision."""
        self.decided[path, reason] += 1
        self.elapsed_ms[path].append(elapsed_ms)

    def count(self, name: CounterName, n: int = 1, **labels: str) -> None:
        """Notes something else; what is 0 is not noted."""
        if n:
            self.counted[name, tuple(sorted(labels.items()))] += n

    def extend(self, later: "Told") -> None:
        """Adds what was noted after this."""
        self.decided.update(later.decided)
        self.counted.update(later.counted)
        self.due += later.due
        self.spans += later.spans
        for path, column in later.elapsed_ms.items():
            self.elapsed_ms[path] += column

    def tell(self, metrics: Metrics, tracer: Tracer, stage: str, acknowledged_ms: float) -> None:
        """Adds all of it to the metrics and the traces; the broker has acknowledged it then."""
        tracer.take(self.spans, acknowledged_ms)
        for (path, reason), n in self.decided.items():
            metrics.count("decisions", n, stage=stage, path=path, reason=reason)
        for (name, labels), n in self.counted.items():
            metrics.count(name, n, **dict(labels))
        for path, column in self.elapsed_ms.items():
            metrics.observe("decision_seconds", _seconds(column), path=path)
        if self.due:
            emitted = [acknowledged_ms - deadline_ms for deadline_ms, _ in self.due]
            metrics.observe("emitted_late_seconds", _seconds(emitted))
            metrics.observe("timer_late_seconds", _seconds([at - due for due, at in self.due]))
            metrics.count("deadline_misses", sum(late > MISSED_MS for late in emitted))


def _seconds(column_ms: list[float]) -> list[float]:
    return [value / 1000.0 for value in column_ms]
