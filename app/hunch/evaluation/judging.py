"""`judged`: what τ does on rows that had no part in choosing it."""

import math
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import betabinom, binom, binomtest, norm

from hunch.core.calibration import expected_calibration_error
from hunch.core.selection import Goal, Outcomes, harms_of
from hunch.evaluation.records import Record

Flags = NDArray[np.bool_]
STRANGE = 0.01
"""Below this, chance hardly explains why the judging rows miss the goal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Shares of the judging rows; None where there are no labels, no τ, or no exits.

    Attributes:
        rows: how many there are.
        accept_rate: exit at τ.
        accuracy: are right in the end, when every slow answer comes in time.
        fast_accuracy: where the fast model answers all.
        slow_accuracy: where the slow model answers all.
        selective_risk: of the exits, those that are wrong.
        joint_risk: exit wrong where the slow model is right.
        agreement: of the exits, those that say what the slow model says.
        ece_before: expected calibration error of the fast model at its own temperature.
        ece: the same at the fitted one.
    """

    rows: int
    accept_rate: float | None = None
    accuracy: float | None = None
    fast_accuracy: float | None = None
    slow_accuracy: float | None = None
    selective_risk: float | None = None
    joint_risk: float | None = None
    agreement: float | None = None
    ece_before: float | None = None
    ece: float | None = None

    def numbers(self) -> dict[str, float | None]:
        """All of it, for a policy and for JSON."""
        return asdict(self)


def judged(record: Record, outcomes: Outcomes, tau: float | None, temperature: float) -> Judged:
    """Counts what comes of τ.

    Args:
        record: the rows.
        outcomes: of the same rows.
        tau: None where there is none.
        temperature: of the fast model.
    """
    fast_right, slow_right = outcomes.fast_right, outcomes.slow_right
    found: dict[str, float | None] = {}
    if fast_right is not None and slow_right is not None:
        found["fast_accuracy"] = _share(fast_right)
        found["slow_accuracy"] = _share(slow_right)
        for name, divisor in (("ece_before", record.fast.temperature), ("ece", temperature)):
            confidence = record.fast.probabilities(divisor)[0].max(axis=1).astype(np.float64)
            found[name] = expected_calibration_error(confidence, fast_right)
    if tau is not None:
        exits = outcomes.scores >= tau
        found["accept_rate"] = _share(exits)
        found["agreement"] = _share(outcomes.agrees[exits])
        if fast_right is not None and slow_right is not None:
            found["accuracy"] = _share(np.where(exits, fast_right, slow_right))
            found["selective_risk"] = _share(~fast_right[exits])
            found["joint_risk"] = _share(exits & ~fast_right & slow_right)
    return Judged(rows=len(outcomes.scores), **found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The number that the goal limits, as the judging rows have it.

    Attributes:
        found: None where nothing exits.
        is_kept: whether it is on the right side of the limit.
        chance: how often chance alone brings about one as bad where the goal is just kept.
    """

    found: float | None
    is_kept: bool
    chance: float

    @property
    def contradicts(self) -> bool:
        """Whether chance hardly explains that the goal is missed."""
        return not self.is_kept and self.chance < STRANGE


def check(goal: Goal, outcomes: Outcomes, tau: float, chose: Outcomes) -> Check:
    """Holds the judging rows against the goal.

    Args:
        goal: that τ was chosen for.
        outcomes: of the judging rows.
        tau: what was chosen.
        chose: the rows that chose it.
    """
    exits = outcomes.scores >= tau
    rows = len(exits)
    harms = harms_of(goal.name, outcomes).astype(np.int64)
    match goal.name:
        case "slow-share":
            return _of_counts(int((~exits).sum()), rows, goal.limit)
        case "joint-risk":
            return _of_averages(int(harms[exits].sum()), rows, goal, chose, tau)
        case "selective-risk":
            return _of_counts(int(harms[exits].sum()), int(exits.sum()), goal.limit)
        case "agreement":
            disagree = _of_counts(int(harms[exits].sum()), int(exits.sum()), goal.harm_limit)
            found = None if disagree.found is None else 1.0 - disagree.found
            return Check(found=found, is_kept=disagree.is_kept, chance=disagree.chance)
        case _:
            losses = np.where(exits, harms, 0)
            gap = float(losses.mean())
            # One more row that differs, as none among few rows does not mean that none ever does.
            error = math.sqrt(float(np.abs(losses).sum()) + 1.0) / rows
            chance = float(norm.sf((gap - goal.limit) / error))
            return Check(found=gap, is_kept=gap <= goal.limit, chance=chance)


class ByMessages(NamedTuple):
    """The number that the goal limits, where each input counts as often as it came.

    Attributes:
        found: on all rows, those that chose τ included.
        is_kept: whether it is on the right side of the limit.
    """

    found: float
    is_kept: bool


def by_messages(
    goal: Goal, outcomes: Outcomes, tau: float, counts: NDArray[np.int64]
) -> ByMessages:
    """What a promise about inputs means for messages, some of which come again and again.

    Args:
        goal: that τ was chosen for.
        outcomes: of all rows.
        tau: what was chosen.
        counts: [n], how often each input came.
    """
    exits = outcomes.scores >= tau
    harmed = int((harms_of(goal.name, outcomes).astype(np.int64) * counts)[exits].sum())
    match goal.name:
        case "slow-share":
            found = float(counts[~exits].sum() / counts.sum())
        case "joint-risk" | "accuracy-within":
            found = harmed / int(counts.sum())
        case _:
            found = harmed / max(int(counts[exits].sum()), 1)
    is_kept = found <= goal.harm_limit
    return ByMessages(1.0 - found if goal.name == "agreement" else found, is_kept)


class Gain(NamedTuple):
    """What the slow model has over the fast one.

    Attributes:
        fast_accuracy: of all rows.
        slow_accuracy: of the same.
        chance: how often chance alone makes the slow model look as much better, by the exact sign
            test.
    """

    fast_accuracy: float
    slow_accuracy: float
    chance: float


def gain(fast_right: Flags, slow_right: Flags) -> Gain:
    """Compares the two models on the same rows."""
    gains, losses = int((slow_right & ~fast_right).sum()), int((fast_right & ~slow_right).sum())
    chance = 1.0
    if gains + losses:
        chance = float(binomtest(gains, gains + losses, alternative="greater").pvalue)
    return Gain(float(fast_right.mean()), float(slow_right.mean()), chance)


def _of_counts(harms: int, rows: int, limit: float) -> Check:
    if not rows:
        return Check(found=None, is_kept=True, chance=1.0)
    found = harms / rows
    chance = float(binom.sf(harms - 1, rows, limit))
    return Check(found=found, is_kept=found <= limit, chance=chance)


def _of_averages(harms: int, rows: int, goal: Goal, chose: Outcomes, tau: float) -> Check:
    """A limit that is kept on average over draws of the rows that chose τ.

    The share of harms beyond the (k + 1)-th highest score of n harmful rows is Beta(k + 1, n - k).
    """
    few = int((harms_of(goal.name, chose)[chose.scores >= tau] > 0).sum())
    found = harms / rows
    chance = float(betabinom.sf(harms - 1, rows, few + 1, max(1, len(chose.scores) - few)))
    return Check(found=found, is_kept=found <= goal.limit, chance=chance)


def _share(rows: Flags) -> float | None:
    return float(rows.mean()) if len(rows) else None
