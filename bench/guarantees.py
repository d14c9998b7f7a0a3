"""Whether what is promised of τ holds, and what it costs: many draws from data with a known truth.

    python -m bench.guarantees [--banking77 FOLDER] [--draws 200] [--confidence 0.95]
        [--measure max_probability] [--json]

The rows of a pair (valid and test together) are the population, so that the truth is known. Each
draw takes as many rows, with replacement: a fifth fits the temperature, the measure and the
candidates, the rest chooses τ, the population judges it. So rows are exchangeable, as is assumed,
and a promise is broken by the procedure alone, not by the noise of a small part that judges.

* broken: share of draws with a τ whose risk in the population is above the limit;
* certified: share of draws with a τ;
* best test: how often the one τ passes that passes most often, were it known beforehand: what no
  choice of a first candidate can beat;
* accept: mean exit rate where there is a τ; hindsight: the largest with which the population keeps
  the limit at that measure (temperature and numbers fitted to all of it);
* limit met: the mean of what is limited, as a share of the limit.

For joint-risk the promise is about the mean over draws, not about each of them.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from bench.pairs import Pair, banking77, digits
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import binom

from hunch.core.confidence import COUNTS
from hunch.core.fitting import fit_measure
from hunch.core.selection import Goal, GoalName, Outcomes, candidates, harms_of, select

LEVELS: dict[str, dict[GoalName, tuple[float, ...]]] = {
    "banking77": {
        "selective-risk": (0.01, 0.02, 0.03, 0.05),
        "agreement": (0.99, 0.98, 0.95),
        "accuracy-within": (0.005, 0.01),
        "joint-risk": (0.01, 0.02),
        "slow-share": (0.2,),
    },
    "digits": {
        "selective-risk": (0.01, 0.02, 0.03),
        "agreement": (0.99, 0.98, 0.97),
        "accuracy-within": (0.01,),
        "joint-risk": (0.01,),
        "slow-share": (0.1,),
    },
}
FIT_SHARE = 0.2
ROUNDING = 1e-9
Floats = NDArray[np.float64]


class Counted(NamedTuple):
    """One goal over all draws; shares in [0, 1]."""

    pair: str
    goal: GoalName
    limit: float
    broken: float
    certified: float
    best_test: float | None
    accept: float
    hindsight: float
    limit_met: float


def scored(pair: Pair, measure: str, rows: NDArray[np.intp]) -> Floats:
    """Scores of all rows of a pair, where some of them fit the temperature and the measure."""
    probabilities, energies = pair.fast.probabilities(pair.fast.fitted(pair.labels, rows))
    known = pair.outcomes(np.zeros(len(pair.labels)), rows)
    fitted = fit_measure(
        measure,
        probabilities[rows],
        None if energies is None else energies[rows],
        agrees=known.agrees,
        fast_right=known.fast_right,
        slow_right=known.slow_right,
    )
    return fitted.scores(probabilities, energies)


def limited(goal: Goal, rows: Outcomes, taus: Floats) -> tuple[Floats, Floats, Floats]:
    """By τ: what the goal limits, the limit of it, and the exit rate."""
    order = np.argsort(rows.scores)
    exits = len(order) - np.searchsorted(rows.scores[order], taus, side="left")
    harms = np.append(0, np.cumsum(harms_of(goal.name, rows)[order][::-1]))[exits]
    rates = exits / len(order)
    match goal.name:
        case "slow-share":
            values, limit = 1.0 - rates, goal.limit
        case "accuracy-within" | "joint-risk":
            values, limit = harms / len(order), goal.limit
        case _:
            values = harms / np.maximum(exits, 1)
            limit = goal.harm_limit
    return values, np.full(len(taus), limit), rates


def hindsight(goal: Goal, whole: Outcomes) -> float:
    """The best exit rate that keeps the limit in the population: most, or fewest for slow-share."""
    taus = np.unique(np.append(whole.scores, 0.0))
    values, limits, rates = limited(goal, whole, taus)
    kept = rates[(values <= limits + ROUNDING) & (rates > 0)]
    return float(kept.min() if goal.name == "slow-share" else kept.max()) if len(kept) else 0.0


def best_test(goal: Goal, whole: Outcomes, rows: int) -> float | None:
    """The chance of the most likely binomial test to pass."""
    if goal.name not in {"selective-risk", "agreement"}:
        return None
    taus = np.unique(np.quantile(whole.scores, np.linspace(0, 1, 401)))
    values, limits, rates = limited(goal, whole, taus)
    exits = np.arange(rows + 1)
    allowed = binom.ppf(1.0 - goal.confidence, exits, limits[0]) - 1.0
    chances = [
        float(binom.pmf(exits, rows, rate) @ binom.cdf(allowed, exits, value))
        for value, rate in zip(values, rates, strict=True)
    ]
    return max(chances)


def counted(pair: Pair, goals: list[Goal], measure: str, draws: int) -> Iterator[Counted]:
    """Every goal over the same draws."""
    everything = np.arange(len(pair.labels))
    whole = pair.outcomes(scored(pair, measure, everything), everything)
    broken: dict[Goal, list[bool]] = {goal: [] for goal in goals}
    accepts: dict[Goal, list[float]] = {goal: [] for goal in goals}
    met: dict[Goal, list[float]] = {goal: [] for goal in goals}
    fit_rows = int(FIT_SHARE * len(everything))
    for seed in track(range(draws), pair.name, console=Console(stderr=True)):
        rows = np.random.default_rng(seed).integers(0, len(everything), len(everything))
        scores = scored(pair, measure, rows[:fit_rows])
        fit = pair.outcomes(scores, rows[:fit_rows])
        choose = pair.outcomes(scores, rows[fit_rows:])
        population = pair.outcomes(scores, everything)
        for goal in goals:
            tau = select(goal, candidates(goal, fit, len(choose.scores)), choose).tau
            if tau is None:
                broken[goal].append(False)
                met[goal].append(0.0)
                continue
            values, limits, rates = limited(goal, population, np.array([tau]))
            broken[goal].append(bool(values[0] > limits[0] + ROUNDING))
            accepts[goal].append(float(rates[0]))
            met[goal].append(float(values[0] / limits[0]))
    for goal in goals:
        yield Counted(
            pair=pair.name,
            goal=goal.name,
            limit=goal.limit,
            broken=float(np.mean(broken[goal])),
            certified=len(accepts[goal]) / draws,
            best_test=best_test(goal, whole, len(everything) - fit_rows),
            accept=float(np.mean(accepts[goal])) if accepts[goal] else 0.0,
            hindsight=hindsight(goal, whole),
            limit_met=float(np.mean(met[goal])),
        )


def shown(found: list[Counted], draws: int, confidence: float) -> Table:
    """The table that people read."""
    allowed = 1.0 - confidence + 2.0 * np.sqrt(confidence * (1.0 - confidence) / draws)
    table = Table(title=f"{draws} draws, confidence {confidence}: broken ≤ {allowed:.3f}")
    for name in ("pair", "goal", "limit"):
        table.add_column(name)
    heads = ("broken", "certified", "best test", "accept", "hindsight", "ratio", "limit met")
    for name in heads:
        table.add_column(name, justify="right")
    for row in found:
        shares = (
            row.broken,
            row.certified,
            row.best_test,
            row.accept,
            row.hindsight,
            row.accept / row.hindsight if row.hindsight else 0.0,
            row.limit_met,
        )
        cells = ["-" if share is None else f"{share:.3f}" for share in shares]
        table.add_row(row.pair, row.goal, f"{row.limit:g}", *cells)
    return table


def main() -> None:
    """Reads the command line, draws, prints."""
    parser = argparse.ArgumentParser(description="Whether what is promised of tau holds.")
    parser.add_argument("--banking77", type=Path, help="folder with fast, slow and *.jsonl")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--confidence", type=float, default=0.95)
    parser.add_argument("--measure", choices=list(COUNTS), default="max_probability")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    pairs = [digits("valid", "test")]
    if args.banking77 is not None:
        pairs.insert(0, banking77(args.banking77, "valid", "test"))
    found: list[Counted] = []
    for pair in pairs:
        goals = [
            Goal(name=name, limit=limit, confidence=args.confidence)
            for name, limits in LEVELS[pair.name].items()
            for limit in limits
        ]
        found += counted(pair, goals, args.measure, args.draws)
    if args.json:
        print(json.dumps([row._asdict() for row in found]))
    else:
        Console(width=120).print(shown(found, args.draws, args.confidence))


if __name__ == "__main__":
    main()
