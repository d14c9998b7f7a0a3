"""The exit policy: which messages the fast model decides alone, and until when the others wait."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hunch.core.confidence import MAX_PROBABILITY, Measure, max_probability
from hunch.core.timeouts import timeout_aware_tau
from hunch.errors import ConfigError

EARLIEST_DEADLINE_MS = 100_000_000_000
"""An epoch time in 1973: a smaller number of milliseconds is really one of seconds."""


class Verdicts(NamedTuple):
    """What the policy says of a predicted batch, a column each, a row a message.

    Attributes:
        best: the column of the best label; of equal ones the first.
        confidences: its probability.
        scores: what is held against τ; None where that is the confidence.
        taus: the τ of each row.
        exits: whether score ≥ τ.
    """

    best: list[int]
    confidences: list[float]
    scores: list[float] | None
    taus: list[float]
    exits: list[bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitPolicy:
    """What the fast stage decides by; every decision names it.

    Attributes:
        name: how decisions name this policy.
        tau: exit iff score ≥ tau, in [0, 1].
        taus: column of the best label → a τ of its own.
        measure: from probabilities to the score.
        temperature: divides the fast model's logits; None is the model's own.
        slow_temperature: divides the slow model's logits.
        slow_accuracy: with it, τ falls with the timeout share that `judge` is told; None for
            never. No stage measures that share yet, so there τ stays as it is.
        delta_ms: the time the slow model gets.
        max_age_ms: older messages exit at once, whatever their score; None for never.
        deadline_from: whether Δ counts from the deferral or from the record's timestamp.
    """

    name: str
    tau: float
    delta_ms: float
    taus: Mapping[int, float] = field(default_factory=dict)
    measure: Measure = MAX_PROBABILITY
    temperature: float | None = None
    slow_temperature: float | None = None
    slow_accuracy: float | None = None
    max_age_ms: float | None = None
    deadline_from: Literal["deferral", "ingest"] = "deferral"

    def __post_init__(self) -> None:
        for tau in (self.tau, *self.taus.values()):
            if not 0.0 <= tau <= 1.0:
                msg = f"tau is {tau}, but it must lie between 0 and 1."
                raise ConfigError(msg)
        if self.delta_ms < 0:
            msg = f"delta_ms is {self.delta_ms}, but it must be 0 or more milliseconds."
            raise ConfigError(msg)

    def judge(
        self,
        probabilities: NDArray[np.float32],
        energies: NDArray[np.float64] | None = None,
        timeout_share: float = 0.0,
    ) -> Verdicts:
        """Which rows exit: score ≥ τ.

        Args:
            probabilities: [n, k], temperature applied.
            energies: [n], for the measure that needs them.
            timeout_share: the share of deferrals whose slow answer comes too late; counts where
                there is a `slow_accuracy`.
        """
        best = probabilities.argmax(axis=1)
        confidences = max_probability(probabilities)
        is_plain = self.measure == MAX_PROBABILITY
        scores = confidences if is_plain else self.measure.scores(probabilities, energies)
        taus = self._taus(best, timeout_share)
        return Verdicts(
            best=best.tolist(),
            confidences=confidences.tolist(),
            scores=None if is_plain else scores.tolist(),
            taus=taus.tolist(),
            exits=(scores >= taus).tolist(),
        )

    def _taus(self, best: NDArray[np.intp], timeout_share: float) -> NDArray[np.float64]:
        taus = np.full(len(best), self.tau)
        for column, tau in self.taus.items():
            taus[best == column] = tau
        if self.slow_accuracy is None:
            return taus
        return timeout_aware_tau(taus, self.slow_accuracy, timeout_share)

    def is_stale(self, ingest_ms: float, now_ms: float) -> bool:
        """Whether a message of that record timestamp is too old to be worth the slow model."""
        return self.max_age_ms is not None and now_ms - ingest_ms > self.max_age_ms

    def deadline_ms(self, now_ms: float, ingest_ms: float, asked_ms: int | None) -> int:
        """The deadline of a message deferred now: Δ from its start, or the client's if earlier."""
        start_ms = ingest_ms if self.deadline_from == "ingest" else now_ms
        own_ms = int(start_ms + self.delta_ms)
        return own_ms if asked_ms is None else min(own_ms, asked_ms)


def asked_deadline_ms(header: bytes | None) -> tuple[int | None, bool]:
    """The client's deadline in epoch ms, and whether its header had to be ignored.

    A header that is no integer, or that counts seconds, is ignored.
    """
    if header is None:
        return None, False
    text = header.strip()
    if not text.isdigit() or len(text) > 18:
        return None, True
    asked_ms = int(text)
    return (asked_ms, False) if asked_ms >= EARLIEST_DEADLINE_MS else (None, True)
