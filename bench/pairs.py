"""Records of labelled pairs, for the benches about τ.

They are made with `hunch record`, and kept in the machine's temporary files, so that a second run
need not wait for the slow model again.
"""

import hashlib
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from bench.processes import HUNCH, ROOT
from numpy.typing import NDArray

from hunch.core.calibration import fit_temperature
from hunch.core.selection import Outcomes
from hunch.evaluation.records import Outputs, Record, read
from hunch.inference import repository

KEPT = Path(tempfile.gettempdir()) / "hunch-bench-records"
Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


def recorded(models: tuple[str, str], files: Sequence[Path]) -> Record:
    """What both models answer to the messages of some files."""
    lines = b"".join(file.read_bytes() for file in files)
    marks = [repository.load(model).sha256 for model in models]
    name = hashlib.sha256("".join(marks).encode() + lines).hexdigest()[:16]
    data, folder = KEPT / f"{name}.jsonl", KEPT / name
    KEPT.mkdir(exist_ok=True)
    data.write_bytes(lines)
    pair = [f"--{side}-model={model}" for side, model in zip(("fast", "slow"), models, strict=True)]
    command = [*HUNCH, "record", str(data), f"--out={folder}", *pair]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return read(folder)


def digits(*names: str) -> Record:
    """The bundled pair over `valid`, `test` or both."""
    files = [ROOT / f"models/digits/{name}.jsonl" for name in names]
    return recorded(("digits-fast", "digits-slow"), files)


def banking77(folder: Path, *names: str) -> Record:
    """The Banking77 pair, which lies outside the repository, over `valid`, `test` or both."""
    files = [folder / f"{name}.jsonl" for name in names]
    return recorded((str(folder / "fast"), str(folder / "slow")), files)


def outcomes(record: Record, scores: Floats) -> Outcomes:
    """What is known of the rows at these scores, with the models' own temperatures."""
    fast, slow = (side.best(side.temperature) for side in (record.fast, record.slow))
    return Outcomes(
        scores=scores,
        agrees=fast == slow,
        fast_right=fast == record.right,
        slow_right=slow == record.right,
    )


def fitted_temperature(outputs: Outputs, right: NDArray[np.int64]) -> float:
    """The one that fits these rows best."""
    return fit_temperature(outputs.log_scores, right)
