"""The checker, in Jepsen's words: what must never be seen, found among what was seen.

    lost            a message that nobody decided
    duplicate       a message that was decided twice
    contradiction   a decision that the models, τ and the deferrals could not have made; where
                    nothing may be repeated, two decisions of one message that do not agree
    thin air        a decision on a message that nobody sent
    late            a fallback at its deadline that came later than the faults in force allow, or
                    too early

It is pure: what was sent, deferred, seen and done are arguments.
"""

import bisect
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.chaos.havoc import Deed
from tests.chaos.oracle import TAU, TOLERANCE, Oracle
from tests.chaos.schedule import calm_s
from tests.chaos.slow_worker import MODEL, confidence_for
from tests.chaos.witness import Decision, Truth

SLOW_MODEL = "digits-slow@1"
FALLBACKS = {"deadline", "slow_error", "shed", "overflow"}
LATE_MS = 2_000.0
"""A fallback may be so late with no fault in force: many processes start on the same cores."""
EARLY_MS = 2.0


@dataclass(slots=True)
class Verdicts:
    """What was found, each with its evidence in a sentence.

    Attributes:
        first_ms: when the first decision that is wrong arrived, in epoch ms.
    """

    lost: list[str] = field(default_factory=list)
    duplicate: list[str] = field(default_factory=list)
    contradiction: list[str] = field(default_factory=list)
    thin_air: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    first_ms: float | None = None

    def counts(self) -> dict[str, int]:
        """How many of each."""
        return {
            "lost": len(self.lost),
            "duplicate": len(self.duplicate),
            "contradiction": len(self.contradiction),
            "out of thin air": len(self.thin_air),
            "late": len(self.late),
        }

    def note(self, found: list[str], decision: Decision, sentence: str = "") -> None:
        """Adds what is wrong with a decision to one of the lists."""
        found.append(f"{sentence}: {_told(decision)}" if sentence else _told(decision))
        self.first_ms = min(self.first_ms or decision.arrived_ms, decision.arrived_ms)


class Interval(NamedTuple):
    """A time in epoch ms in which fallbacks may be delayed."""

    start_ms: float
    end_ms: float


def judge(
    truth: Truth,
    seen: Sequence[Decision],
    oracle: Oracle,
    *,
    partitions: int,
    unrest: Sequence[Interval],
    may_repeat: bool = False,
) -> Verdicts:
    """All that is wrong with what was seen."""
    verdicts = Verdicts()
    by_origin: dict[str, list[Decision]] = defaultdict(list)
    for decision in seen:
        by_origin[decision.origin].append(decision)
    verdicts.lost = [origin for origin in truth.messages if origin not in by_origin]
    for origin, decisions in by_origin.items():
        if origin not in truth.messages:
            verdicts.note(verdicts.thin_air, decisions[0])
            continue
        if len(decisions) > 1:
            first = _told(decisions[0])
            verdicts.note(verdicts.duplicate, decisions[1], f"after {first}")
            answers = {(decision.path, decision.label) for decision in decisions}
            if len(answers) > 1 and not may_repeat:
                verdicts.note(verdicts.contradiction, decisions[1], f"disagrees with {first}")
        for decision in decisions:
            number = truth.messages[origin]
            what = _contradiction(decision, number, truth, oracle, partitions)
            if what is not None:
                verdicts.note(verdicts.contradiction, decision, what)
            late = _late(decision, unrest)
            if late is not None:
                verdicts.note(verdicts.late, decision, late)
    return verdicts


def restless_spans(deeds: Iterable[Deed], session_s: float) -> list[Interval]:
    """When faults were in force, or their effects; those of the slow stage delay nothing."""
    return [
        Interval(deed.began_s * 1000, (deed.ended_s + calm_s(deed.kind, session_s)) * 1000)
        for deed in deeds
        if deed.stage != "slow"
    ]


def merged(spans: Iterable[Interval]) -> list[Interval]:
    """Intervals in order; those that overlap become one."""
    found: list[Interval] = []
    for span in sorted(spans):
        if found and span.start_ms <= found[-1].end_ms:
            found[-1] = Interval(found[-1].start_ms, max(found[-1].end_ms, span.end_ms))
        else:
            found.append(span)
    return found


def lateness(seen: Sequence[Decision], unrest: Sequence[Interval]) -> dict[str, float] | None:
    """|appended - deadline| of fallbacks in quiet times, in ms."""
    found = sorted(
        abs(one.appended_ms - one.deadline_ms)
        for one in seen
        if one.reason == "deadline"
        and one.deadline_ms is not None
        and not any(span.start_ms <= one.deadline_ms <= span.end_ms for span in unrest)
    )
    if not found:
        return None
    return {
        "n": len(found),
        "p50": found[len(found) // 2],
        "p99": found[min(len(found) - 1, len(found) * 99 // 100)],
        "max": found[-1],
    }


def _late(decision: Decision, unrest: Sequence[Interval]) -> str | None:
    if decision.reason != "deadline" or decision.deadline_ms is None:
        return None
    if decision.at_ms < decision.deadline_ms - EARLY_MS:
        return f"fell back {decision.deadline_ms - decision.at_ms:.0f} ms before its deadline"
    due_ms = float(decision.deadline_ms)
    place = bisect.bisect_right(unrest, due_ms + LATE_MS, key=lambda span: span.start_ms) - 1
    if place >= 0 and unrest[place].end_ms > due_ms:
        due_ms = unrest[place].end_ms
    if decision.appended_ms > due_ms + LATE_MS:
        waited_ms = decision.appended_ms - decision.deadline_ms
        return f"{waited_ms:.0f} ms after its deadline"
    return None


def _contradiction(
    decision: Decision, number: int, truth: Truth, oracle: Oracle, partitions: int
) -> str | None:
    partition = int(decision.origin.rsplit("-", 2)[1])
    fast = oracle.fast(number)
    is_exit = oracle.exits(number)
    wrong_place = decision.partition != partition + (0 if is_exit else partitions)
    origin_deferred = truth.deferrals.get((partition, decision.deferral or 0))
    label = oracle.slow(number).label if decision.path == "slow" else fast.label
    checks = (
        (decision.id != number, "it echoes another id"),
        (not _says(decision.fast, fast.label, fast.confidence), "its fast answer is another's"),
        (abs(decision.tau - TAU) > 1e-9, "it names another tau"),
        (decision.path not in {"fast", "slow", "fallback"}, "no message was bad"),
        ((decision.path == "fast") != is_exit, "its path contradicts tau"),
        (wrong_place, "it stands in the wrong partition"),
        (decision.label != label, "its label is not that of its path"),
        (decision.path == "fast" and decision.reason != "confident", "its reason"),
        (decision.path == "slow" and decision.reason != "verified", "its reason"),
        (decision.path == "fallback" and decision.reason not in FALLBACKS, "its reason"),
        (is_exit != (decision.deferral is None), "it names a deferral, or should"),
        (
            decision.deferral is not None and origin_deferred != decision.origin,
            f"its deferral is that of {origin_deferred}",
        ),
        (
            decision.path == "slow" and not _is_own_slow(decision, number, oracle, partition),
            "its slow answer was computed for another deferral",
        ),
    )
    return next((sentence for is_wrong, sentence in checks if is_wrong), None)


def _is_own_slow(decision: Decision, number: int, oracle: Oracle, partition: int) -> bool:
    if decision.slow is None or decision.deferral is None:
        return False
    label, confidence, model = decision.slow
    expected = oracle.slow(number)
    if model == MODEL:
        own = confidence_for(partition, decision.deferral)
        return label == expected.label and abs(confidence - own) < 1e-9
    return model == SLOW_MODEL and _says((label, confidence), *expected)


def _says(said: tuple[str, float] | None, label: str, confidence: float) -> bool:
    return said is not None and said[0] == label and abs(said[1] - confidence) < TOLERANCE


def _told(decision: Decision) -> str:
    where = f"decisions-{decision.partition}-{decision.offset}"
    deferral = "" if decision.deferral is None else f" deferral {decision.deferral}"
    return (
        f"{decision.origin} {decision.path}/{decision.reason} {decision.label}{deferral} "
        f"at {where}, appended {decision.appended_ms}"
    )
