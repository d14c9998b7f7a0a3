"""Messages out of a JSONL or CSV file, one at a time, bad lines as values."""

import csv
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import orjson

FORMATS = ("jsonl", "csv")


class Message(NamedTuple):
    """A key and a value as Kafka gets them."""

    key: bytes | None
    value: bytes


class BadLine(NamedTuple):
    """A line that is no message; `number` counts from 1."""

    number: int
    why: str


def messages(
    lines: Iterable[str],
    form: str,
    *,
    key_field: str | None = None,
    id_field: str | None = None,
    max_bytes: int,
) -> Iterator[Message | BadLine]:
    """Every line that is not blank as a message or as what is wrong with it.

    A JSONL value keeps its bytes unless `id_field` gives it another `id`. CSV cells that are JSON
    numbers, lists or objects are sent as such, all others as text.
    """
    for number, item in _objects(lines, form):
        if isinstance(item, str):
            yield BadLine(number, item)
            continue
        fields, value = item
        missing = [name for name in (key_field, id_field) if name and name not in fields]
        if missing:
            yield BadLine(number, f"it has no field {missing[0]!r}")
            continue
        if id_field not in {None, "id"}:
            value = orjson.dumps(fields | {"id": fields[id_field]})
        key = None if key_field is None else _as_key(fields[key_field])
        size = len(value) + len(key or b"")
        if size > max_bytes:
            yield BadLine(number, f"it has {size} bytes, max_record_bytes is {max_bytes}")
        else:
            yield Message(key, value)


Parsed = tuple[dict[str, object], bytes] | str


def _objects(lines: Iterable[str], form: str) -> Iterator[tuple[int, Parsed]]:
    return _from_csv(lines) if form == "csv" else _from_jsonl(lines)


def _from_jsonl(lines: Iterable[str]) -> Iterator[tuple[int, Parsed]]:
    for number, line in enumerate(lines, start=1):
        # surrogates stand for bytes that are no UTF-8: they go to the parser as they were
        value = line.strip().encode("utf-8", "surrogateescape")
        if not value:
            continue
        try:
            fields = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            yield number, f"it is not JSON ({error})"
            continue
        yield number, (fields, value) if isinstance(fields, dict) else "it is not a JSON object"


def _from_csv(lines: Iterable[str]) -> Iterator[tuple[int, Parsed]]:
    rows = csv.reader(lines)
    header: list[str] | None = None
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            yield rows.line_num, f"it is not CSV ({error})"
            continue
        if row is None:
            return
        if not row:
            continue
        if header is None:
            header = [name.removeprefix("\ufeff").strip() for name in row]
        elif len(row) != len(header):
            yield rows.line_num, f"it has {len(row)} cells, the first line has {len(header)}"
        else:
            fields = {name: _cell(cell) for name, cell in zip(header, row, strict=True)}
            try:
                yield rows.line_num, (fields, orjson.dumps(fields))
            except orjson.JSONEncodeError:
                yield rows.line_num, "it is not UTF-8"


def _cell(cell: str) -> object:
    if cell[:1] in "{[-0123456789":
        try:
            return orjson.loads(cell)
        except orjson.JSONDecodeError:
            return cell
    return cell


def _as_key(value: object) -> bytes | None:
    if value is None:
        return None
    return value.encode() if isinstance(value, str) else orjson.dumps(value)
