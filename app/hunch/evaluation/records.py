"""`read`: a record as arrays, ready to choose τ by.

Each input counts once, whatever its rows: the p-values of a guarantee take rows to be independent.
Rows without an answer of both models are left out, as no τ decides them.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from hunch.errors import DataError
from hunch.evaluation.parts import SIDES, Folder, Part
from hunch.inference.outputs import OutputKind, calibrated

NO_LABEL = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """What one model put out for n rows, and which model it was.

    Attributes:
        name: of the model, without its version.
        version: of the model.
        sha256: of its ONNX file.
        kind: what the scores are.
        temperature: the model's own, not applied to the scores.
        scores: float32 [n, k], as they are, in the order of the fast model's labels.
    """

    name: str
    version: str
    sha256: str
    kind: OutputKind
    temperature: float
    scores: NDArray[np.float32]

    @property
    def best(self) -> NDArray[np.intp]:
        """[n], the column of the best label; of equal ones the first. No temperature changes it."""
        found: NDArray[np.intp] = self.scores.argmax(axis=1)
        return found

    @property
    def log_scores(self) -> NDArray[np.float32]:
        """[n, k], what a temperature divides."""
        if self.kind == "logits":
            return self.scores
        with np.errstate(divide="ignore"):
            logs: NDArray[np.float32] = np.log(self.scores)
        return logs

    def probabilities(
        self, temperature: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float64] | None]:
        """As a stage computes them, with the energies where the scores are logits."""
        return calibrated(self.scores, self.kind, temperature)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """n rows that both models answered, no input twice.

    Attributes:
        folder: where it lies.
        labels: the k labels, in the order of the fast model's columns.
        inputs: fingerprints, length n.
        right: int64 [n], the column of the right label, `NO_LABEL` where there is none.
        fast: the fast model's outputs.
        slow: the slow model's.
        sha256: of all that was recorded.
        repeats: rows left out because their input was there before.
        failed: side → rows left out because that model has no answer.
        message_ms: side → the model's time for a message, in the batch size that suits it best.
    """

    folder: Path
    labels: tuple[str, ...]
    inputs: Sequence[bytes]
    right: NDArray[np.int64]
    fast: Outputs
    slow: Outputs
    sha256: str
    repeats: int
    failed: Mapping[str, int]
    message_ms: Mapping[str, float]

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def is_labelled(self) -> NDArray[np.bool_]:
        """[n], whether there is a right label."""
        found: NDArray[np.bool_] = self.right != NO_LABEL
        return found

    def left_out(self) -> list[str]:
        """A sentence for each reason why rows are left out."""
        told = [
            f"Left out because the {side} model has no answer: {count:,} of the rows."
            for side, count in self.failed.items()
            if count
        ]
        if self.repeats:
            told.append(f"Left out because each input counts once: {self.repeats:,} of the rows.")
        return told

    def part(self, rows: NDArray[np.intp]) -> "Record":
        """Some of the rows."""
        return replace(
            self,
            inputs=[self.inputs[row] for row in rows],
            right=self.right[rows],
            fast=replace(self.fast, scores=self.fast.scores[rows]),
            slow=replace(self.slow, scores=self.slow.scores[rows]),
        )


def read(path: Path) -> Record:
    """The record in a folder; raises `DataError` where it is not whole, or has no answered row."""
    folder = Folder(path)
    said = folder.description()
    if not said["is_complete"]:
        raise DataError(
            f"The record in {path} is not finished: run the same `hunch record` again, it goes on "
            "where it stopped."
        )
    parts = [folder.read(part) for part in folder.parts()]
    inputs = [it for part in parts for it in part.inputs]
    if len(inputs) != said["rows"]:
        raise DataError(f"{path} holds {len(inputs)} of {said['rows']} rows: record again.")
    models = said["models"]
    labels = tuple(models["fast"]["labels"])
    scores = {side: np.concatenate([part.scores[side] for part in parts]) for side in SIDES}
    for side, found in scores.items():
        if found.shape[1] != len(labels):
            raise DataError(
                f"{path} has {found.shape[1]} columns of the {side} model: record again."
            )
    scores["slow"] = scores["slow"][:, _order(labels, models["slow"]["labels"], path)]
    right = _columns([label for part in parts for label in part.labels], labels, path)
    kept, repeats, failed = _kept(inputs, scores)
    if not len(kept):
        raise DataError(
            f"No row in {path} has an answer of both models; the first says: {_why(parts)}"
        )
    whole = Record(
        folder=path,
        labels=labels,
        inputs=inputs,
        right=right,
        fast=_outputs(models["fast"], scores["fast"]),
        slow=_outputs(models["slow"], scores["slow"]),
        sha256=_checksum(models, inputs, right, scores),
        repeats=repeats,
        failed=failed,
        message_ms={
            side: min(ms / size for size, ms in sizes.items())
            for side, sizes in service_times(path).items()
        },
    )
    return whole.part(kept)


def service_times(path: Path) -> Mapping[str, Mapping[int, float]]:
    """Side → batch size → the median time of a batch in milliseconds."""
    return {
        side: {size: float(np.median(times)) for size, times in sizes.items()}
        for side, sizes in service_samples(path).items()
    }


def service_samples(path: Path) -> Mapping[str, Mapping[int, Sequence[float]]]:
    """Side → batch size → the time of each timed batch in milliseconds."""
    samples: dict[str, dict[int, list[float]]] = {side: {} for side in SIDES}
    for side, size, elapsed_ms in Folder(path).service():
        samples[side].setdefault(size, []).append(elapsed_ms)
    return samples


def _outputs(model: Mapping[str, Any], scores: NDArray[np.float32]) -> Outputs:
    return Outputs(
        name=model["name"],
        version=model["version"],
        sha256=model["sha256"],
        kind=model["kind"],
        temperature=model["temperature"],
        scores=scores,
    )


def _order(labels: Sequence[str], own: Sequence[str], path: Path) -> list[int]:
    """The model's column of each of the labels."""
    if set(labels) != set(own):
        raise DataError(f"The two models in {path} have different labels: record again.")
    column_of = {label: column for column, label in enumerate(own)}
    return [column_of[label] for label in labels]


def _columns(found: Sequence[str | None], labels: Sequence[str], path: Path) -> NDArray[np.int64]:
    column_of: dict[str | None, int] = {label: column for column, label in enumerate(labels)}
    column_of[None] = NO_LABEL
    unknown = sorted({label for label in found if label not in column_of and label is not None})
    if unknown:
        raise DataError(
            f"The record in {path} has the label {unknown[0][:100]!r}, which the models do not "
            "know: correct the data and record again."
        )
    return np.array([column_of[label] for label in found], dtype=np.int64)


def _kept(
    inputs: Sequence[bytes], scores: Mapping[str, NDArray[np.float32]]
) -> tuple[NDArray[np.intp], int, dict[str, int]]:
    """Rows that count, repeats among those with an answer, and rows without one by side."""
    is_sound = {side: ~np.isnan(found).any(axis=1) for side, found in scores.items()}
    failed = {side: int((~sound).sum()) for side, sound in is_sound.items()}
    answered = np.flatnonzero(is_sound["fast"] & is_sound["slow"])
    first: dict[bytes, int] = {}
    for row in answered.tolist():
        first.setdefault(inputs[row], row)
    return np.array(list(first.values()), dtype=np.intp), len(answered) - len(first), failed


def _why(parts: Sequence[Part]) -> str:
    told = (why for part in parts for side in SIDES for why in part.errors[side] if why)
    return next(told, "NaN.")


def _checksum(
    models: Mapping[str, Any],
    inputs: Sequence[bytes],
    right: NDArray[np.int64],
    scores: Mapping[str, NDArray[np.float32]],
) -> str:
    whole = hashlib.sha256(orjson.dumps(models, option=orjson.OPT_SORT_KEYS))
    whole.update(b"".join(inputs))
    for column in (right, scores["fast"], scores["slow"]):
        whole.update(np.ascontiguousarray(column).tobytes())
    return whole.hexdigest()
