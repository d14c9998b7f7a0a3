"""Which rows fit, which choose τ, and which judge it: by chance from a seed, no row twice."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hunch.errors import DataError
from hunch.evaluation.records import Record

FIT, CHOOSE = 0.2, 0.6
"""Shares of a record that fit and that choose; the rest judges."""
FIT_OF_TWO = 0.25
"""The share that fits where another record judges."""
LEAST_ROWS = 10
"""A part with fewer says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Rows by what they are used for.

    Attributes:
        fit: temperatures, the numbers of the measure, and the candidates for τ come from these.
        choose: τ comes from these.
        judge: nothing comes from these.
        is_judged_apart: whether they are another record's.
    """

    fit: Record
    choose: Record
    judge: Record
    is_judged_apart: bool = False

    def rows(self) -> dict[Literal["fit", "choose", "judge"], int]:
        """How many have which part."""
        return {"fit": len(self.fit), "choose": len(self.choose), "judge": len(self.judge)}

    def too_small(self) -> list[str]:
        """The parts that say nothing."""
        return [name for name, rows in self.rows().items() if rows < LEAST_ROWS]


def split(record: Record, judge: Record | None, seed: int) -> Split:
    """Splits a record, of which no input occurs twice; another one judges where it is given.

    Raises `DataError` where the judging record is of other models, or shares inputs with the first.
    """
    order = np.random.default_rng(seed).permutation(len(record))
    if judge is None:
        fit, choose, rest = _cut(order, round(len(order) * FIT), round(len(order) * CHOOSE))
        return Split(fit=record.part(fit), choose=record.part(choose), judge=record.part(rest))
    _require_same_models(record, judge)
    shared = len(set(record.inputs) & set(judge.inputs))
    if shared:
        raise DataError(
            f"{shared:,} of the {len(judge):,} inputs in {judge.folder} are in {record.folder} "
            "too: what chooses tau cannot judge it. Leave --judge out, and a part of the first is "
            "kept back, or record rows that are not in it."
        )
    fit, choose, _ = _cut(order, round(len(order) * FIT_OF_TWO), len(order))
    parts = record.part(fit), record.part(choose)
    return Split(fit=parts[0], choose=parts[1], judge=judge, is_judged_apart=True)


def share_that_chooses(is_judged_apart: bool) -> float:
    """Of the first record's rows."""
    return 1.0 - FIT_OF_TWO if is_judged_apart else CHOOSE


def _cut(order: NDArray[np.int64], first: int, second: int) -> list[NDArray[np.int64]]:
    return np.split(order, [first, first + second])


def _require_same_models(record: Record, judge: Record) -> None:
    for side, own, other in (
        ("fast", record.fast, judge.fast),
        ("slow", record.slow, judge.slow),
    ):
        if own.sha256 != other.sha256:
            raise DataError(
                f"{record.folder} and {judge.folder} were recorded with different {side} models "
                f"({own.name}@{own.version} and {other.name}@{other.version}): record one again."
            )
