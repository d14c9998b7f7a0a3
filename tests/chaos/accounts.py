"""What the stages' own logs and the broker's files tell of a run.

Counted are takeovers, lanes lost by cause, and fences; nothing here decides whether a run passes,
but for what a stage must never say or do.
"""

from collections import Counter
from typing import Any, NamedTuple

from tests.chaos.crew import Crew, stage_of
from tests.kafka.processes import Event

BUG = "InvariantBroken"
FENCED = ("fenced", "ProducerFenced", "InvalidProducerEpoch")


class Takeover(NamedTuple):
    """A lane that was opened."""

    stage: str
    partition: int
    at_s: float


def takeovers(crew: Crew) -> list[Takeover]:
    """Every takeover, with its time in epoch s."""
    return [
        Takeover(stage_of(slot), event["partition"], event["ts"] / 1000)
        for slot, event in crew.events()
        if event["event"] == "lane_opened"
    ]


def account(crew: Crew) -> dict[str, Any]:
    """Counts from everything that the stages have logged."""
    opened: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    in_transaction, fences = 0, 0
    others: Counter[str] = Counter()
    for slot, event in crew.events():
        name = event["event"]
        if name == "lane_opened":
            opened[stage_of(slot)] += 1
        elif name == "lane_lost":
            cause = _cause(event)
            lost[f"{stage_of(slot)} {cause}"] += 1
            in_transaction += bool(event.get("in_transaction"))
            fences += any(word in f"{cause} {event.get('reason')}" for word in FENCED)
        elif name in WORTH_COUNTING:
            others[name] += 1
    codes = Counter(str(ended.code) for ended in crew.ended if not ended.was_asked)
    return {
        "takeovers": dict(opened),
        "lanes_lost": dict(sorted(lost.items())),
        "lanes_lost_in_transaction": in_transaction,
        "fences": fences,
        "logged": dict(others),
        "ended_by_themselves": dict(codes),
    }


WORTH_COUNTING = {
    "lane_missing",
    "lost_records",
    "commit_foreign",
    "commit_failed",
    "read_failed",
    "process_stood_still",
    "drain_cut_short",
    "error",
}


def bugs(crew: Crew) -> list[str]:
    """What a stage must never say or do, each as a sentence."""
    said = [
        f"{slot} says: {event.get('message') or event.get('text')}"
        for slot, event in crew.events()
        if _is_bug(event)
    ]
    hung = [f"{slot} did not end after SIGTERM" for slot in crew.hung]
    gone = [
        f"{ended.slot} ended by itself with code {ended.code} after it was ready"
        for ended in crew.ended
        if not ended.was_asked and any(event["event"] == "ready" for event in ended.events)
    ]
    return said + hung + gone


def _is_bug(event: Event) -> bool:
    is_trace = event["event"] == "not JSON" and "Traceback" in event["text"]
    return is_trace or (event["event"] == "error" and event.get("kind") == BUG)


def _cause(event: Event) -> str:
    reason = str(event.get("reason", "unknown"))
    return str(event.get("cause") or reason.partition(":")[0])
