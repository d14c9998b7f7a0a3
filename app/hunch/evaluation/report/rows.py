"""What the record says about both models, by confidence and by class."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from hunch.core.calibration import expected_calibration_error, reliability
from hunch.core.confidence import Measure, max_probability
from hunch.core.exiting import ExitPolicy
from hunch.errors import DataError
from hunch.evaluation.records import Outputs, Record
from hunch.evaluation.simulator import used_of
from hunch.evaluation.sweep_file import Point, SweepFile

BARS = 20
"""Of a histogram, over [0, 1]."""
Flags = NDArray[np.bool_]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Bin(_Part):
    """Rows of about the same confidence: the mean of it, and how many of them are right."""

    confidence: Share
    accuracy: Share
    rows: int


class Histogram(_Part):
    """How many rows have how much of something from 0 to 1, in bars of equal width."""

    of: str
    right: tuple[int, ...]
    wrong: tuple[int, ...]


class ModelRows(_Part):
    """One model's answers to the rows that count.

    Attributes:
        model: name and version.
        temperature: that its confidence is at.
        rows: that it answers.
        accuracy: of these; `error` is the expected calibration error.
        bins: of its confidence.
        histogram: of the score that is held against τ for the fast model, else of the confidence.
    """

    model: str
    temperature: float
    rows: int
    accuracy: Share
    error: Share
    bins: tuple[Bin, ...]
    histogram: Histogram


class ClassRows(_Part):
    """The rows whose right label is this one, at the τ that is recommended.

    Attributes:
        accept_rate: share of them that exits.
        accuracy: of the cascade, when every slow answer is in time.
        wrong_exits: rows that exit and are wrong.
    """

    label: str
    rows: int
    fast_accuracy: Share
    slow_accuracy: Share
    accept_rate: Share
    accuracy: Share
    wrong_exits: int


class RecordRows(_Part):
    """Both models, and each class that has a row, the worst of the cascade first.

    Attributes:
        slow: None where the slow model itself says what is right.
    """

    fast: ModelRows
    slow: ModelRows | None
    classes: tuple[ClassRows, ...]


def rows_of(sweep: SweepFile, record: Record, point: Point) -> RecordRows:
    """What a record says; raises `DataError` for another one than the sweep was made with.

    Args:
        sweep: made with the record.
        record: read again.
        point: whose τ counts in the classes.
    """
    if record.sha256 != sweep.record.sha256:
        raise DataError(
            f"{record.folder} is not the record that the sweep was made with "
            f"({sweep.record.sha256[:8]}): name that one with --record, or sweep again."
        )
    used, right_by = used_of(record)
    fast_best = used.fast.best(sweep.temperatures.fast)
    slow_best = used.slow.best(sweep.temperatures.slow)
    right = used.right if right_by == "label" else slow_best
    fast_right = np.equal(fast_best, right)
    slow_right = np.equal(slow_best, right) & used.slow.answered
    probabilities, energies = used.fast.probabilities(sweep.temperatures.fast)
    policy = _policy(sweep, point, record.labels)
    exits = np.array(policy.judge(probabilities, energies).exits, dtype=np.bool_)
    scores = policy.measure.scores(probabilities, energies)
    is_plain = policy.measure.name == "max_probability"
    name = "confidence" if is_plain else f"score ({policy.measure.name})"
    slow = None
    if right_by == "label":
        slow = _model(used.slow, sweep.temperatures.slow, slow_right)
    return RecordRows(
        fast=_model(used.fast, sweep.temperatures.fast, fast_right, scores, name),
        slow=slow,
        classes=_classes(record.labels, right, fast_right, slow_right, exits),
    )


def _policy(sweep: SweepFile, point: Point, labels: tuple[str, ...]) -> ExitPolicy:
    column_of = {label: column for column, label in enumerate(labels)}
    if unknown := sorted(set(point.taus) - set(column_of)):
        raise DataError(
            f"The sweep has a tau for the label {unknown[0]!r}, which its record does not know: "
            "sweep again."
        )
    return ExitPolicy(
        name="report",
        tau=point.tau,
        taus={column_of[label]: tau for label, tau in point.taus.items()},
        delta_ms=point.delta_ms,
        measure=Measure(sweep.measure.name, sweep.measure.numbers),
    )


def _model(
    outputs: Outputs,
    temperature: float,
    right: Flags,
    scores: NDArray[np.float64] | None = None,
    name: str = "confidence",
) -> ModelRows:
    """Of the rows with an answer; the others say nothing about confidence."""
    answered = outputs.answered
    probabilities = outputs.part(answered).probabilities(temperature)[0]
    confidence = np.asarray(max_probability(probabilities), dtype=np.float64)
    right = right[answered]
    found = reliability(confidence, right)
    shown = confidence if scores is None else scores[answered]
    return ModelRows(
        model=f"{outputs.name}@{outputs.version}",
        temperature=temperature,
        rows=len(right),
        accuracy=float(right.mean()),
        error=expected_calibration_error(confidence, right),
        bins=tuple(
            Bin(confidence=min(mean, 1.0), accuracy=accuracy, rows=rows)
            for mean, accuracy, rows in zip(*(it.tolist() for it in found), strict=True)
        ),
        histogram=Histogram(of=name, right=_bars(shown[right]), wrong=_bars(shown[~right])),
    )


def _bars(shares: NDArray[np.float64]) -> tuple[int, ...]:
    places = np.clip((shares * BARS).astype(np.int64), 0, BARS - 1)
    return tuple(np.bincount(places, minlength=BARS).tolist())


def _classes(
    labels: tuple[str, ...],
    right: NDArray[np.int64],
    fast_right: Flags,
    slow_right: Flags,
    exits: Flags,
) -> tuple[ClassRows, ...]:
    found = []
    for column, label in enumerate(labels):
        own = right == column
        if not own.any():
            continue
        found.append(
            ClassRows(
                label=label,
                rows=int(own.sum()),
                fast_accuracy=float(fast_right[own].mean()),
                slow_accuracy=float(slow_right[own].mean()),
                accept_rate=float(exits[own].mean()),
                accuracy=float(np.where(exits, fast_right, slow_right)[own].mean()),
                wrong_exits=int((own & exits & ~fast_right).sum()),
            )
        )
    return tuple(sorted(found, key=lambda it: (it.accuracy, -it.wrong_exits, it.label)))
