"""The messages that a record was made of, found again in their file by what the models read."""

import codecs
from collections.abc import Collection
from pathlib import Path

import orjson

from hunch.errors import DataError
from hunch.evaluation.records import Record
from hunch.evaluation.rows import fingerprint


def inputs_of(path: Path, record: Record, fields: Collection[str]) -> list[bytes]:
    """A message for each row of a record, the first in the file that the models read as the same.

    Args:
        path: of a JSONL file.
        record: whose rows they are.
        fields: of a message that the models read.

    Raises `DataError` where the file lacks one.
    """
    wanted = set(record.inputs)
    found: dict[bytes, bytes] = {}
    try:
        with path.open("rb") as lines:
            for line in lines:
                value = line.removeprefix(codecs.BOM_UTF8).strip()
                document = _object(value)
                if document is not None:
                    mark = fingerprint(document, fields)
                    if mark in wanted:
                        found.setdefault(mark, value)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    if lacking := len(wanted) - len(found):
        raise DataError(
            f"{path} lacks {lacking:,} of the {len(wanted):,} inputs that {record.folder} was "
            "recorded from: name the file that was recorded."
        )
    return [found[mark] for mark in record.inputs]


def _object(line: bytes) -> dict[str, object] | None:
    try:
        document = orjson.loads(line) if line else None
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None
