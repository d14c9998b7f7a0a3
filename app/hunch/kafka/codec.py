"""Between bytes and meaning: headers and JSON of deferrals, slow results, decisions, dead letters.

A deferral's payload is never re-encoded: its meaning travels in the `hunch` header.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from hunch.core.envelope import NUMBERS_END, Answer, Deferral, Path, Reason, SlowResult
from hunch.core.joining import Verdict
from hunch.errors import WireError
from hunch.kafka.client import Header
from hunch.telemetry import tracecontext

HUNCH = "hunch"
ORIGIN = "hunch-origin"
PATH = "hunch-path"
DEFERRAL = "hunch-deferral"
DEADLINE_MS = "hunch-deadline-ms"
TRACEPARENT = "traceparent"
SCHEMA_VERSION = 1
DEAD_LETTER_BYTES = 100_000
"""The most that is kept of a key, of a value, and of all headers of a dead letter."""
MAX_TEXT = 2_000
_SPAN = re.compile(r"[0-9a-f]{16}")

Outgoing = tuple[bytes | None, bytes | None, list[Header]]
"""Key, value and headers of a record to be written."""


class Read(NamedTuple):
    """A deferral as it was read: its name, policy and times, and its header still encoded."""

    origin: str
    policy: str
    deadline_ms: int
    deferred_ms: float
    header: bytes
    traceparent: bytes | None


def integer(text: bytes | None) -> int | None:
    """The non-negative integer that a header spells, or None: anybody may write one."""
    is_number = text is not None and text.isdigit() and len(text) <= 18
    return int(text) if is_number and text is not None else None


def header_of(headers: Sequence[Header], name: str) -> bytes | None:
    """The last value of a header, as Kafka's own clients read it; None where it is missing."""
    found = None
    for key, value in headers:
        if key == name:
            found = value
    return found


def traceparent_of(headers: Sequence[Header]) -> bytes | None:
    """The trace context that a record carries; None where there is none, or nonsense."""
    found = header_of(headers, TRACEPARENT)
    return None if tracecontext.parsed(found) is None else found


def trace_id_of(traceparent: bytes | None) -> str | None:
    """The trace that a `traceparent` names."""
    return None if traceparent is None else traceparent[3:35].decode()


def answer_json(answer: Answer) -> dict[str, object]:
    """How an answer stands in JSON."""
    return {"label": answer.label, "confidence": answer.confidence, "model": answer.model}


def encode_deferral(
    deferral: Deferral, deadline_ms: int, traceparent: bytes | None
) -> list[Header]:
    """The headers of a deferral; its key and value are the input's own."""
    body: dict[str, object] = {
        "v": SCHEMA_VERSION,
        "origin": deferral.origin,
        "id": deferral.id,
        "fast": answer_json(deferral.fast),
        "tau": deferral.tau,
        "delta_ms": deferral.delta_ms,
        "policy": deferral.policy,
        "ingest_ms": deferral.ingest_ms,
        "wait_ms": deferral.wait_ms,
        "fast_ms": deferral.fast_ms,
        "deferred_ms": deferral.deferred_ms,
    }
    if deferral.score is not None:
        body["score"] = deferral.score
    if deferral.fast_span is not None:
        body["spans"] = {"fast": deferral.fast_span, "parent": deferral.parent_span}
    headers = [(HUNCH, orjson.dumps(body)), (DEADLINE_MS, b"%d" % deadline_ms)]
    if traceparent is not None:
        headers.append((TRACEPARENT, traceparent))
    return headers


def read_deferral(headers: Sequence[Header]) -> Read:
    """Checks the headers of a deferral; raises `WireError` with what is wrong."""
    header = header_of(headers, HUNCH)
    deadline_ms = integer(header_of(headers, DEADLINE_MS))
    if header is None or deadline_ms is None:
        msg = f"A deferral must carry the headers {HUNCH} (JSON) and {DEADLINE_MS} (epoch ms)."
        raise WireError(msg)
    fields = decode_deferral(header)
    latest_ms = int(fields.deferred_ms + fields.delta_ms) + 1
    return Read(
        fields.origin,
        fields.policy,
        min(deadline_ms, latest_ms),
        fields.deferred_ms,
        header,
        traceparent_of(headers),
    )


def decode_deferral(header: bytes) -> Deferral:
    """The meaning of a deferral's `hunch` header; raises `WireError`."""
    fields = _object(header, "the hunch header of a deferral")
    try:
        fast, name, spans = fields["fast"], fields.get("id"), fields.get("spans") or {}
        return Deferral(
            origin=_text(fields["origin"]),
            id=name if isinstance(name, str | int) else None,
            fast=_answer(fast, _text(fast["model"])),
            score=None if fields.get("score") is None else _number(fields["score"]),
            tau=_number(fields["tau"]),
            delta_ms=_number(fields["delta_ms"]),
            policy=_text(fields["policy"]),
            ingest_ms=int(_number(fields["ingest_ms"])),
            wait_ms=_number(fields["wait_ms"]),
            fast_ms=_number(fields["fast_ms"]),
            deferred_ms=_number(fields["deferred_ms"]),
            fast_span=_span(spans.get("fast")),
            parent_span=_span(spans.get("parent")),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        msg = f"The hunch header of a deferral lacks or garbles {error}."
        raise WireError(msg) from error


def encode_result(
    result: SlowResult, probabilities: Sequence[float] | None = None
) -> tuple[bytes, list[Header]]:
    """Value and headers of a slow result."""
    head = {
        "v": SCHEMA_VERSION,
        "origin": result.origin,
        "deferral": result.deferral,
        "model": result.model,
    }
    body: dict[str, object]
    if result.answer is not None:
        body = {
            "label": result.answer.label,
            "confidence": result.answer.confidence,
            "probabilities": probabilities,
            "slow_ms": result.slow_ms,
        }
    elif result.shed:
        body = {"shed": True}
    else:
        body = {"error": result.error}
    value = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    headers = [(HUNCH, orjson.dumps(head)), (ORIGIN, result.origin.encode())]
    if result.traceparent is not None:
        headers.append((TRACEPARENT, result.traceparent))
    return value, headers


def decode_result(value: bytes | None, headers: Sequence[Header]) -> SlowResult:
    """The meaning of a record on `slow-results`; raises `WireError`."""
    head = _object(header_of(headers, HUNCH), "the hunch header of a slow result")
    body = _object(value, "a slow result")
    try:
        origin, deferral = _text(head["origin"]), int(_number(head["deferral"]))
        model = _text(head.get("model", "unknown"))
        answer = _answer(body, model) if "label" in body else None
        return SlowResult(
            origin=origin,
            deferral=deferral,
            model=model,
            answer=answer,
            error=str(body.get("error", "no answer"))[:1000] if answer is None else None,
            shed=answer is None and body.get("shed") is True,
            slow_ms=_number(body.get("slow_ms", 0.0)),
            traceparent=traceparent_of(headers),
        )
    except (KeyError, TypeError, ValueError) as error:
        msg = f"A slow result lacks or garbles {error}."
        raise WireError(msg) from error


def encode_decision(
    *,
    key: bytes | None,
    traceparent: bytes | None,
    origin: str,
    id: str | int | None,  # noqa: A002 - the field's name
    said: Answer | None,
    path: Path,
    reason: Reason,
    fast: Answer | None,
    slow: Answer | None,
    tau: float,
    delta_ms: float,
    policy: str,
    at_ms: float,
    times: Mapping[str, float],
    deferral: int | None = None,
    deadline_ms: int | None = None,
    error: str | None = None,
    score: float | None = None,
) -> Outgoing:
    """A decision as a record; `said` is the answer that counts, None where there is none."""
    headers: list[Header] = [(ORIGIN, origin.encode()), (PATH, path.encode())]
    if deferral is not None:
        headers.append((DEFERRAL, b"%d" % deferral))
    if traceparent is not None:
        headers.append((TRACEPARENT, traceparent))
    decision: dict[str, object] = {
        "origin": origin,
        "id": id,
        "label": None if said is None else said.label,
        "confidence": None if said is None else said.confidence,
        "path": path,
        "reason": reason,
        "fast": None if fast is None else answer_json(fast),
        "slow": None if slow is None else answer_json(slow),
        "tau": tau,
        "delta_ms": delta_ms,
        "policy": policy,
        "at_ms": round(at_ms, 3),
        "times": times,
        "trace_id": trace_id_of(traceparent),
    }
    if score is not None:
        decision["score"] = score
    if deadline_ms is not None:
        decision["deadline_ms"] = deadline_ms
    if error is not None:
        decision["error"] = error
    return key, orjson.dumps(decision), headers


def encode_verdict(
    verdict: Verdict, deferral: Deferral, now_ms: float, traceparent: bytes | None
) -> Outgoing:
    """The decision of a verdict of the joiner; `deferral` is what its header means."""
    pending, result = verdict.pending, verdict.result
    slow = None if result is None or result.answer is None else result.answer
    said = slow if verdict.path is Path.SLOW and slow is not None else deferral.fast
    times: dict[str, float] = {"wait": deferral.wait_ms, "fast": deferral.fast_ms}
    if result is not None and result.answer is not None:
        times["slow"] = result.slow_ms
    times["join"] = round(now_ms - deferral.deferred_ms, 3)
    times["total"] = round(now_ms - deferral.ingest_ms, 3)
    return encode_decision(
        key=pending.key,
        traceparent=traceparent,
        origin=deferral.origin,
        id=deferral.id,
        said=said,
        path=verdict.path,
        reason=verdict.reason,
        fast=deferral.fast,
        slow=slow,
        score=deferral.score,
        tau=deferral.tau,
        delta_ms=deferral.delta_ms,
        policy=deferral.policy,
        at_ms=now_ms,
        times=times,
        deferral=verdict.offset,
        deadline_ms=pending.deadline_ms,
    )


class DeadLetter(NamedTuple):
    """Why a record is put aside, for whoever looks at it later."""

    origin: str
    stage: str
    reason: Reason
    message: str
    time_ms: float


def encode_dead_letter(letter: DeadLetter, record: Any) -> Outgoing:
    """A dead letter: the record's own key, value and headers, and what was wrong with it."""
    value = record.value
    own: list[Header] = [
        (ORIGIN, letter.origin.encode()),
        ("hunch-stage", letter.stage.encode()),
        ("hunch-reason", letter.reason.encode()),
        ("hunch-error", WireError.__name__.encode()),
        ("hunch-message", letter.message.encode()[:1000]),
        ("hunch-time-ms", b"%d" % int(letter.time_ms)),
    ]
    if value is not None and len(value) > DEAD_LETTER_BYTES:
        own.append(("hunch-truncated-from", b"%d" % len(value)))
        value = value[:DEAD_LETTER_BYTES]
    key = record.key if len(record.key or b"") <= DEAD_LETTER_BYTES else None
    kept: list[Header] = []
    left = DEAD_LETTER_BYTES
    for name, text in record.headers:
        left -= len(name) + len(text or b"")
        if left >= 0 and not name.startswith("hunch-"):
            kept.append((name, text))
    return key, value, kept + own


def _span(value: object) -> str | None:
    is_span = isinstance(value, str) and _SPAN.fullmatch(value) is not None
    return value if is_span and isinstance(value, str) else None


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise ValueError(f"a {type(value).__name__} that is no text of up to {MAX_TEXT} characters")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"a {type(value).__name__} that is no number")
    if not 0 <= value < NUMBERS_END:
        raise ValueError(f"{value}, which is no number from 0 on")
    return value


def _answer(fields: Mapping[str, object], model: str) -> Answer:
    confidence = _number(fields["confidence"])
    if confidence > 1:
        raise ValueError(f"a confidence of {confidence}, which is over 1")
    return Answer(label=_text(fields["label"]), confidence=confidence, model=model)


def _object(text: bytes | None, what: str) -> dict[str, Any]:
    try:
        found = orjson.loads(text) if text is not None else None
    except orjson.JSONDecodeError as error:
        msg = f"{what[0].upper()}{what[1:]} is not JSON: {error}."
        raise WireError(msg) from error
    if not isinstance(found, dict):
        msg = f"{what[0].upper()}{what[1:]} is not a JSON object."
        raise WireError(msg)
    return found
