"""How long decisions stood still after each kind of fault, where it hit and elsewhere.

A gap is the time between two decisions of one partition, as the witness outside got them; fast and
joined decisions have partitions of their own. What counts is the longest gap that overlaps the time
from the fault until its effects must be over. Only where faults come one at a time do gaps belong
to the fault that they stand beside.
"""

import bisect
import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.chaos.accounts import Takeover
from tests.chaos.havoc import Deed
from tests.chaos.schedule import Kind, calm_s
from tests.chaos.witness import Decision

BEFORE_S = 0.5
GRACE_S = 2.0


@dataclass(slots=True)
class Gaps:
    """Longest gaps in seconds, one for each partition and fault of a kind."""

    fast_hit: list[float] = field(default_factory=list)
    fast_others: list[float] = field(default_factory=list)
    joined_hit: list[float] = field(default_factory=list)
    joined_others: list[float] = field(default_factory=list)

    def as_columns(self) -> dict[str, dict[str, float] | None]:
        """Median and longest of each, None where there is none."""
        return {name: _summed_up(getattr(self, name)) for name in COLUMNS}


COLUMNS = ("fast_hit", "fast_others", "joined_hit", "joined_others")


def gaps(
    seen: Sequence[Decision],
    deeds: Sequence[Deed],
    takeovers: Sequence[Takeover],
    *,
    partitions: int,
    session_s: float,
    ended_s: float,
) -> dict[str, Gaps]:
    """By kind and stage, as `kill join`; `ended_s` is when the load ended.

    A process that joins hits the partitions that are taken over while it comes and goes.
    """
    arrivals = _arrivals_s(seen)
    found: dict[str, Gaps] = defaultdict(Gaps)
    for deed in deeds:
        until_s = min(deed.ended_s + calm_s(deed.kind, session_s), ended_s)
        hit = _moved(deed, until_s, takeovers) if deed.kind is Kind.EXTRA else deed.hit
        of_kind = found[f"{deed.kind} {deed.stage}".removesuffix(" broker")]
        for partition in range(partitions):
            is_hit = hit is None or partition in hit
            fast = _longest(arrivals[partition], deed.began_s - BEFORE_S, until_s)
            joined = _longest(arrivals[partitions + partition], deed.began_s - BEFORE_S, until_s)
            (of_kind.fast_hit if is_hit else of_kind.fast_others).append(fast)
            (of_kind.joined_hit if is_hit else of_kind.joined_others).append(joined)
    return dict(found)


def standstills(
    seen: Sequence[Decision],
    deeds: Sequence[Deed],
    *,
    partitions: int,
    session_s: float,
    ended_s: float,
) -> list[str]:
    """Partitions that stood still for longer than a fault allows; for faults that come singly.

    A fault that hits the stage and partition, or the broker, may hold decisions up while it lasts
    and as long afterwards as `calm_s` says; any other one for two seconds, in which others own more
    or less than before.
    """
    arrivals = _arrivals_s(seen)
    found = []
    for deed in deeds:
        allowed_s = deed.ended_s - deed.began_s + calm_s(deed.kind, session_s) + GRACE_S
        until_s = min(deed.ended_s + calm_s(deed.kind, session_s), ended_s)
        for number in range(2 * partitions):
            delayed_by = {"fast", "broker"} if number < partitions else {"fast", "join", "broker"}
            is_hit = deed.hit is None or number % partitions in deed.hit
            is_concerned = deed.stage in delayed_by and (is_hit or deed.kind is Kind.EXTRA)
            gap_s = _longest(arrivals[number], deed.began_s - BEFORE_S, until_s)
            if gap_s > (allowed_s if is_concerned else GRACE_S):
                found.append(
                    f"decisions-{number} stood still for {gap_s:.1f} s at {deed.kind} {deed.stage}"
                )
    return found


def _arrivals_s(seen: Sequence[Decision]) -> dict[int, list[float]]:
    """When decisions arrived, in order, by partition."""
    arrivals: dict[int, list[float]] = defaultdict(list)
    for decision in seen:
        arrivals[decision.partition].append(decision.arrived_ms / 1000)
    for times in arrivals.values():
        times.sort()
    return arrivals


def _moved(deed: Deed, until_s: float, takeovers: Sequence[Takeover]) -> set[int]:
    return {
        taken.partition
        for taken in takeovers
        if taken.stage == deed.stage and deed.began_s <= taken.at_s <= until_s
    }


def _longest(times: Sequence[float], start_s: float, end_s: float) -> float:
    """The longest gap that overlaps an interval; one that is open at its end lasts that long."""
    first = max(0, bisect.bisect_right(times, start_s) - 1)
    last = bisect.bisect_right(times, end_s)
    inside = [*times[first : last + 1]]
    if not inside:
        return end_s - start_s
    if last >= len(times):
        inside.append(end_s)
    return max((b - a for a, b in itertools.pairwise(inside)), default=0.0)


def _summed_up(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    ordered = sorted(values)
    return {
        "n": len(ordered),
        "median": round(ordered[len(ordered) // 2], 3),
        "max": round(ordered[-1], 3),
    }
