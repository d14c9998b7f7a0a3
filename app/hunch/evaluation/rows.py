"""Rows to record: where they come from, what their label is, and which of them are the same."""

import hashlib
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import orjson

from hunch.errors import DataError

Description = Mapping[str, Any]
"""What a source reads, as it stands in `record.json`."""


class Row(NamedTuple):
    """One message, and where it stands in its source."""

    origin: str
    value: bytes | None


class Source(Protocol):
    """Where the rows of a record come from; two readings give the same rows in the same order."""

    async def begin(self, earlier: Description | None) -> Description:
        """What this source reads; called once, before `rows`.

        Args:
            earlier: what a record says that is to be continued; a source that grows reads no more
                than that.

        Raises `DataError` where there is nothing that can be read.
        """

    def rows(self, after: str | None) -> AsyncIterator[Row]:
        """All rows behind the one of that origin; from the first one with None."""


class Labels:
    """The label of a message, checked against those that the models know.

    Args:
        field: of the message; may be absent in any of them.
        known: labels of the models.
    """

    def __init__(self, field: str, known: Collection[str]) -> None:
        self.field = field
        self._known = frozenset(known)

    def of(self, document: Mapping[str, Any], where: str) -> str | None:
        """The label, None without one; raises `DataError` for one that no model knows."""
        found = document.get(self.field)
        if found is None:
            return None
        label = str(found) if type(found) is int else found
        if type(label) is not str:
            raise DataError(
                f"The field {self.field!r} in {where} is no label but {_short(found)}: name the "
                "field of the labels with --label-field."
            )
        if label not in self._known:
            raise DataError(
                f"The label {label[:100]!r} in {where} is unknown to the models: correct it, or "
                "name the field of the labels with --label-field."
            )
        return label


class JsonLines:
    """The messages in a file, one a line.

    Args:
        path: of the file.
        labels: which every line is held against before anything is recorded.
    """

    def __init__(self, path: Path, labels: Labels) -> None:
        self._path = path
        self._labels = labels

    async def begin(self, earlier: Description | None) -> Description:  # noqa: ARG002
        """Reads the file once, to the end; raises `DataError` for the first bad line."""
        checksum = hashlib.sha256()
        rows = 0
        for origin, line in self._lines(checksum):
            where = f"line {origin} of {self._path}"
            self._labels.of(parsed(line, where), where)
            rows += 1
        if not rows:
            raise DataError(f"There is no row in {self._path}: name a file with messages.")
        name = self._path.name
        return {"kind": "file", "name": name, "sha256": checksum.hexdigest(), "rows": rows}

    async def rows(self, after: str | None) -> AsyncIterator[Row]:
        """The lines that are not blank; their origin is the number of the line, from 1."""
        done = 0 if after is None else int(after)
        for origin, line in self._lines():
            if int(origin) > done:
                yield Row(origin, line)

    def _lines(self, checksum: Any = None) -> Iterator[tuple[str, bytes]]:
        try:
            with self._path.open("rb") as file:
                for number, line in enumerate(file, start=1):
                    if checksum is not None:
                        checksum.update(line)
                    if stripped := line.strip():
                        yield str(number), stripped
        except OSError as error:
            raise DataError(f"{self._path} cannot be read: {error.strerror}.") from error


def parsed(line: bytes, where: str) -> dict[str, Any]:
    """The fields of a message; raises `DataError` for what is no JSON object."""
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise DataError(
            f"There is no message in {where}: it is not JSON ({error}). Correct it or leave it out."
        ) from None
    if type(document) is not dict:
        raise DataError(
            f"There is no message in {where}: it is JSON but not an object. Correct it or leave it "
            "out."
        )
    return document


def fingerprint(document: Mapping[str, Any], fields: Collection[str]) -> bytes:
    """16 bytes that are equal for inputs which the models cannot be expected to tell apart.

    Args:
        document: a message.
        fields: those that a model reads; letters' case and spaces in their texts do not count.
    """
    read = {field: _plain(document.get(field)) for field in fields}
    return _digest(orjson.dumps(read, option=orjson.OPT_SORT_KEYS))


def raw_fingerprint(value: bytes | None) -> bytes:
    """The same for what is no JSON object."""
    return _digest(b"not a message:" + (value or b""))


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return " ".join(value.lower().split())
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _short(value: object) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= 60 else text[:60] + "…"
