"""Points of a sweep as they are found, one JSON line each, so that a second run goes on.

A line is `{"key", "tau", "delta_ms", "outcome"}`; the key is a checksum of all that it depends on,
so that points of other sweeps may stand in the same file. A last line that a killed process has
left half written is cut off.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import orjson
from pydantic import ValidationError

from hunch.errors import DataError
from hunch.evaluation.simulation.outcome import Outcome
from hunch.evaluation.simulator import Setting

START = b'{"key":"'


class KeptPoints:
    """The outcomes that are known, by key; new ones are appended at once."""

    def __init__(self, known: dict[str, Outcome], file: IO[bytes]) -> None:
        self._known = known
        self._file = file

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: str) -> Outcome | None:
        """The outcome, None where it is not known."""
        return self._known.get(key)

    def add(self, key: str, setting: Setting, outcome: Outcome) -> None:
        """Writes an outcome that was found."""
        self._known[key] = outcome
        line = {
            "key": key,
            "tau": setting.tau,
            "delta_ms": setting.delta_ms,
            "outcome": outcome.model_dump(mode="json"),
        }
        self._file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        self._file.flush()


@contextmanager
def kept(path: Path) -> Iterator[KeptPoints]:
    """The points in a file, made where there is none; raises `DataError` for another file."""
    try:
        content = path.read_bytes() if path.exists() else b""
        whole, newline, half = content.rpartition(b"\n")
        known = _known(whole, path)
        if not half.startswith(START[: len(half)]):
            raise _other(path)
        file = path.open("ab")
        file.truncate(len(whole) + len(newline))
    except OSError as error:
        raise DataError(f"{path} cannot be used: {error.strerror}.") from error
    with file:
        yield KeptPoints(known, file)


def _known(content: bytes, path: Path) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    for line in content.splitlines():
        try:
            said = orjson.loads(line)
            key, outcome = said["key"], said["outcome"]
        except (orjson.JSONDecodeError, TypeError, KeyError):
            raise _other(path) from None
        try:
            found[key] = Outcome.model_validate(outcome)
        except ValidationError:
            continue  # of another version: it is found again
    return found


def _other(path: Path) -> DataError:
    return DataError(f"{path} holds other things than points of a sweep: name another file.")
