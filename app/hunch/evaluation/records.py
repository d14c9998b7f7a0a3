"""`read`: a record as arrays, ready to choose τ by.

Each input counts once, whatever its rows: the p-values of a guarantee take rows to be independent.
Rows that the fast model does not answer are left out, as no τ decides them. Those that only the
slow model does not answer stay, as they exit like any other: it is wrong there, and agrees with
nobody.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from hunch.errors import DataError
from hunch.evaluation.parts import SIDES, Folder, Part
from hunch.evaluation.record_file import ModelEntries, ModelEntry
from hunch.evaluation.repeats import NO_LABEL, kept
from hunch.inference.outputs import OutputKind, calibrated

NO_ANSWER = -2
"""The best label of a row without an answer: equal to no label, and to no other model's best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """What one model put out for n rows, and which model it was.

    Attributes:
        name: of the model, without its version.
        version: of the model.
        sha256: of all that its scores depend on.
        kind: what the scores are.
        temperature: the model's own, not applied to the scores.
        scores: float32 [n, k], as they are, in the order of the model's own columns; NaN in rows
            without an answer.
        columns: [k], of each own column the place of its label among the record's labels.
    """

    name: str
    version: str
    sha256: str
    kind: OutputKind
    temperature: float
    scores: NDArray[np.float32]
    columns: NDArray[np.intp]

    @property
    def answered(self) -> NDArray[np.bool_]:
        """[n], whether there is an answer."""
        return np.logical_not(np.isnan(self.scores).any(axis=1))

    def best(self, temperature: float) -> NDArray[np.intp]:
        """[n], the column of the label that a stage answers with, `NO_ANSWER` without an answer.

        As in a stage it is the most likely at this temperature, of equally likely ones the first of
        the model's own columns: another temperature may round two labels to the same probability.
        """
        answered = self.answered
        found = np.full(len(self.scores), NO_ANSWER, dtype=np.intp)
        likely, _ = calibrated(self.scores[answered], self.kind, temperature)
        found[answered] = self.columns[likely.argmax(axis=1)]
        return found

    @property
    def log_scores(self) -> NDArray[np.float32]:
        """[n, k], what a temperature divides, in the order of the record's labels."""
        own = np.argsort(self.columns)
        if self.kind == "logits":
            return self.scores[:, own]
        with np.errstate(divide="ignore"):
            logs: NDArray[np.float32] = np.log(self.scores[:, own])
        return logs

    def probabilities(
        self, temperature: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float64] | None]:
        """As a stage computes them, with the energies where the scores are logits."""
        return calibrated(self.scores, self.kind, temperature)

    def part(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "Outputs":
        """Some of the rows."""
        return replace(self, scores=self.scores[rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """n rows that the fast model answered, no input twice.

    Attributes:
        folder: where it lies.
        labels: the k labels, in the order of the fast model's columns.
        inputs: fingerprints, length n.
        counts: int64 [n], how many of the rows that the fast model answered have this input.
        right: int64 [n], the column of the right label, `NO_LABEL` where there is none.
        fast: the fast model's outputs, an answer in each row.
        slow: the slow model's.
        sha256: of all that was recorded.
        repeats: rows left out because another one stands for their input.
        contradictions: for each input whose rows have different labels, the origins of two of them.
        failed: side → rows without an answer of that model; those of the fast one are left out.
        service_ms: side → batch size → the median time of a batch.
    """

    folder: Path
    labels: tuple[str, ...]
    inputs: Sequence[bytes]
    counts: NDArray[np.int64]
    right: NDArray[np.int64]
    fast: Outputs
    slow: Outputs
    sha256: str
    repeats: int
    contradictions: Sequence[tuple[str, str]]
    failed: Mapping[str, int]
    service_ms: Mapping[str, Mapping[int, float]]

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def is_labelled(self) -> NDArray[np.bool_]:
        """[n], whether there is a right label."""
        found: NDArray[np.bool_] = self.right != NO_LABEL
        return found

    @property
    def message_ms(self) -> Mapping[str, float]:
        """Side → the model's time for a message, in the batch size that suits it best."""
        return {
            side: min(ms / size for size, ms in sizes.items())
            for side, sizes in self.service_ms.items()
        }

    def left_out(self) -> list[str]:
        """A sentence for each reason why rows are left out, or count otherwise than they stand."""
        told = []
        if count := self.failed["fast"]:
            told.append(f"Left out because the fast model has no answer: {count:,} of the rows.")
        if count := int((~self.slow.answered).sum()):
            told.append(
                f"The slow model has no answer to {count:,} of the {len(self):,} inputs: they "
                "count as wrong answers of it."
            )
        if self.repeats:
            told.append(f"Left out because each input counts once: {self.repeats:,} of the rows.")
        if self.contradictions:
            one, other = self.contradictions[0]
            told.append(
                f"Rows of the same input have different labels, in {len(self.contradictions):,} of "
                f"the inputs, as rows {one} and {other} do: the label that most of them have "
                "counts, of equally many the one recorded first."
            )
        return told

    def part(self, rows: NDArray[np.intp]) -> "Record":
        """Some of the rows."""
        return replace(
            self,
            inputs=[self.inputs[row] for row in rows],
            counts=self.counts[rows],
            right=self.right[rows],
            fast=self.fast.part(rows),
            slow=self.slow.part(rows),
        )


def read(path: Path) -> Record:
    """The record in a folder; raises `DataError` where it is not whole, or a model answers none."""
    folder = Folder(path)
    said = folder.description()
    if not said.is_complete:
        raise DataError(
            f"The record in {path} is not finished: run the same `hunch record` again, it goes on "
            "where it stopped."
        )
    parts = [folder.read(part) for part in folder.parts()]
    inputs = [it for part in parts for it in part.inputs]
    if len(inputs) != said.rows:
        raise DataError(f"{path} holds {len(inputs)} of {said.rows} rows: record again.")
    labels = said.models.fast.labels
    fast, slow = (
        _outputs(side, entry, parts, labels, path)
        for side, entry in (("fast", said.models.fast), ("slow", said.models.slow))
    )
    right = _columns([label for part in parts for label in part.labels], labels, path)
    rows, counts, contradictions = kept(inputs, right, fast.answered)
    for side, outputs in (("fast", fast), ("slow", slow)):
        if not outputs.answered[rows].any():
            raise DataError(
                f"No row in {path} has an answer of the {side} model; the first says: "
                f"{_why(parts, side)}"
            )
    origins = [it for part in parts for it in part.origins]
    return Record(
        folder=path,
        labels=labels,
        inputs=[inputs[row] for row in rows],
        counts=counts,
        right=right[rows],
        fast=fast.part(rows),
        slow=slow.part(rows),
        sha256=_checksum(said.models, inputs, right, (fast, slow)),
        repeats=int(counts.sum()) - len(rows),
        contradictions=[(origins[one], origins[other]) for one, other in contradictions],
        failed={"fast": int((~fast.answered).sum()), "slow": int((~slow.answered).sum())},
        service_ms=service_times(path),
    )


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


def _outputs(
    side: str, model: ModelEntry, parts: Sequence[Part], labels: Sequence[str], path: Path
) -> Outputs:
    """One model's answers in all parts; raises `DataError` where they are not as they are said."""
    if set(labels) != set(model.labels):
        raise DataError(f"The two models in {path} have different labels: record again.")
    for part in parts:
        width = part.scores[side].shape[1]
        if width != len(labels):
            raise DataError(f"{path} has {width} columns of the {side} model: record again.")
    scores = np.concatenate([part.scores[side] for part in parts])
    if model.kind == "probabilities" and (scores < 0).any():
        raise DataError(
            f"{path} has numbers below 0 of the {side} model, and says that they are "
            "probabilities: record again."
        )
    place_of = {label: column for column, label in enumerate(labels)}
    return Outputs(
        name=model.name,
        version=model.version,
        sha256=model.sha256,
        kind=model.kind,
        temperature=model.temperature,
        scores=scores,
        columns=np.array([place_of[label] for label in model.labels], dtype=np.intp),
    )


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


def _why(parts: Sequence[Part], side: str) -> str:
    told = (why for part in parts for why in part.errors[side] if why)
    return next(told, "NaN.")


def _checksum(
    models: ModelEntries,
    inputs: Sequence[bytes],
    right: NDArray[np.int64],
    sides: Sequence[Outputs],
) -> str:
    said = orjson.dumps(models.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
    whole = hashlib.sha256(said)
    whole.update(b"".join(inputs))
    for column in (right, *(outputs.scores for outputs in sides)):
        whole.update(np.ascontiguousarray(column).tobytes())
    return whole.hexdigest()
