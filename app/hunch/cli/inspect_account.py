"""What `hunch inspect` says of one message, as one JSON object: every hop, and what is missing.

Times are epoch milliseconds; `after_ms` counts from the message's own timestamp, or, where that is
gone, from what a later hop says of it. What is missing is told as sentences, by hop.
"""

from collections.abc import Sequence
from typing import Any

import orjson

from hunch.cli.lines import named
from hunch.errors import WireError
from hunch.kafka.client import Record
from hunch.kafka.codec import (
    TRACEPARENT,
    answer_json,
    decode_deferral,
    decode_result,
    header_of,
    read_deferral,
    trace_id_of,
)
from hunch.kafka.trail import Behind, Presence, Trail

STRANGE_MS = 24 * 3_600_000
"""A message whose first hop is so much later has probably a wrong timestamp."""
UNSEEN = "retention has deleted it, or it lies outside what was searched (see --all)"

Account = dict[str, Any]


def account_of(
    trail: Trail, now_ms: float, *, records_read: int, with_payload: bool = False
) -> Account:
    """The whole of it; the keys and their meaning are part of the command's help."""
    decisions = [_decision(record) for record in trail.decisions]
    decisions.sort(key=at_ms)
    deferrals = [_deferral(record) for record in trail.deferrals]
    hops = {
        "deferrals": deferrals,
        "slow_results": [_result(record) for record in trail.slow_results],
        "decisions": decisions,
        "late_results": [_result(record) for record in trail.late_results],
        "dead_letters": [_dead_letter(record) for record in trail.dead_letters],
    }
    began_ms = _began_ms(trail, deferrals, decisions)
    for found in hops.values():
        for hop in found:
            hop["after_ms"] = None if began_ms is None else round(at_ms(hop) - began_ms, 3)
    derived = [*trail.deferrals, *trail.slow_results, *trail.decisions]
    return {
        "origin": str(trail.origin),
        "id": next((hop["id"] for hop in (*decisions, *deferrals) if "id" in hop), None),
        "is_decided": bool(decisions),
        "trace_id": _trace_id(derived, decisions, trail.message),
        "message": _message(trail, with_payload=with_payload),
        **hops,
        "missing": _missing(trail, deferrals, decisions, now_ms),
        "notes": _notes(trail, hops),
        "now_ms": round(now_ms, 3),
        "records_read": records_read,
        "searched": [
            {
                "topic": searched.partition.topic,
                "partition": searched.partition.partition,
                "from": searched.low,
                "to": searched.high,
                "log_start": searched.first,
                "log_end": searched.end,
            }
            for searched in trail.searched
        ],
    }


def _place(record: Record) -> Account:
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
    }


def _message(trail: Trail, *, with_payload: bool) -> Account:
    told: Account = {"presence": str(trail.presence)}
    record = trail.message
    if record is None:
        return told
    told |= _place(record)
    told |= named("key", record.key, is_json=False)
    told["bytes"] = len(record.value or b"")
    told["is_tombstone"] = record.value is None
    if with_payload:
        told |= named("payload", record.value, is_json=True)
    return told


def _deferral(record: Record) -> Account:
    hop = _place(record)
    try:
        read = read_deferral(record.headers)
        deferral = decode_deferral(read.header)
    except WireError as error:
        return hop | {"unreadable": str(error)}
    return hop | {
        "id": deferral.id,
        "deferred_ms": deferral.deferred_ms,
        "deadline_ms": read.deadline_ms,
        "slack_ms": round(read.deadline_ms - deferral.deferred_ms, 3),
        "fast": answer_json(deferral.fast),
        "fast_ms": deferral.fast_ms,
        "wait_ms": deferral.wait_ms,
        "ingest_ms": deferral.ingest_ms,
        "tau": deferral.tau,
        "delta_ms": deferral.delta_ms,
        "policy": deferral.policy,
        **({} if deferral.score is None else {"score": deferral.score}),
    }


def _result(record: Record) -> Account:
    hop = _place(record)
    try:
        result = decode_result(record.value, record.headers)
    except WireError as error:
        return hop | {"unreadable": str(error)}
    hop |= {"deferral": result.deferral, "outcome": result.outcome, "model": result.model}
    if result.answer is not None:
        return hop | {"answer": answer_json(result.answer), "slow_ms": result.slow_ms}
    return hop if result.shed else hop | {"error": result.error}


def _decision(record: Record) -> Account:
    try:
        value = orjson.loads(record.value or b"")
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        return _place(record) | {"unreadable": "The decision is not a JSON object."}
    return _place(record) | value


def _dead_letter(record: Record) -> Account:
    def text(name: str) -> str | None:
        found = header_of(record.headers, name)
        return None if found is None else found.decode(errors="replace")

    return _place(record) | {
        "stage": text("hunch-stage"),
        "reason": text("hunch-reason"),
        "message": text("hunch-message"),
        "about": text("hunch-origin"),
    }


def at_ms(hop: Account) -> float:
    """When a hop happened: what its writer says, or else the record's own time."""
    for name in ("at_ms", "deferred_ms"):
        if isinstance(hop.get(name), int | float):
            return float(hop[name])
    return float(hop["timestamp"])


def _began_ms(
    trail: Trail, deferrals: Sequence[Account], decisions: Sequence[Account]
) -> float | None:
    if trail.message is not None and trail.message.timestamp >= 0:
        return float(trail.message.timestamp)
    for deferral in deferrals:
        if "ingest_ms" in deferral:
            return float(deferral["ingest_ms"])
    for decision in decisions:
        times = decision.get("times")
        if isinstance(times, dict) and "total" in times and "at_ms" in decision:
            return float(decision["at_ms"]) - float(times["total"])
    return None


def _trace_id(
    derived: Sequence[Record], decisions: Sequence[Account], message: Record | None
) -> str | None:
    """What a derived record says first: the message's own may not be the one that is traced."""
    headed = (*derived, *([] if message is None else [message]))
    told = [trace_id_of(header_of(record.headers, TRACEPARENT)) for record in headed]
    told += [decision.get("trace_id") for decision in decisions]
    return next((found for found in told if found is not None), None)


def _missing(
    trail: Trail, deferrals: Sequence[Account], decisions: Sequence[Account], now_ms: float
) -> dict[str, str]:
    """Hop → why it may be that there is none; only of hops that one would expect."""
    missing = {}
    sentence = _message_missing(trail)
    if sentence is not None:
        missing["message"] = sentence
    if deferrals and not trail.slow_results:
        missing["slow_result"] = _result_missing(trail, deferrals[-1], now_ms)
    if not decisions:
        missing["decision"] = (
            _pending(trail, deferrals[-1], now_ms) if deferrals else _undecided(trail)
        )
    return missing


def _message_missing(trail: Trail) -> str | None:
    origin, span = trail.origin, trail.span
    log = f"{origin.topic}-{origin.partition}"
    match trail.presence:
        case Presence.THERE:
            return None
        case Presence.UNREADABLE:
            return "it is there, but cannot be read: header names in its batch are no text"
        case Presence.DELETED:
            return f"retention has deleted it: {log} begins at offset {span.first:,} by now"
        case Presence.NOT_WRITTEN:
            return f"no such message yet: {log} ends at offset {span.end:,}"
        case Presence.NOT_A_MESSAGE:
            return "no message stands there: it is a transaction's marker, aborted or compacted"


def _result_missing(trail: Trail, deferral: Account, now_ms: float) -> str:
    slow = trail.progress.get("slow")
    deadline_ms = deferral.get("deadline_ms")
    if slow is None or slow.committed < 0:
        return "none found: the deadline had passed, or the slow stage has not come to it"
    if slow.committed > deferral["offset"]:
        return "none: the deadline had passed when the slow stage came to it"
    behind = f"the slow stage is {_behind(slow)}"
    if deadline_ms is not None and deadline_ms > now_ms:
        return f"not yet: {behind}"
    return f"none by the deadline: {behind}"


def _pending(trail: Trail, deferral: Account, now_ms: float) -> str:
    join = trail.progress.get("join")
    deadline_ms = deferral.get("deadline_ms")
    if deadline_ms is None:
        return "none: nobody can read the deferral"
    if deadline_ms > now_ms:
        return f"pending: its deadline is in {duration(deadline_ms - now_ms)}"
    overdue = f"overdue: its deadline was {duration(now_ms - deadline_ms)} ago"
    if join is None or join.committed < 0:
        return f"{overdue}, and the joiner has committed nothing"
    if join.committed > deferral["offset"]:
        return f"none found, though the joiner is past it: {UNSEEN}"
    return f"{overdue}, and the joiner is {_behind(join)}"


def _undecided(trail: Trail) -> str:
    fast = trail.progress.get("fast")
    if trail.presence in {Presence.NOT_WRITTEN, Presence.NOT_A_MESSAGE}:
        return "none: there is nothing to decide"
    if fast is None or fast.committed < 0:
        return "none: the fast stage has not read it, as far as is known"
    if fast.committed <= trail.origin.offset:
        return f"not read yet: the fast stage is {_behind(fast)} in this partition"
    return f"none found, though the fast stage is past it: {UNSEEN}"


def _behind(stage: Behind) -> str:
    count = stage.end - stage.committed
    return f"{count:,} {'record' if count == 1 else 'records'} behind"


def _notes(trail: Trail, hops: dict[str, list[Account]]) -> list[str]:
    """What is worth knowing beside the hops, as sentences."""
    notes = []
    count = len(trail.decisions)
    if count > 1:
        notes.append(
            f"It was decided {count} times: delivery is at-least-once, and a process had died "
            "or lost its partition."
        )
    if len(trail.deferrals) > 1:
        notes.append(f"It was deferred {len(trail.deferrals)} times, for the same reason.")
    if len(trail.slow_results) > 1:
        notes.append(
            f"The slow model answered {len(trail.slow_results)} times: the first answer counts."
        )
    after = [hop["after_ms"] for found in hops.values() for hop in found]
    first_ms = min((ms for ms in after if ms is not None), default=None)
    if first_ms is not None and (first_ms < 0 or first_ms > STRANGE_MS):
        side = "after" if first_ms < 0 else "before"
        notes.append(
            f"The message's timestamp, its client's, lies {duration(abs(first_ms))} {side} its "
            "first hop."
        )
    return notes


def duration(ms: float) -> str:
    """A time span for people: `54 ms`, `3.2 s`, `5 min`, `2.5 days`."""
    for unit, size, digits in (
        ("years", 31_557_600_000, 1),
        ("days", 86_400_000, 1),
        ("h", 3_600_000, 1),
        ("min", 60_000, 1),
        ("s", 1_000, 1),
    ):
        if ms >= 1.5 * size or (unit == "s" and ms >= size):
            return f"{ms / size:,.{digits}f} {unit}"
    return f"{ms:,.0f} ms" if ms >= 10 or ms == 0 else f"{ms:.1f} ms"
