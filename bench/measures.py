"""What a better confidence measure is worth: the accept rate at the same accuracy.

    python -m bench.measures [--banking77 FOLDER] [--within 0.002] [--json]

The valid part fits temperature and numbers and picks τ: the lowest with which the cascade is at
most so much less accurate there than the slow model, by the plain estimate. The test part judges.
`hindsight` is the accept rate of the best τ on the test part itself; the oracle defers of what the
slow model alone has right only as much as it must. `closed` is how much of the way
from the uncalibrated maximum probability to the oracle a measure goes, by either accept rate.

Of the calibration error (15 bins, on the test part) there is one before and one after the
temperature.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from bench.pairs import banking77, digits, fitted_temperature, outcomes
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from hunch.core.calibration import expected_calibration_error
from hunch.core.confidence import COUNTS, MAX_PROBABILITY, max_probability
from hunch.core.fitting import fit_class_shift, fit_measure
from hunch.core.selection import Outcomes, harms_of
from hunch.evaluation.records import Record

ROUNDING = 1e-9
BY_CLASS = ("max_probability", "learned")
Floats = NDArray[np.float64]


class Judged(NamedTuple):
    """One measure of one pair; gap is slow accuracy - accuracy of the cascade."""

    pair: str
    measure: str
    hindsight: float
    tau: float
    accept: float
    gap: float


class Calibrated(NamedTuple):
    """A model's temperature and calibration error on the test part."""

    pair: str
    model: str
    temperature: float
    before: float
    after: float


def losses(rows: Outcomes) -> tuple[Floats, Floats, Floats]:
    """Every τ from the highest, and accuracy lost and exit rate at it."""
    taus = np.unique(np.append(rows.scores, 0.0))[::-1]
    order = np.argsort(-rows.scores)
    exits = len(order) - np.searchsorted(rows.scores[order][::-1], taus, side="left")
    lost = np.append(0, np.cumsum(harms_of("accuracy-within", rows)[order]))[exits]
    return taus, lost / len(order), exits / len(order)


def lowest(rows: Outcomes, within: float) -> tuple[float, float]:
    """The τ with the most exits that loses no more, and its exit rate."""
    taus, lost, rates = losses(rows)
    last = int(np.flatnonzero(lost <= within + ROUNDING)[-1])
    return float(taus[last]), float(rates[last])


def scores(valid: Record, test: Record) -> Iterator[tuple[str, Floats, Floats]]:
    """Every measure's scores of both parts, fitted to the first."""
    plain = [MAX_PROBABILITY.scores(part.fast.probabilities(1.0)[0]) for part in (valid, test)]
    yield "max_probability, T = 1", plain[0], plain[1]
    temperature = fitted_temperature(valid.fast, valid.right)
    best = [part.fast.best(temperature) for part in (valid, test)]
    known = outcomes(valid, plain[0])
    outputs = [part.fast.probabilities(temperature) for part in (valid, test)]
    for name in COUNTS:
        if name == "energy" and outputs[0][1] is None:
            continue
        measure = fit_measure(
            name,
            *outputs[0],
            agrees=known.agrees,
            fast_right=known.fast_right,
            slow_right=known.slow_right,
        )
        one, other = (measure.scores(*output) for output in outputs)
        yield name, one, other
        if name in BY_CLASS:
            harms = harms_of("joint-risk", known) > 0
            shift = fit_class_shift(one, best[0], harms, outputs[0][0].shape[1])
            yield f"{name}, by class", shift.scores(one, best[0]), shift.scores(other, best[1])


def judged(name: str, valid: Record, test: Record, within: float) -> Iterator[Judged]:
    """Every measure, τ from the valid part, and the oracle."""
    for measure, one, other in scores(valid, test):
        picking, judging = outcomes(valid, one), outcomes(test, other)
        tau, _ = lowest(picking, within)
        lost = harms_of("accuracy-within", judging)[other >= tau].sum() / len(other)
        _, hindsight = lowest(judging, within)
        yield Judged(name, measure, hindsight, tau, float((other >= tau).mean()), float(lost))
    harms = harms_of("accuracy-within", outcomes(test, np.zeros(len(test))))
    allowed = int((harms < 0).sum()) + within * len(harms) + ROUNDING
    accept = 1.0 - max(0, int((harms > 0).sum() - allowed)) / len(harms)
    yield Judged(name, "oracle", accept, 0.0, accept, within)


def calibrated(name: str, valid: Record, test: Record) -> Iterator[Calibrated]:
    """Both models, temperature from the valid part."""
    for side in ("fast", "slow"):
        one, other = getattr(valid, side), getattr(test, side)
        temperature = fitted_temperature(one, valid.right)
        errors = [
            expected_calibration_error(
                max_probability(other.probabilities(t)[0]), other.best(t) == test.right
            )
            for t in (1.0, temperature)
        ]
        yield Calibrated(name, side, temperature, errors[0], errors[1])


def shown(rows: list[Judged], within: float) -> Table:
    """The table of accept rates."""
    table = Table(title=f"accept rate at slow accuracy - {within:g}")
    heads = ("pair", "measure", "hindsight", "closed", "tau", "accept", "gap, points", "closed")
    for number, head in enumerate(heads):
        table.add_column(head, justify="left" if number < 2 else "right")
    for row in rows:
        same = [other for other in rows if other.pair == row.pair]
        first, oracle = same[0], same[-1]
        closed = [
            (here - start) / (oracle.accept - start)
            for here, start in ((row.hindsight, first.hindsight), (row.accept, first.accept))
        ]
        table.add_row(
            row.pair,
            row.measure,
            f"{row.hindsight:.3f}",
            f"{closed[0]:.0%}",
            f"{row.tau:.3f}",
            f"{row.accept:.3f}",
            f"{-100 * row.gap:+.2f}",
            f"{closed[1]:.0%}",
        )
    return table


def main() -> None:
    """Reads the command line, judges, prints."""
    parser = argparse.ArgumentParser(description="What a better confidence measure is worth.")
    parser.add_argument("--banking77", type=Path, help="folder with fast, slow and *.jsonl")
    parser.add_argument("--within", type=float, default=0.002)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    pairs = {"digits": (digits("valid"), digits("test"))}
    if args.banking77 is not None:
        parts = (banking77(args.banking77, "valid"), banking77(args.banking77, "test"))
        pairs = {"banking77": parts} | pairs
    rows = [row for name, both in pairs.items() for row in judged(name, *both, args.within)]
    errors = [row for name, both in pairs.items() for row in calibrated(name, *both)]
    if args.json:
        print(json.dumps([row._asdict() for row in rows] + [row._asdict() for row in errors]))
        return
    console = Console(width=120)
    console.print(shown(rows, args.within))
    table = Table(title="calibration error on the test part")
    for head in Calibrated._fields:
        table.add_column(head)
    for row in errors:
        table.add_row(*(f"{cell:.3f}" if isinstance(cell, float) else cell for cell in row))
    console.print(table)


if __name__ == "__main__":
    main()
