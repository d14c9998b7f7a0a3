"""Records without models: outputs are drawn, and the folder is as `hunch record` writes it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from hunch.evaluation.parts import Folder, Part
from hunch.evaluation.record_file import RecordFile

APP = Path(__file__).resolve().parents[2] / "app"
LABELS = ("a", "b", "c", "d")


class Drawn(NamedTuple):
    """Logits of both models, and the right columns, of n rows."""

    fast: np.ndarray
    slow: np.ndarray
    right: np.ndarray


def drawn(rows=1200, *, fast=3.0, slow=6.0, seed=1, classes=4):
    """Rows that are easy and hard; a model is the better the further it tells the right label."""
    chance = np.random.default_rng(seed)
    right = chance.integers(0, classes, rows)
    ease = chance.uniform(0.2, 2.0, rows)[:, None]
    shown = np.eye(len(LABELS))[right]

    def logits(strength):
        return (strength * ease * shown + chance.normal(0, 1.5, shown.shape)).astype(np.float32)

    return Drawn(logits(fast), logits(slow), right)


def record(folder, given, *, labels=None, inputs=None, kinds=("logits", "logits"), marks="1"):
    """Writes a record of what was drawn and answers its folder.

    `labels` replaces the right ones; `inputs` are numbers, equal for equal inputs; `marks` are the
    digits that the models' checksums are made of.
    """
    rows = len(given.right)
    numbers = range(rows) if inputs is None else inputs
    named = [LABELS[column] for column in given.right] if labels is None else labels
    written = Folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written.append(
        Part(
            origins=[str(row + 1) for row in range(rows)],
            inputs=[int(number).to_bytes(16, "big") for number in numbers],
            labels=named,
            scores={"fast": given.fast, "slow": given.slow},
            errors={side: [None] * rows for side in ("fast", "slow")},
        )
    )
    written.write_service([("fast", 1, 0.1), ("slow", 1, 2.0)])
    written.describe(described(rows, kinds, marks))
    return folder


def described(rows=3, kinds=("logits", "logits"), marks="1", **changes):
    """What `record.json` says of so many rows."""
    return RecordFile.model_validate(
        {
            "models": {
                side: {
                    "name": f"the-{side}",
                    "version": "1",
                    "sha256": marks * 64,
                    "labels": list(LABELS),
                    "temperature": 1.0,
                    "kind": kind,
                }
                for side, kind in zip(("fast", "slow"), kinds, strict=True)
            },
            "label_field": "label",
            "max_batch_size": 32,
            "source": {"kind": "file", "name": "x.jsonl", "sha256": "0" * 64, "rows": rows},
            "created": "2026-01-01T00:00:00+00:00",
            "made_by": {},
            "rows": rows,
            "is_complete": True,
        }
        | changes
    )
