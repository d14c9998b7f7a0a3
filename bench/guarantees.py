"""Whether what is promised of τ holds, and what it costs: many draws from data with a known truth.

    python -m bench.guarantees [--banking77 FOLDER] [--draws 200] [--confidence 0.95]
        [--measure max_probability] [--json]

The rows of a pair (valid and test together) are the population, so that the truth is known. Each
draw takes as many rows, with replacement, for the record of which `hunch calibrate` makes a policy;
the policy then judges the population, as a stage would. So rows are exchangeable, as is assumed,
and a promise is broken by the procedure alone, not by the noise of a small part that judges.

* broken: share of draws with a policy whose risk in the population is above the limit;
* certified: share of draws with a policy;
* best test: how often the one τ passes that passes most often, were it known beforehand: what no
  choice of a first candidate can beat;
* accept: mean exit rate where there is one; hindsight: the largest with which the population keeps
  the limit at that measure (temperature and numbers fitted to all of it);
* limit met: the mean of what is limited, as a share of the limit.

For joint-risk the promise is about the mean over draws, not about each of them.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from bench.pairs import banking77, digits, fitted_temperature, outcomes
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import binom

from hunch.core.confidence import COUNTS
from hunch.core.exiting import ExitPolicy
from hunch.core.fitting import fit_measure
from hunch.core.policy import Policy, enforced
from hunch.core.selection import Goal, GoalName, Outcomes, harms_of
from hunch.evaluation.calibrating import Plan, calibrate
from hunch.evaluation.policies import policy_of
from hunch.evaluation.records import Record
from hunch.evaluation.splitting import CHOOSE

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
SETTINGS = ExitPolicy(name="settings", tau=1.0, delta_ms=0.0)
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


def hindsight_scores(whole: Record, measure: str) -> Floats:
    """Scores with a temperature and numbers that are fitted to all of the population."""
    probabilities, energies = whole.fast.probabilities(fitted_temperature(whole.fast, whole.right))
    known = outcomes(whole, np.zeros(len(whole)))
    fitted = fit_measure(
        measure,
        probabilities,
        energies,
        agrees=known.agrees,
        fast_right=known.fast_right,
        slow_right=known.slow_right,
    )
    return fitted.scores(probabilities, energies)


def drawn(whole: Record, seed: int) -> Record:
    """As many rows with replacement; each counts as an input of its own."""
    rows = np.random.default_rng(seed).integers(0, len(whole), len(whole))
    inputs = [number.to_bytes(16, "big") for number in range(len(rows))]
    return replace(whole.part(rows), inputs=inputs, counts=np.ones(len(rows), dtype=np.int64))


def exits_of(policy: Policy, whole: Record) -> NDArray[np.bool_]:
    """Which rows a stage lets exit under the policy."""
    has_logits = whole.fast.kind == "logits"
    decides = enforced(policy, SETTINGS, whole.labels, has_logits=has_logits)
    return np.array(decides.judge(*whole.fast.probabilities(policy.temperatures.fast)).exits)


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


def counted(
    name: str, whole: Record, goals: list[Goal], measure: str, draws: int
) -> Iterator[Counted]:
    """Every goal over the same draws."""
    truth = outcomes(whole, hindsight_scores(whole, measure))
    broken: dict[Goal, list[bool]] = {goal: [] for goal in goals}
    accepts: dict[Goal, list[float]] = {goal: [] for goal in goals}
    met: dict[Goal, list[float]] = {goal: [] for goal in goals}
    for seed in track(range(draws), name, console=Console(stderr=True)):
        record = drawn(whole, seed)
        for goal in goals:
            found = calibrate(record, Plan(goal=goal, measure=measure, seed=seed))
            if not found.is_certified:
                broken[goal].append(False)
                met[goal].append(0.0)
                continue
            exits = exits_of(policy_of(found, created="now"), whole).astype(float)
            values, limits, rates = limited(goal, replace(truth, scores=exits), np.array([0.5]))
            broken[goal].append(bool(values[0] > limits[0] + ROUNDING))
            accepts[goal].append(float(rates[0]))
            met[goal].append(float(values[0] / limits[0]))
    for goal in goals:
        yield Counted(
            pair=name,
            goal=goal.name,
            limit=goal.limit,
            broken=float(np.mean(broken[goal])),
            certified=len(accepts[goal]) / draws,
            best_test=best_test(goal, truth, round(CHOOSE * len(whole))),
            accept=float(np.mean(accepts[goal])) if accepts[goal] else 0.0,
            hindsight=hindsight(goal, truth),
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
    pairs = {"digits": digits("valid", "test")}
    if args.banking77 is not None:
        pairs = {"banking77": banking77(args.banking77, "valid", "test")} | pairs
    found: list[Counted] = []
    for name, whole in pairs.items():
        goals = [
            Goal(name=goal, limit=limit, confidence=args.confidence)
            for goal, limits in LEVELS[name].items()
            for limit in limits
        ]
        found += counted(name, whole, goals, args.measure, args.draws)
    if args.json:
        print(json.dumps([row._asdict() for row in found]))
    else:
        Console(width=120).print(shown(found, args.draws, args.confidence))


if __name__ == "__main__":
    main()
