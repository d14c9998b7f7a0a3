"""`Recorder`: both models over all rows of a source, into a folder, in steps that survive a kill.

The time that each batch size takes comes first. Then rows are answered in batches of
`max_batch_size` in the order of the source, and written in parts of `ROWS_A_PART`: a recorder that
is started again goes on behind the last whole part, and ends with the same record as one that was
never stopped. A row on which a model fails has no answer of it, and spoils no other.
"""

import itertools
import os
import platform
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from hunch import __version__
from hunch.clock import Clock, utc
from hunch.errors import DataError, InferenceFailed
from hunch.evaluation.parts import Folder, Part
from hunch.evaluation.record_file import FileEntry, RecordFile, TopicEntry
from hunch.evaluation.rows import (
    Labels,
    Row,
    Source,
    fingerprint,
    parsed,
    raw_fingerprint,
)
from hunch.inference.halving import by_halves
from hunch.inference.onnx import OnnxPredictor
from hunch.inference.repository import StoredModel

ROWS_A_PART = 512
TIMED_RUNS = 20
"""Runs of each batch size whose time is kept, after one that is not."""
LEAST_TIMED_ROWS = 256
"""So many rows take turns in the timed batches, or as many as there are."""


@dataclass(frozen=True, slots=True)
class Side:
    """A model of the pair: as it lies in its folder, and as it answers."""

    stored: StoredModel
    predictor: OnnxPredictor


class Recorder:
    """Records what both models answer.

    Args:
        folder: where to; a record that is not finished there is continued.
        source: of the rows.
        sides: `fast` and `slow`, with predictors that are started.
        labels: finds the label of a row.
        max_batch_size: of the batches that are answered, and the largest that is timed.
        clock: for the date of the record.
        on_progress: is told the rows that are recorded by now, and how many there will be, if
            known.
    """

    def __init__(
        self,
        folder: Folder,
        source: Source,
        sides: Mapping[str, Side],
        *,
        labels: Labels,
        max_batch_size: int,
        clock: Clock,
        on_progress: Callable[[int, int | None], None],
    ) -> None:
        self._folder = folder
        self._source = source
        self._sides = sides
        self._labels = labels
        self._max_batch_size = max_batch_size
        self._clock = clock
        self._on_progress = on_progress
        self._fields = frozenset[str]().union(*(it.predictor.fields for it in sides.values()))

    async def run(self) -> None:
        """Records what is missing; raises `DataError` where the folder is of something else."""
        try:
            await self._run()
        finally:
            self._folder.close()

    async def _run(self) -> None:
        said = await self._begin()
        if not self._folder.has_service():
            self._folder.write_service(await self._timed())
        done, latest = self._done()
        total = said.source.rows if isinstance(said.source, FileEntry) else None
        self._on_progress(done, total)
        async for rows in _chunks(self._source.rows(latest), ROWS_A_PART):
            self._folder.append(await self._answered(rows))
            done += len(rows)
            self._on_progress(done, total)
        if not said.is_complete:
            self._folder.describe(said.model_copy(update={"rows": done, "is_complete": True}))

    async def _begin(self) -> RecordFile:
        """What `record.json` says: as it was found and compared, or as it is written."""
        earlier = self._folder.open()
        source = await self._source.begin(None if earlier is None else earlier.source.model_dump())
        made = RecordFile.model_validate(
            {
                "models": {name: _model(side) for name, side in self._sides.items()},
                "label_field": self._labels.field,
                "max_batch_size": self._max_batch_size,
                "source": source,
                "created": utc(self._clock.now_ms()),
                "made_by": _made_by(self._sides),
                "is_complete": False,
            }
        )
        if earlier is None:
            self._folder.begin(made)
            return made
        if other := _other(earlier, made):
            raise DataError(
                f"The folder {self._folder.path} holds a record {other}: name another one with "
                "--out, or delete it."
            )
        return earlier

    def _done(self) -> tuple[int, str | None]:
        """How many rows are recorded, and the origin of the last one."""
        done, latest = 0, None
        for path in self._folder.parts():
            origins = self._folder.read(path).origins
            done, latest = done + len(origins), origins[-1]
        return done, latest

    async def _answered(self, rows: Sequence[Row]) -> Part:
        documents = [_document(row) for row in rows]
        answers = {
            name: await self._answers(side.predictor, rows) for name, side in self._sides.items()
        }
        return Part(
            origins=[row.origin for row in rows],
            inputs=[
                raw_fingerprint(row.value) if it is None else fingerprint(it, self._fields)
                for row, it in zip(rows, documents, strict=True)
            ],
            labels=[
                None if it is None else self._labels.of(it, f"row {row.origin}")
                for row, it in zip(rows, documents, strict=True)
            ],
            scores={name: scores for name, (scores, _) in answers.items()},
            errors={name: errors for name, (_, errors) in answers.items()},
        )

    async def _answers(
        self, predictor: OnnxPredictor, rows: Sequence[Row]
    ) -> tuple[NDArray[np.float32], list[str | None]]:
        scores: list[NDArray[np.float32]] = []
        errors: list[str | None] = []
        for start in range(0, len(rows), self._max_batch_size):
            batch = [row.value for row in rows[start : start + self._max_batch_size]]
            for values, found in await by_halves(batch, predictor.score):
                if isinstance(found, InferenceFailed):
                    answer = np.full((1, len(predictor.labels)), np.nan, dtype=np.float32)
                    errors.append(str(found))
                else:
                    answer = found.scores.copy()
                    answer[list(found.errors)] = np.nan
                    errors += [found.errors.get(row, (None, None))[1] for row in range(len(values))]
                scores.append(answer)
        return np.concatenate(scores), errors

    async def _timed(self) -> list[tuple[str, int, float]]:
        """Side, batch size and milliseconds of each run: decoding and inference together."""
        samples: list[tuple[str, int, float]] = []
        for name, side in self._sides.items():
            found = await self._timed_rows(side.predictor)
            if not found:
                continue
            values = itertools.cycle(found)
            for size in _sizes(self._max_batch_size):
                for run in range(TIMED_RUNS + 1):
                    batch = list(itertools.islice(values, size))
                    elapsed_ms = (await side.predictor.predict(batch)).elapsed_ms
                    if run:
                        samples.append((name, size, elapsed_ms))
        return samples

    async def _timed_rows(self, predictor: OnnxPredictor) -> list[bytes | None]:
        """Messages that the model answers, from the first rows among which there are any."""
        is_empty = True
        async for rows in _chunks(
            self._source.rows(None), max(LEAST_TIMED_ROWS, self._max_batch_size)
        ):
            is_empty = False
            _, errors = await self._answers(predictor, rows)
            found = [row.value for row, why in zip(rows, errors, strict=True) if why is None]
            if found:
                return found
        if is_empty:
            raise DataError("There is no row to record: the source is empty.")
        return []


async def _chunks(rows: AsyncIterator[Row], size: int) -> AsyncIterator[list[Row]]:
    chunk: list[Row] = []
    async for row in rows:
        chunk.append(row)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _sizes(largest: int) -> list[int]:
    """1, 2, 4, … and the largest."""
    return sorted({largest, *(2**power for power in range(largest.bit_length()))})


def _document(row: Row) -> dict[str, Any] | None:
    """The fields of a message; None for what the models will not answer either."""
    try:
        return parsed(row.value or b"", "")
    except DataError:
        return None


def _model(side: Side) -> dict[str, Any]:
    stored = side.stored
    return {
        "name": stored.name,
        "version": stored.version,
        "sha256": stored.sha256,
        "labels": list(stored.labels),
        "temperature": stored.temperature,
        "kind": side.predictor.kind,
    }


def _made_by(sides: Mapping[str, Side]) -> dict[str, Any]:
    return {
        "hunch": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "onnxruntime": ort.__version__,
        "machine": platform.platform(),
        "cores": os.cpu_count(),
        "providers": {name: list(side.predictor.providers) for name, side in sides.items()},
    }


def _other(earlier: RecordFile, made: RecordFile) -> str | None:
    """What an earlier record is of that this one is not; None where one continues the other."""
    if earlier.models != made.models:
        pair = " and ".join(
            f"{model.name}@{model.version} ({model.sha256[:8]})"
            for model in (earlier.models.fast, earlier.models.slow)
        )
        return f"of other models, {pair}"
    for what in ("label_field", "max_batch_size"):
        if getattr(earlier, what) != getattr(made, what):
            return f"made with another {what}, {getattr(earlier, what)}"
    if _nameless(earlier.source) != _nameless(made.source):
        source = earlier.source
        name = source.name if isinstance(source, FileEntry) else f"the topic {source.topic}"
        return f"of other data, {name}"
    return None


def _nameless(source: FileEntry | TopicEntry) -> FileEntry | TopicEntry:
    """Without the name of a file: another one may hold the same."""
    return source.model_copy(update={"name": ""}) if isinstance(source, FileEntry) else source
