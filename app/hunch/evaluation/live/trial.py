"""One τ and Δ under one load, on a broker: what was sent and what an outside reader saw of it.

The messages are those of a simulated run: the same rows, at the same moments, in the same
partitions. A message counts as in the simulation, by when it was to be sent. Its decision belongs
to the τ and Δ of the policy that it names: what an earlier policy has decided does not count.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from hunch.core.envelope import Path, Reason
from hunch.errors import DataError
from hunch.evaluation.simulation.run import Run

LEAST_COUNTED = 20
Floats = NDArray[np.float64]


class Seen(NamedTuple):
    """The value of a record, and when an outside reader had it."""

    seen_ms: float
    value: bytes


class SlowSeen(NamedTuple):
    """A slow result: when it was written, in whole milliseconds, and when a reader had it."""

    written_ms: int
    seen_ms: float
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What a decision says; `slow_ms` and `deadline_ms` where it has them."""

    policy: str
    path: str
    reason: str
    label: str | None
    at_ms: float
    fast_ms: float
    slow_ms: float | None
    deadline_ms: int | None
    seen_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What was sent and seen.

    Attributes:
        policy: the name of the one that was pushed for it.
        run: the simulated run whose messages they are.
        sent_ms: of each message, when it was given to the producer.
        late_ms: how much later than planned.
        busy: share of this machine's cores that had work while messages were sent.
        decisions: number of a message → its first decision.
        slow_results: where they were read, too.
    """

    policy: str
    run: Run
    sent_ms: Sequence[float]
    late_ms: Sequence[float]
    busy: float
    decisions: Mapping[int, Seen]
    slow_results: Sequence[SlowSeen] = ()


class Measured:
    """The messages of a trial that count.

    Args:
        trial: of which.
        right: of each row of the record, the label that is right.

    Attributes:
        strayed: messages that count by their time, and were decided by an earlier policy.

    Raises `DataError` where too few messages count to say anything.
    """

    def __init__(self, trial: Trial, right: Sequence[str]) -> None:
        run = trial.run
        self.trial = trial
        decided = {number: decided_of(seen) for number, seen in trial.decisions.items()}
        due = (run.arrived_ms >= run.from_ms) & (run.arrived_ms < run.until_ms)
        in_time = [number for number in np.flatnonzero(due).tolist() if number in decided]
        self.numbers = [it for it in in_time if decided[it].policy == trial.policy]
        self.strayed = len(in_time) - len(self.numbers)
        if len(self.numbers) < LEAST_COUNTED:
            raise DataError(
                f"Of this point only {len(self.numbers)} messages count: raise --rate or --seconds."
            )
        self.all_decided = decided
        self.decided = [decided[it] for it in self.numbers]
        rows = run.rows[self.numbers].tolist()
        self.is_right = np.array(
            [it.label == right[row] for it, row in zip(self.decided, rows, strict=True)]
        )
        sent = np.array([trial.sent_ms[it] for it in self.numbers])
        self.latency_ms: Floats = np.array([it.seen_ms for it in self.decided]) - sent

    def on(self, path: Path) -> NDArray[np.bool_]:
        """Which messages were decided on that path."""
        return np.array([it.path == path.value for it in self.decided], dtype=np.bool_)

    def numbers_of(self) -> dict[str, float]:
        """The numbers that a simulation predicts, by name."""
        is_shed = [it.reason == Reason.SHED.value for it in self.decided]
        rates = {path.value: float(self.on(path).mean()) for path in _PATHS}
        p50, p95, p99 = np.percentile(self.latency_ms, (50, 95, 99)).tolist()
        return {
            "accuracy": float(self.is_right.mean()),
            **rates,
            "shed": float(np.mean(is_shed)),
            "p50_ms": p50,
            "p95_ms": p95,
            "p99_ms": p99,
        }

    def late_p99_ms(self) -> float:
        """How much later than planned messages were sent, but for one in a hundred."""
        return float(np.percentile([self.trial.late_ms[it] for it in self.numbers], 99))

    def by_partition(self) -> Iterator[list[tuple[float, Decided]]]:
        """When each message was sent and what was decided, in the order of its partition's log."""
        run, sent_ms = self.trial.run, self.trial.sent_ms
        for partition in np.unique(run.partitions).tolist():
            numbers = np.flatnonzero(run.partitions == partition).tolist()
            yield [(sent_ms[it], self.all_decided[it]) for it in numbers if it in self.all_decided]


_PATHS = (Path.FAST, Path.SLOW, Path.FALLBACK)


def decided_of(seen: Seen) -> Decided:
    """What a decision says; raises `DataError` for what is none."""
    try:
        said = orjson.loads(seen.value)
        times = said["times"]
        return Decided(
            policy=said["policy"],
            path=said["path"],
            reason=said["reason"],
            label=said["label"],
            at_ms=said["at_ms"],
            fast_ms=times["fast"],
            slow_ms=times.get("slow"),
            deadline_ms=said.get("deadline_ms"),
            seen_ms=seen.seen_ms,
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"A record on decisions is no decision: {error!r}.") from None
