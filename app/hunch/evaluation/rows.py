"""Rows to record: where they come from, what their label is, and which of them are the same."""

import codecs
import hashlib
import struct
from array import array
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np
import orjson

from hunch.errors import DataError

Description = Mapping[str, Any]
"""What a source reads, as it stands in `record.json`."""
SEED = 0
"""Of the order in which the rows of a file are recorded."""
FLOAT32 = struct.Struct("<f")


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
    """The messages in a file, one a line, by chance in an order that is always the same.

    A file is often sorted by label, and a model's answers may depend a little on what else is in
    their batch: in a stage that is whatever comes.

    Args:
        path: of the file.
        labels: which every line is held against before anything is recorded.
    """

    def __init__(self, path: Path, labels: Labels) -> None:
        self._path = path
        self._labels = labels
        self._places = np.empty((0, 2), dtype=np.int64)

    async def begin(self, earlier: Description | None) -> Description:  # noqa: ARG002
        """Reads the file once, to the end; raises `DataError` for the first bad line."""
        checksum = hashlib.sha256()
        numbers, starts = array("q"), array("q")
        start = 0
        with self._opened() as file:
            for number, line in enumerate(file, start=1):
                checksum.update(line)
                if message := _message(line, start):
                    where = f"line {number} of {self._path}"
                    self._labels.of(parsed(message, where), where)
                    numbers.append(number)
                    starts.append(start)
                start += len(line)
        if not numbers:
            raise DataError(f"There is no row in {self._path}: name a file with messages.")
        # Draws of the generator itself stay the same whatever the version of NumPy.
        order = np.argsort(np.random.PCG64(SEED).random_raw(len(numbers)), kind="stable")
        self._places = np.stack([np.array(numbers)[order], np.array(starts)[order]], axis=1)
        name, rows = self._path.name, len(numbers)
        return {"kind": "file", "name": name, "sha256": checksum.hexdigest(), "rows": rows}

    async def rows(self, after: str | None) -> AsyncIterator[Row]:
        """The lines that are not blank; their origin is the number of the line, from 1."""
        numbers = self._places[:, 0]
        done = 0 if after is None else 1 + int(np.flatnonzero(numbers == int(after))[0])
        with self._opened() as file:
            for number, start in self._places[done:].tolist():
                file.seek(start)
                yield Row(str(number), _message(file.readline(), start))

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        try:
            with self._path.open("rb") as file:
                yield file
        except OSError as error:
            raise DataError(f"{self._path} cannot be read: {error.strerror}.") from error


def _message(line: bytes, start: int) -> bytes:
    """What is between the spaces of a line, and behind the mark that a file may begin with."""
    return (line if start else line.removeprefix(codecs.BOM_UTF8)).strip()


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
        fields: those that a model reads; letters' case and spaces in their texts do not count, nor
            how a number is written, nor what float32 does not hold of it.
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
    if isinstance(value, float):
        return _number(value)
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _number(value: float) -> float | int:
    """Whole where it is, so that 1 and 1.0 are the same; else as float32 has it."""
    if not value.is_integer():
        (value,) = FLOAT32.unpack(FLOAT32.pack(value))
    is_whole = value.is_integer() and -(2.0**63) <= value < 2.0**64
    return int(value) if is_whole else value


def _short(value: object) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= 60 else text[:60] + "…"
