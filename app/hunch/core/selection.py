"""τ for a named goal, with what is promised of it; rows are exchangeable with the traffic.

    selective-risk   P(fast wrong | exit) ≤ limit, with confidence. Learn-then-Test (Angelopoulos
                     et al. 2021): exact binomial p-values, a fixed sequence.
    agreement        P(fast = slow | exit) ≥ limit, with confidence: the same test, no labels.
    accuracy-within  accuracy of slow - accuracy of the cascade ≤ limit, with confidence: a
                     sequence, exact trinomial p-values (`hunch.core.significance`).
    joint-risk       P(exit, fast wrong, slow right) ≤ limit on average over calibrations:
                     conformal risk control (Angelopoulos et al. 2022).
    slow-share       P(score < τ) ≤ limit, with confidence: an order statistic, no labels.

The candidates of a sequence come from other rows than those that test them (`candidates` is given
the fit split). A promise is one of one choice: of several, by other seeds or goals, the one that
passed has no such confidence.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from hunch.core.power import MOST_ROWS, outlook_of, rows_for_loss
from hunch.core.significance import loss_p_value, risk_p_value
from hunch.errors import ConfigError, DataError

GoalName = Literal["accuracy-within", "selective-risk", "joint-risk", "agreement", "slow-share"]
GOALS: tuple[GoalName, ...] = get_args(GoalName)
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Counts = NDArray[np.int64]
GRID = np.linspace(0.0, 1.0, 101)
"""Quantiles of the scores at which candidates lie."""
ROUNDING = 1e-9
METHODS: dict[GoalName, str] = {
    "selective-risk": "Learn-then-Test: exact binomial p-values, fixed sequence",
    "agreement": "Learn-then-Test: exact binomial p-values, fixed sequence",
    "accuracy-within": "Learn-then-Test: exact trinomial p-values, fixed sequence",
    "joint-risk": "conformal risk control",
    "slow-share": "order statistic of the scores",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What τ is to bring about.

    Attributes:
        name: one of those above.
        limit: what is not to be passed, in [0, 1].
        confidence: 1 - δ, in (0, 1); joint-risk has none, it speaks of the average.
    """

    name: GoalName
    limit: float
    confidence: float = 0.95

    def __post_init__(self) -> None:
        """Raises `ConfigError` for what cannot be meant."""
        if self.name not in GOALS:
            raise ConfigError(f"There is no goal {self.name!r}: use one of {', '.join(GOALS)}.")
        if not 0.0 <= self.limit <= 1.0:
            raise ConfigError(f"The goal {self.name} is {self.limit}, but must lie from 0 to 1.")
        if not 0.0 < self.confidence < 1.0:
            raise ConfigError(f"The confidence is {self.confidence}, but must lie between 0 and 1.")

    @property
    def needs_labels(self) -> bool:
        """Whether it speaks of right and wrong."""
        return self.name not in {"agreement", "slow-share"}

    @property
    def harm_limit(self) -> float:
        """The largest share of harms: of an agreement that is what is left of 1."""
        return 1.0 - self.limit if self.name == "agreement" else self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """What is known of n recorded rows, a column each.

    Attributes:
        scores: of the fast answer, in [0, 1]; a row exits iff its score ≥ τ.
        agrees: whether both models have the same best label.
        fast_right: whether the fast answer is right; None without labels.
        slow_right: whether the slow one is.
    """

    scores: Floats
    agrees: Flags
    fast_right: Flags | None = None
    slow_right: Flags | None = None

    def part(self, rows: NDArray[np.intp] | Flags) -> "Outcomes":
        """Some of the rows."""
        right = [None if c is None else c[rows] for c in (self.fast_right, self.slow_right)]
        return Outcomes(
            scores=self.scores[rows],
            agrees=self.agrees[rows],
            fast_right=right[0],
            slow_right=right[1],
        )


class Tested(NamedTuple):
    """One candidate that was tested: its τ, what was found on the rows, and the p-value."""

    tau: float
    exits: int
    estimate: float
    p_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What came of choosing τ.

    Attributes:
        tau: exit iff score ≥ tau; None where nothing can be promised with these rows.
        method: how it was found, in words.
        exits: how many of the rows exit at it.
        rows: how many there were.
        rows_needed: without a tau, about how many would do; None where none would, by what these
            rows show.
        tested: the candidates in the order of their tests.
    """

    tau: float | None
    method: str
    exits: int
    rows: int
    rows_needed: int | None = None
    tested: Sequence[Tested] = ()

    @property
    def is_certified(self) -> bool:
        """Whether what the goal says is promised."""
        return self.tau is not None


class _Sorted:
    """Rows by score: what exits at a τ, and what the goal counts against it."""

    def __init__(self, goal: Goal, outcomes: Outcomes) -> None:
        order = np.argsort(outcomes.scores)
        self.rows = len(order)
        self.scores = outcomes.scores[order]
        self.harms = harms_of(goal.name, outcomes)[order]
        falling = self.harms[::-1]
        self._losses = np.concatenate([[0], np.cumsum(falling > 0)])
        self._gains = np.concatenate([[0], np.cumsum(falling < 0)])

    def exits(self, taus: Floats) -> NDArray[np.intp]:
        """How many rows have score ≥ τ."""
        return self.rows - np.searchsorted(self.scores, taus, side="left")

    def counts(self, taus: Floats) -> tuple[NDArray[np.intp], Counts, Counts]:
        """Exits, and losses and gains among them, of each τ."""
        exits = self.exits(taus)
        return exits, self._losses[exits], self._gains[exits]


def harms_of(name: GoalName, outcomes: Outcomes) -> NDArray[np.int8]:
    """What an exit of each row counts against the goal: 1, 0, or -1 where it is a gain.

    Raises `DataError` without labels where the goal needs them.
    """
    if name in {"agreement", "slow-share"}:
        return (~outcomes.agrees).astype(np.int8)
    if outcomes.fast_right is None or outcomes.slow_right is None:
        raise DataError(
            f"The goal {name} needs labels, and the records have none: record labelled data, or "
            "choose agreement or slow-share."
        )
    if name == "selective-risk":
        return (~outcomes.fast_right).astype(np.int8)
    if name == "joint-risk":
        return (~outcomes.fast_right & outcomes.slow_right).astype(np.int8)
    return outcomes.slow_right.astype(np.int8) - outcomes.fast_right.astype(np.int8)


def candidates(goal: Goal, fit: Outcomes, rows: int) -> Sequence[float]:
    """The sequence in which candidates for τ are tested, descending.

    With few exits no test can pass, so that a sequence which began at the largest τ would end
    there. It begins where the fit split says that it most likely passes.

    Args:
        goal: what τ is to bring about.
        fit: rows that have no part in the test.
        rows: how many will test.

    Raises `DataError` without rows, and without labels where the goal needs them.
    """
    if not len(fit.scores):
        raise DataError("There are no rows to find candidates for tau by.")
    taus = _grid(fit.scores)
    level, limit = 1.0 - goal.confidence, goal.harm_limit
    harms = harms_of(goal.name, fit)
    if goal.name == "accuracy-within" and loss_p_value(0, 0, rows, limit, level) <= level:
        return list(taus.tolist())
    chances = outlook_of(fit.scores, harms > 0, taus).chances(rows, limit, level)
    start = len(taus) - 1 - int(np.argmax(chances[::-1]))
    return list(taus[start:].tolist())


def select(goal: Goal, sequence: Sequence[float], outcomes: Outcomes) -> Selection:
    """The lowest τ of which the goal can be promised.

    Args:
        goal: what τ is to bring about.
        sequence: what `candidates` made of other rows; not used for joint-risk and slow-share.
        outcomes: the rows that decide; nothing else may have been chosen by them.

    Raises `DataError` without rows, and without labels where the goal needs them.
    """
    if not len(outcomes.scores):
        raise DataError("There are no rows to choose tau by.")
    rows = _Sorted(goal, outcomes)
    match goal.name:
        case "slow-share":
            return _by_rank(goal, outcomes.scores)
        case "joint-risk":
            return _by_average(goal, outcomes)
        case _:
            return _by_tests(goal, sequence, rows)


def _by_tests(goal: Goal, sequence: Sequence[float], rows: _Sorted) -> Selection:
    level = 1.0 - goal.confidence
    tested: list[Tested] = []
    tau_found = None
    for tau in sequence:
        test = _test(goal, tau, rows, level)
        tested.append(test)
        if test.p_value > level:
            break
        tau_found = tau
    return Selection(
        tau=tau_found,
        method=METHODS[goal.name],
        exits=0 if tau_found is None else int(rows.exits(np.array(tau_found))),
        rows=rows.rows,
        rows_needed=_rows_needed(goal, rows, level) if tau_found is None else None,
        tested=tested,
    )


def _test(goal: Goal, tau: float, rows: _Sorted, level: float) -> Tested:
    exits, losses, gains = (int(count) for count in rows.counts(np.array(tau)))
    limit = goal.harm_limit
    if goal.name == "accuracy-within":
        p_value = loss_p_value(losses, gains, rows.rows, limit, level)
        return Tested(tau, exits, (losses - gains) / rows.rows, p_value)
    p_value = risk_p_value(losses, exits, limit)
    return Tested(tau, exits, losses / exits if exits else 0.0, p_value)


def _rows_needed(goal: Goal, rows: _Sorted, level: float) -> int | None:
    taus = _grid(rows.scores)
    limit = goal.harm_limit
    if goal.name == "accuracy-within":
        _, losses, gains = rows.counts(taus)
        return rows_for_loss(losses, gains, rows.rows, limit, level)
    return outlook_of(rows.scores, rows.harms > 0, taus).rows_needed(limit, level)


def _grid(scores: Floats) -> Floats:
    """Candidates from the largest score down to 0, where everything exits."""
    quantiles = np.quantile(scores, GRID, method="higher")
    return np.unique(np.append(quantiles, 0.0))[::-1]


def _by_average(goal: Goal, outcomes: Outcomes) -> Selection:
    """(harms at τ + 1) / (n + 1) ≤ limit.

    With exits at score ≥ τ the loss of a row ends just above its score: the next number is tried.
    """
    rows, harms = len(outcomes.scores), harms_of(goal.name, outcomes) > 0
    allowed = math.floor(goal.limit * (rows + 1) - 1.0 + ROUNDING)
    losses = np.sort(outcomes.scores[harms])[::-1]
    tau = 0.0
    if allowed < 0:
        tau = math.inf
    elif len(losses) > allowed:
        tau = math.nextafter(float(losses[allowed]), math.inf)
    is_found = tau <= 1.0
    least = math.ceil(1.0 / goal.limit) - 1 if goal.limit > 1.0 / MOST_ROWS else None
    return Selection(
        tau=tau if is_found else None,
        method=METHODS[goal.name],
        exits=int((outcomes.scores >= tau).sum()),
        rows=rows,
        rows_needed=None if is_found or least is None or least <= rows else least,
    )


def _by_rank(goal: Goal, scores: Floats) -> Selection:
    """The r-th lowest score, r the largest with P(Bin(n, limit) ≥ r) ≥ confidence; or 0."""
    rows = len(scores)
    ranks = np.arange(1, rows + 1)
    allowed = ranks[binom.sf(ranks - 1, rows, goal.limit) >= goal.confidence]
    tau = float(np.sort(scores)[len(allowed) - 1]) if len(allowed) else 0.0
    return Selection(
        tau=tau, method=METHODS[goal.name], exits=int((scores >= tau).sum()), rows=rows
    )


def curve(outcomes: Outcomes, points: int = 100) -> dict[str, list[float | None]]:
    """What would come of τ, for plots: columns of equal length, about `points` long.

    `tau`, `accept_rate`, `slow_share`, `agreement` (of the exits; None where nothing exits), and
    with labels `selective_risk` and `accuracy` (of the cascade when every slow answer is in time).

    Raises `DataError` without rows.
    """
    rows = len(outcomes.scores)
    if not rows:
        raise DataError("There are no rows to draw a curve of.")
    quantiles = np.quantile(outcomes.scores, np.linspace(0.0, 1.0, points), method="lower")
    taus = np.unique(np.concatenate([[0.0], quantiles, [1.0]]))
    exiting = outcomes.scores[None, :] >= taus[:, None]
    exits = exiting.sum(axis=1)

    def among(rights: Flags) -> list[float | None]:
        counts = (exiting & rights).sum(axis=1)
        return [float(c / n) if n else None for c, n in zip(counts, exits, strict=True)]

    columns: dict[str, list[float | None]] = {
        "tau": taus.tolist(),
        "accept_rate": (exits / rows).tolist(),
        "slow_share": (1.0 - exits / rows).tolist(),
        "agreement": among(outcomes.agrees),
    }
    if outcomes.fast_right is not None and outcomes.slow_right is not None:
        columns["selective_risk"] = among(~outcomes.fast_right)
        decided = np.where(exiting, outcomes.fast_right, outcomes.slow_right)
        columns["accuracy"] = decided.mean(axis=1).tolist()
    return columns
