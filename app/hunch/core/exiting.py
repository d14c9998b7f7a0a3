"""The exit policy: which messages the fast model decides alone, and until when the others wait."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hunch.errors import ConfigError

EARLIEST_DEADLINE_MS = 100_000_000_000
"""An epoch time in 1973: a smaller number of milliseconds is really one of seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitPolicy:
    """What the fast stage decides by; every decision names it.

    Attributes:
        name: how decisions name this policy.
        tau: exit iff score ≥ tau, in [0, 1].
        delta_ms: the time the slow model gets.
        max_age_ms: older messages exit at once, whatever their score; None for never.
        deadline_from: whether Δ counts from the deferral or from the record's timestamp.
    """

    name: str
    tau: float
    delta_ms: float
    max_age_ms: float | None = None
    deadline_from: Literal["deferral", "ingest"] = "deferral"

    def __post_init__(self) -> None:
        if not 0.0 <= self.tau <= 1.0:
            msg = f"tau is {self.tau}, but it must lie between 0 and 1."
            raise ConfigError(msg)
        if self.delta_ms < 0:
            msg = f"delta_ms is {self.delta_ms}, but it must be 0 or more milliseconds."
            raise ConfigError(msg)

    def exits(self, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which rows exit: score ≥ tau; [n] → [n]. A NaN never exits."""
        return scores >= self.tau

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
