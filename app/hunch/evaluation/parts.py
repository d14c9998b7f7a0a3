"""The files of a record: a folder with `record.json` and Parquet parts, each written as a whole.

Whoever writes locks the folder itself: the lock ends with its process, whatever ends that.

record.json          what was recorded of which models, where; `is_complete` once all is there
part-00000.parquet   rows: origin, input (fingerprint), label, and of either model its scores
as they are (NaN where it has none) and why it has none
service.parquet      samples of the time that either model takes: model, batch_size, ms
"""

import fcntl
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hunch.errors import DataError
from hunch.evaluation.files import write_whole
from hunch.evaluation.record_file import RecordFile, checked

DESCRIPTION, SERVICE = "record.json", "service.parquet"
COLUMNS = ("origin", "input", "label", "fast", "fast_error", "slow", "slow_error")
SERVICE_COLUMNS = ("model", "batch_size", "ms")
SIDES = ("fast", "slow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """n rows with what the models answered, columns of equal length.

    Attributes:
        origins: where each row stands in its source.
        inputs: fingerprints of 16 bytes.
        labels: None where there is none.
        scores: side → float32 [n, k], NaN in rows without an answer.
        errors: side → why a row has no answer, else None.
    """

    origins: Sequence[str]
    inputs: Sequence[bytes]
    labels: Sequence[str | None]
    scores: Mapping[str, NDArray[np.float32]]
    errors: Mapping[str, Sequence[str | None]]


class Folder:
    """A record in a folder, finished or not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    def open(self) -> RecordFile | None:
        """What `record.json` says, None in an empty or missing folder.

        Locks the folder, and removes what a writer that was killed has left half done. Raises
        `DataError` for a folder that holds other things, or that another process writes to.
        """
        try:
            self._lock_it()
            names = [entry.name for entry in self.path.iterdir()]
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DataError(f"The folder {self.path} cannot be used: {error.strerror}.") from error
        if DESCRIPTION not in names and any(not name.endswith(".tmp") for name in names):
            raise DataError(
                f"The folder {self.path} holds other things than a record: name a new one with "
                "--out."
            )
        for leftover in self.path.glob("*.tmp"):
            leftover.unlink()
        return self.description() if DESCRIPTION in names else None

    def begin(self, said: RecordFile) -> None:
        """Writes the first `record.json`, and makes and locks the folder where there was none.

        Raises `DataError` where another process has begun there meanwhile.
        """
        if self._lock is None:
            self._make()
            self._lock_it()
            if (self.path / DESCRIPTION).exists():
                raise self._is_taken()
        self.describe(said)

    def close(self) -> None:
        """Lets go of the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def description(self) -> RecordFile:
        """What `record.json` says; raises `DataError` where it cannot be read."""
        path = self.path / DESCRIPTION
        try:
            said = orjson.loads(path.read_bytes())
        except FileNotFoundError:
            raise DataError(
                f"There is no record in {self.path}: make one with `hunch record`."
            ) from None
        except (OSError, orjson.JSONDecodeError) as error:
            raise DataError(f"{path} cannot be read: {error}.") from error
        return checked(said, path)

    def describe(self, said: RecordFile) -> None:
        """Writes `record.json`, and makes the folder where there is none."""
        self._make()
        contents = said.model_dump(mode="json", exclude_none=True)
        self._write(DESCRIPTION, orjson.dumps(contents, option=orjson.OPT_INDENT_2) + b"\n")

    def parts(self) -> list[Path]:
        """The parts in their order; raises `DataError` where one between them is missing."""
        paths = sorted(self.path.glob("part-*.parquet"))
        expected = [self.path / _name(number) for number in range(len(paths))]
        if paths != expected:
            lost = next(path for path in expected if path not in paths)
            raise DataError(f"{lost} is missing: delete the parts after it and record again.")
        return paths

    def append(self, part: Part) -> None:
        """Writes the next part."""
        columns: dict[str, pa.Array] = {
            "origin": pa.array(part.origins, pa.string()),
            "input": pa.array(part.inputs, pa.binary(16)),
            "label": pa.array(part.labels, pa.string()),
        }
        for side in SIDES:
            scores = part.scores[side]
            columns[side] = pa.FixedSizeListArray.from_arrays(
                pa.array(scores.ravel(), pa.float32()), scores.shape[1]
            )
            columns[f"{side}_error"] = pa.array(part.errors[side], pa.string())
        self._write_table(_name(len(self.parts())), pa.table(columns))

    def read(self, path: Path) -> Part:
        """One part; raises `DataError` where it cannot be read."""
        table = _read(path, COLUMNS)
        return Part(
            origins=table["origin"].to_pylist(),
            inputs=table["input"].to_pylist(),
            labels=table["label"].to_pylist(),
            scores={side: _matrix(table[side]) for side in SIDES},
            errors={side: table[f"{side}_error"].to_pylist() for side in SIDES},
        )

    def has_service(self) -> bool:
        """Whether service times were taken."""
        return (self.path / SERVICE).is_file()

    def write_service(self, samples: Sequence[tuple[str, int, float]]) -> None:
        """Writes side, batch size and milliseconds of each timed run."""
        columns = {
            "model": pa.array([side for side, _, _ in samples], pa.string()),
            "batch_size": pa.array([size for _, size, _ in samples], pa.int32()),
            "ms": pa.array([elapsed_ms for _, _, elapsed_ms in samples], pa.float64()),
        }
        self._write_table(SERVICE, pa.table(columns))

    def service(self) -> list[tuple[str, int, float]]:
        """What `write_service` has written."""
        table = _read(self.path / SERVICE, SERVICE_COLUMNS)
        return list(zip(*(table[name].to_pylist() for name in SERVICE_COLUMNS), strict=True))

    def _make(self) -> None:
        if self.path.is_dir():
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"The folder {self.path} cannot be made: {error.strerror}.") from error

    def _lock_it(self) -> None:
        """Where the file system has no locks for folders there is none."""
        if self._lock is not None:
            return
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(folder)
            raise self._is_taken() from None
        except OSError:
            os.close(folder)
            return
        self._lock = folder

    def _is_taken(self) -> DataError:
        return DataError(
            f"Another `hunch record` writes to {self.path}: wait until it is done, or name another "
            "folder with --out."
        )

    def _write_table(self, name: str, table: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        self._write(name, sink.getvalue().to_pybytes())

    def _write(self, name: str, content: bytes) -> None:
        try:
            write_whole(self.path / name, content)
        except OSError as error:
            raise DataError(f"{self.path / name} cannot be written: {error.strerror}.") from error


def _name(number: int) -> str:
    return f"part-{number:05d}.parquet"


def _read(path: Path, columns: Sequence[str]) -> pa.Table:
    try:
        return pq.read_table(path, columns=list(columns)).select(list(columns))
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DataError(
            f"{path} is not as `hunch record` wrote it: delete the folder and record again."
        ) from error


def _matrix(column: pa.ChunkedArray) -> NDArray[np.float32]:
    width = column.type.list_size
    values = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    found: NDArray[np.float32] = values.reshape(len(column), width)
    return found
