"""What both models of a pair say of labelled messages, for the benches about τ.

Batches are of rows in a random order, as on a topic: files are sorted by label, and the answers of
a model in int8 depend a little on what else is in their batch. The outputs are kept in a folder of
the machine's temporary files, so that a second run need not wait for the slow model again.
"""

import asyncio
import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from bench.processes import ROOT
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from hunch.clock import SystemClock
from hunch.core.calibration import fit_temperature
from hunch.core.selection import Outcomes
from hunch.inference import repository
from hunch.inference.onnx import OnnxPredictor
from hunch.inference.outputs import OutputKind, calibrated

KEPT = Path(tempfile.gettempdir()) / "hunch-bench-outputs"
BATCH = 32
Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """What one model puts out for n rows over k labels, before any temperature."""

    scores: NDArray[np.float32]
    kind: OutputKind

    def fitted(self, labels: NDArray[np.int64], rows: Rows) -> float:
        """The temperature that fits some rows best."""
        scores = self.scores[rows].astype(np.float64)
        with np.errstate(divide="ignore"):
            logits = scores if self.kind == "logits" else np.log(scores)
        return fit_temperature(logits, labels[rows])

    def probabilities(
        self, temperature: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float64] | None]:
        """Probabilities of all rows at a temperature, and their energies if there are any."""
        return calibrated(self.scores, self.kind, temperature)

    def best(self) -> NDArray[np.intp]:
        """The column of the best label of each row."""
        columns: NDArray[np.intp] = self.scores.argmax(axis=1)
        return columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Both models' outputs for the same rows, and the right columns."""

    name: str
    fast: Outputs
    slow: Outputs
    labels: NDArray[np.int64]

    def outcomes(self, scores: NDArray[np.float64], rows: Rows) -> Outcomes:
        """What is known of some rows at these scores (of all rows)."""
        fast, slow = self.fast.best(), self.slow.best()
        return Outcomes(
            scores=scores[rows],
            agrees=(fast == slow)[rows],
            fast_right=(fast == self.labels)[rows],
            slow_right=(slow == self.labels)[rows],
        )

    def part(self, rows: Rows) -> "Pair":
        """Some of the rows."""
        return Pair(
            name=self.name,
            fast=Outputs(scores=self.fast.scores[rows], kind=self.fast.kind),
            slow=Outputs(scores=self.slow.scores[rows], kind=self.slow.kind),
            labels=self.labels[rows],
        )


async def _outputs(model: str, files: Sequence[Path]) -> Outputs:
    stored = repository.load(model)
    digest = hashlib.sha256(stored.sha256.encode())
    for file in files:
        digest.update(file.read_bytes())
    kept = KEPT / f"{digest.hexdigest()[:16]}.npz"
    if not kept.exists():
        predictor = OnnxPredictor(stored, clock=SystemClock(), max_batch_size=BATCH)
        await predictor.start()
        lines = [line for file in files for line in file.read_bytes().splitlines()]
        order = np.random.default_rng(0).permutation(len(lines))
        batches = np.split(order, range(BATCH, len(order), BATCH))
        scored = [
            await predictor.score([lines[row] for row in batch])
            for batch in track(batches, stored.model, console=Console(stderr=True))
        ]
        await predictor.stop()
        assert not any(batch.errors for batch in scored)
        KEPT.mkdir(exist_ok=True)
        whole = np.concatenate([batch.scores for batch in scored])[np.argsort(order)]
        np.savez(kept, scores=whole, kind=scored[0].kind)
    found = np.load(kept)
    kind: Literal["logits", "probabilities"] = (
        "logits" if str(found["kind"]) == "logits" else "probabilities"
    )
    return Outputs(scores=found["scores"], kind=kind)


def pair(name: str, models: tuple[str, str], files: Sequence[Path]) -> Pair:
    """Runs both models over the files, one after the other."""
    fast, slow = (asyncio.run(_outputs(model, files)) for model in models)
    of_model = [repository.load(model).labels for model in models]
    order = [of_model[1].index(label) for label in of_model[0]]
    column = {label: number for number, label in enumerate(of_model[0])}
    lines = [json.loads(line) for file in files for line in file.read_bytes().splitlines()]
    return Pair(
        name=name,
        fast=fast,
        slow=Outputs(scores=slow.scores[:, order], kind=slow.kind),
        labels=np.array([column[str(line["label"])] for line in lines]),
    )


def digits(*names: str) -> Pair:
    """The bundled pair over `valid`, `test` or both."""
    files = [ROOT / f"models/digits/{name}.jsonl" for name in names]
    return pair("digits", ("digits-fast", "digits-slow"), files)


def banking77(folder: Path, *names: str) -> Pair:
    """The Banking77 pair, which lies outside the repository, over `valid`, `test` or both."""
    files = [folder / f"{name}.jsonl" for name in names]
    return pair("banking77", (str(folder / "fast"), str(folder / "slow")), files)
