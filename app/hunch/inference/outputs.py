"""From what a model puts out to calibrated probabilities."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hunch.errors import ModelError

OutputKind = Literal["logits", "probabilities"]
KINDS: dict[str, OutputKind] = {
    "logits": "logits",
    "probabilities": "probabilities",
    "output_probability": "probabilities",
}
"""What an output holds by its name, where no `model.json` says so."""


def as_scores(output: Any, labels: Sequence[str], model: str) -> NDArray[np.float32]:
    """One output as float32 [n, k]; a list of label → score mappings (ZipMap) becomes columns.

    Raises `ModelError` where its width or its keys are not the labels.
    """
    if isinstance(output, list):
        return _columns(output, labels, model)
    scores = np.asarray(output)
    if scores.ndim != 2 or scores.shape[1] != len(labels):
        raise ModelError(
            f"The model {model} has {len(labels)} labels and an output of shape "
            f"{list(scores.shape)}: give as many labels in its model.json as the output has "
            "columns, in their order."
        )
    return scores.astype(np.float32, copy=False)


def _columns(
    rows: list[Mapping[Any, float]], labels: Sequence[str], model: str
) -> NDArray[np.float32]:
    keys = {str(key): key for key in rows[0]} if rows else {}
    if rows and set(keys) != set(labels):
        raise ModelError(
            f"The model {model} answers with the labels {sorted(keys)} and not with those of its "
            f"model.json, {sorted(labels)}: name the same there."
        )
    ordered = [keys[label] for label in labels] if rows else []
    return np.array([[row[key] for key in ordered] for row in rows], np.float32).reshape(
        len(rows), len(labels)
    )


def calibrated(
    scores: NDArray[np.float32], kind: OutputKind, temperature: float
) -> tuple[NDArray[np.float32], NDArray[np.float64] | None]:
    """Probabilities softmax(s / T), where s is the logits or the logarithm of probabilities.

    With logits come their energies, T · log Σ exp(s / T), a float64 each row (Liu et al. 2020,
    "Energy-based out-of-distribution detection", with the sign that grows with confidence). A row
    without a finite answer becomes NaN from end to end. Probabilities at T = 1 are taken as they
    are.
    """
    if kind == "probabilities" and temperature == 1.0:
        is_finite = np.isfinite(scores).all(axis=1, keepdims=True)
        return np.where(is_finite, scores, np.float32(np.nan)), None
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled: NDArray[np.float32] = np.log(scores) if kind == "probabilities" else scores.copy()
        if kind == "logits":
            scaled[~np.isfinite(scaled).all(axis=1)] = np.nan
        scaled /= np.float32(temperature)
        highest = scaled.max(axis=1, keepdims=True)
        scaled -= highest
        np.exp(scaled, out=scaled)
        total = scaled.sum(axis=1, keepdims=True)
        scaled /= total
        if kind == "probabilities":
            return scaled, None
        energies = temperature * (highest.astype(np.float64) + np.log(total))
    return scaled, energies[:, 0]
