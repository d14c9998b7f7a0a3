"""What the bundled pair of models says of each digit, computed here and not by Hunch.

Both models are deterministic: label, confidence and path of every message are known beforehand.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import onnxruntime

TAU = 0.99551
"""Defers 43 % of the digits, and lies in the middle of a gap between two confidences."""
CLEARANCE = 5e-5
"""No confidence is nearer to τ: rounding decides no path."""
TOLERANCE = 1e-3
"""Confidences may differ by so much with the size of the batch."""


class Said(NamedTuple):
    """One model's answer."""

    label: str
    confidence: float


class Oracle:
    """Messages by number, and the answers of both models to them.

    Message n shows digit n of the file, again from the first after the last.
    """

    def __init__(self, pixels: Sequence[Any], fast: Sequence[Said], slow: Sequence[Said]) -> None:
        self._pixels = [json.dumps(row) for row in pixels]
        self._fast = fast
        self._slow = slow

    @classmethod
    def of(cls, models: Path) -> Self:
        """The oracle of the bundled digits."""
        lines = (models / "digits/test.jsonl").read_text().splitlines()
        pixels = [json.loads(line)["pixels"] for line in lines]
        return cls(pixels, *(_said(models / name / "1", pixels) for name in PAIR))

    def message(self, number: int) -> bytes:
        """The value of a message; its id is its number."""
        pixels = self._pixels[number % len(self._pixels)]
        return f'{{"id": {number}, "pixels": {pixels}}}'.encode()

    def fast(self, number: int) -> Said:
        """What the fast model says of a message."""
        return self._fast[number % len(self._fast)]

    def slow(self, number: int) -> Said:
        """What the slow model says of it."""
        return self._slow[number % len(self._slow)]

    def exits(self, number: int) -> bool:
        """Whether the fast model decides it alone."""
        return self.fast(number).confidence >= TAU

    def is_clear(self) -> bool:
        """Whether no confidence of the fast model is so near to τ that rounding could decide."""
        return all(abs(said.confidence - TAU) > CLEARANCE for said in self._fast)


PAIR = ("digits-fast", "digits-slow")


def _said(folder: Path, pixels: Sequence[Any]) -> list[Said]:
    about = json.loads((folder / "model.json").read_text())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        folder / "model.onnx", options, providers=["CPUExecutionProvider"]
    )
    (logits,) = session.run(["logits"], {"pixels": np.array(pixels, dtype=np.float32)})
    scaled = logits / about["temperature"]
    weights = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    best = probabilities.argmax(axis=1)
    return [
        Said(about["labels"][column], float(row[column]))
        for column, row in zip(best, probabilities, strict=True)
    ]
