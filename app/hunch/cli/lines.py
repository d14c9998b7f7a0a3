"""One record as one line: readable for people, complete as JSON for programs."""

import base64
from datetime import UTC, datetime
from typing import Any

import orjson
import typer

from hunch.kafka.client import Record

COLOURS = {"fast": "green", "slow": "blue", "fallback": "yellow", "error": "red"}
SHORT = 160


def printable(value: Any) -> Any:
    """The same, without characters that would steer a terminal: anybody may write them."""
    if isinstance(value, str):
        return "".join(
            one if one.isprintable() else one.encode("unicode_escape").decode() for one in value
        )
    if isinstance(value, dict):
        return {printable(key): printable(one) for key, one in value.items()}
    return [printable(one) for one in value] if isinstance(value, list) else value


def as_json(record: Record) -> bytes:
    """One JSON object: where the record stands, when, its key, headers and value.

    A value that is JSON is embedded as such; a key, header or value that is no text stands in
    base64 under `key_base64`, `value_base64`, or with the prefix `base64:` as a header.
    """
    line: dict[str, Any] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
    }
    line |= named("key", record.key, is_json=False)
    line["headers"] = {name: _header(value) for name, value in record.headers}
    line |= named("value", record.value, is_json=True)
    return orjson.dumps(line) + b"\n"


def as_text(record: Record, logical: str) -> str:
    """One line for a person; `logical` says which of Hunch's topics it comes from."""
    moment = datetime.fromtimestamp(record.timestamp / 1000, tz=UTC).astimezone()
    where = f"{record.partition}/{record.offset}"
    start = typer.style(f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d} {where:>9} ", dim=True)
    value = _object(record.value)
    headers = {name: text for name, text in record.headers}  # noqa: C416  a header may come twice
    if logical == "decisions" and "path" in value:
        return start + _decision(value)
    if logical == "deferrals":
        return start + _deferral(_object(headers.get("hunch")), headers)
    if logical in {"slow-results", "late-results"} and value:
        return start + _result(value, _object(headers.get("hunch")))
    if logical == "dead-letters":
        return start + _dead_letter(headers)
    key = "" if record.key is None else f"{_short(record.key)}  "
    return start + key + _short(record.value)


def _decision(value: dict[str, Any]) -> str:
    path = str(value["path"])
    coloured = typer.style(f"{path:<8}", fg=COLOURS.get(path))
    parts = [coloured, f"{value.get('reason', ''):<10}", _answer(value)]
    if path == "slow" and isinstance(value.get("fast"), dict):
        parts.append(f"(fast said {_answer(value['fast'])})")
    if value.get("error"):
        parts.append(str(value["error"]))
    parts.append(_names(value))
    return " ".join(parts)


def _deferral(head: dict[str, Any], headers: dict[str, bytes]) -> str:
    fast = head.get("fast")
    answer = _answer(fast) if isinstance(fast, dict) else "?"
    try:
        left = int(headers["hunch-deadline-ms"]) - float(head["deferred_ms"])
        until = f"deadline in {left:.0f} ms"
    except (KeyError, TypeError, ValueError):
        until = "no deadline"
    return f"fast says {answer}, {until} {_names(head)}"


def _result(value: dict[str, Any], head: dict[str, Any]) -> str:
    if value.get("shed"):
        said = typer.style("shed", fg="yellow")
    elif "label" in value:
        said = _answer(value)
    else:
        said = typer.style(f"error {value.get('error')}", fg="red")
    return f"{said} {_names(head)}"


def _dead_letter(headers: dict[str, bytes]) -> str:
    stage, reason, message, origin = (
        printable(headers.get(name, b"?").decode(errors="replace"))
        for name in ("hunch-stage", "hunch-reason", "hunch-message", "hunch-origin")
    )
    return f"{typer.style(reason, fg='red')} in {stage}: {message} {_names({'origin': origin})}"


def _answer(value: dict[str, Any]) -> str:
    confidence = value.get("confidence")
    share = f" {confidence:.2f}" if isinstance(confidence, int | float) else ""
    return f"{value.get('label')}{share}"


def _names(value: dict[str, Any]) -> str:
    known = f" id={value['id']}" if value.get("id") is not None else ""
    return typer.style(f"{value.get('origin', '')}{known}", dim=True)


def _object(text: bytes | None) -> dict[str, Any]:
    try:
        value = orjson.loads(text or b"")
    except orjson.JSONDecodeError:
        return {}
    shown: dict[str, Any] = printable(value) if isinstance(value, dict) else {}
    return shown


def _short(text: bytes | None) -> str:
    if text is None:
        return "(no value)"
    line: str = printable(" ".join(text[: SHORT * 4].decode(errors="replace").split()))
    return line if len(line) <= SHORT else line[:SHORT] + "…"


def named(name: str, content: bytes | None, *, is_json: bool) -> dict[str, Any]:
    """Bytes as a field of a JSON object: as text, as the JSON that they are, or in base64."""
    if content is None:
        return {name: None}
    if is_json:
        try:
            return {name: orjson.loads(content)}
        except orjson.JSONDecodeError:
            pass
    try:
        return {name: content.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(content).decode()}


def _header(content: bytes | None) -> str | None:
    if content is None:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return f"base64:{base64.b64encode(content).decode()}"
