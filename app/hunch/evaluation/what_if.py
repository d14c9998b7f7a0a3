"""What another τ or Δ would have done to messages that are decided.

Known is what the decisions say: every score, and of what was deferred the slow model's answer and
when it came, where it did. So a lower τ is known to the message, and a shorter Δ as far as the slow
stage had answered at the same moment: really it hurries, and refuses, by the deadline. Not known is

    what the slow model would have said of what exited: a higher τ defers it
    when an answer would have come that never did: a longer Δ waits for it

and each number that depends on it has a lowest and a highest value. How often the slow model would
have said something else is estimated by what was deferred with a score just below τ: that holds
where it disagrees less the higher the score. That the slow model is as fast under another load is
assumed, and is for a simulation to find out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from hunch.core.envelope import Path, Reason
from hunch.core.significance import upper_bound
from hunch.errors import DataError

NEAREST = 200
"""Deferrals below τ that tell of what lies above it."""
LEVEL = 0.05
PERCENTILE = 95
SLACK_MS = 1.0
NEEDED = frozenset(
    {"origin", "path", "reason", "fast", "slow", "tau", "delta_ms", "policy", "at_ms", "times"}
)
WAITED = frozenset(
    {Reason.VERIFIED, Reason.DEADLINE, Reason.SLOW_ERROR, Reason.SHED, Reason.OVERFLOW}
)
"""Why a message can be decided that was deferred."""
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Message(NamedTuple):
    """One decided message.

    Attributes:
        score: what was held against τ.
        is_deferred: whether it went to the slow model.
        is_slow: whether that one's answer was the decision.
        differs: whether the slow model said something else than the fast one; None where it said
            nothing that is known.
        slow_ms: from the deferral to the slow answer; None likewise.
        join_ms: from the deferral to the decision; 0 where there was none.
        total_ms: from the message to the decision.
        limit_ms: what the client allowed from the deferral on, where that was less than Δ.
        passed_ms: of Δ when it was or would be deferred; 0 where Δ counts from the deferral.
    """

    score: float
    is_deferred: bool
    is_slow: bool
    differs: bool | None
    slow_ms: float | None
    join_ms: float
    total_ms: float
    limit_ms: float | None
    passed_ms: float = 0.0


class Late(NamedTuple):
    """A slow answer that came after the decision; `at_ms` is when."""

    label: str
    at_ms: float


class Span(NamedTuple):
    """A number that may be anything from the lowest to the highest."""

    low: float
    high: float

    @property
    def is_known(self) -> bool:
        """Whether it is one number."""
        return self.low == self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """What a τ and Δ would have done; shares are of all messages.

    Attributes:
        exits: share of fast decisions.
        slow: share decided by the slow model, of `deferrals`.
        fallback: share decided by the fast model for want of time.
        changed: share with another answer than they got.
        likely_changed: the highest that share is likely to be, by what lies just below τ; None
            where all is known, or where nothing tells.
        p95_ms: from a message to its decision, as the stages count it: without the way to a reader.
        unknown: share that was not deferred and would have been.
    """

    tau: float
    delta_ms: int
    exits: float
    deferrals: float
    slow: Span
    fallback: Span
    changed: Span
    likely_changed: float | None
    p95_ms: Span
    unknown: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """Messages under one policy, and how many more there were.

    Attributes:
        policy: its name.
        tau: the lowest, where labels have their own.
        has_own_taus: whether they do.
        messages: that can be asked about.
        other_policies: decisions that name another one.
        others: errors, and fallbacks that never were to be deferred.
        repeated: decisions on a message that had one, which do not count.
    """

    policy: str
    tau: float
    has_own_taus: bool
    delta_ms: int
    messages: Sequence[Message]
    other_policies: int
    others: int
    repeated: int = 0


def decided_of(
    values: Sequence[bytes],
    late: Mapping[str, Late],
    *,
    deadline_from: Literal["deferral", "ingest"] = "deferral",
) -> Decided:
    """What decisions say, of the policy that decided last.

    Args:
        values: of records on `decisions`.
        late: origin → the answer that came too late.
        deadline_from: what Δ counts from, as in the settings.

    Raises `DataError` where there is nothing to ask about.
    """
    every = [said for said in map(_object, values) if said is not None]
    first = {said["origin"]: said for said in sorted(every, key=_at_ms, reverse=True)}
    found = sorted(first.values(), key=_at_ms)
    if not found:
        raise DataError("There are no decisions to ask about: send messages first.")
    latest = found[-1]
    policy, delta_ms = latest["policy"], latest["delta_ms"]
    own = [it for it in found if it["policy"] == policy and it["delta_ms"] == delta_ms]
    taus = {said["tau"] for said in own}
    is_from_ingest = deadline_from == "ingest"
    read = [_message(said, late.get(said["origin"]), is_from_ingest=is_from_ingest) for said in own]
    messages = [message for message in read if message is not None]
    if not messages:
        raise DataError(f"No decision of the policy {policy} can be asked about: all are errors.")
    return Decided(
        policy=policy,
        tau=min(taus),
        has_own_taus=len(taus) > 1,
        delta_ms=round(delta_ms),
        messages=messages,
        other_policies=len(found) - len(own),
        others=len(own) - len(messages),
        repeated=len(every) - len(found),
    )


class WhatIf:
    """Answers for any τ and Δ."""

    def __init__(self, decided: Decided) -> None:
        messages = decided.messages
        self._delta_ms = decided.delta_ms
        self._scores = np.array([it.score for it in messages])
        self._was_deferred = np.array([it.is_deferred for it in messages])
        self._was_slow = np.array([it.is_slow for it in messages])
        self._is_told = np.array([it.differs is not None for it in messages])
        self._differs = np.array([bool(it.differs) for it in messages])
        self._slow_ms = np.array([np.inf if it.slow_ms is None else it.slow_ms for it in messages])
        self._join_ms = np.array([it.join_ms for it in messages])
        self._fast_ms = np.array([it.total_ms - it.join_ms for it in messages])
        self._limit_ms = np.array(
            [np.inf if it.limit_ms is None else it.limit_ms for it in messages]
        )
        self._passed_ms = np.array([it.passed_ms for it in messages])
        self._waited_ms = self._waits_ms(self._delta_ms)

    def of(self, tau: float, delta_ms: int) -> Hypothesis:
        """What they would have done."""
        exits = self._scores >= tau
        waits_ms = self._waits_ms(delta_ms)
        fresh = ~exits & ~self._was_deferred
        still = ~exits & self._was_deferred
        in_time = still & self._is_told & (self._slow_ms <= waits_ms)
        late = (still & self._is_told & ~in_time) | (fresh & (waits_ms <= 0.0))
        never = still & ~self._is_told & (waits_ms <= self._waited_ms)
        perhaps = ~exits & ~in_time & ~late & ~never
        surely = self._changes(exits | late | never, in_time)
        count = len(exits)
        shares = [float(flags.sum()) / count for flags in (in_time, late | never, perhaps)]
        certain = float(surely.sum()) / count
        return Hypothesis(
            tau=tau,
            delta_ms=delta_ms,
            exits=float(exits.mean()),
            deferrals=float((~exits).mean()),
            slow=Span(shares[0], shares[0] + shares[2]),
            fallback=Span(shares[1], shares[1] + shares[2]),
            changed=Span(certain, certain + shares[2]),
            likely_changed=self._likely(certain, perhaps, fresh),
            p95_ms=self._p95(exits, in_time, perhaps, waits_ms),
            unknown=float((fresh & perhaps).mean()),
        )

    def _waits_ms(self, delta_ms: int) -> Floats:
        """How long each message may wait from its deferral on."""
        waits_ms: Floats = np.minimum(self._limit_ms, np.maximum(delta_ms - self._passed_ms, 0.0))
        return waits_ms

    def _changes(self, is_fast: Flags, is_slow: Flags) -> Flags:
        """Who gets another answer, of those whose model is known."""
        lost = is_fast & self._was_slow & self._differs
        won = is_slow & ~self._was_slow & self._differs
        changes: Flags = lost | won
        return changes

    def _likely(self, certain: float, perhaps: Flags, fresh: Flags) -> float | None:
        if not perhaps.any():
            return None
        told = np.flatnonzero(self._is_told & self._was_deferred)
        nearest = told[np.argsort(-self._scores[told], kind="stable")[:NEAREST]]
        if not len(nearest) or (perhaps & ~fresh).any():
            return None
        bound = upper_bound(int(self._differs[nearest].sum()), len(nearest), LEVEL)
        return certain + bound * float(perhaps.mean())

    def _p95(self, exits: Flags, in_time: Flags, perhaps: Flags, waits_ms: Floats) -> Span:
        """From the fast answer at once to Δ at the latest, where nobody knows."""
        fell_back = self._was_deferred & ~self._was_slow & (waits_ms <= self._waited_ms)
        held_ms = np.where(fell_back, np.minimum(waits_ms, self._join_ms), waits_ms)
        after_ms = np.where(in_time, self._slow_ms, held_ms)
        after_ms[exits] = 0.0
        most = np.percentile(self._fast_ms + after_ms, PERCENTILE)
        after_ms[perhaps] = 0.0
        least = np.percentile(self._fast_ms + after_ms, PERCENTILE)
        return Span(float(least), float(most))


def _message(said: Mapping[str, Any], late: Late | None, *, is_from_ingest: bool) -> Message | None:
    """None for what is an error, or never was to be deferred and did not exit."""
    path, reason = said["path"], said["reason"]
    is_deferred = reason in WAITED
    if path == Path.ERROR or not (is_deferred or path == Path.FAST):
        return None
    fast, slow, times = said["fast"], said["slow"], said["times"]
    score, total_ms = said.get("score", fast["confidence"]), times["total"]
    if not is_deferred:
        return Message(
            score=score,
            is_deferred=False,
            is_slow=False,
            differs=None,
            slow_ms=None,
            join_ms=0.0,
            total_ms=total_ms,
            limit_ms=None,
            passed_ms=total_ms if is_from_ingest else 0.0,
        )
    join_ms = times["join"]
    passed_ms = total_ms - join_ms if is_from_ingest else 0.0
    deferred_ms = said["at_ms"] - join_ms
    own_ms = max(0.0, said["deadline_ms"] - deferred_ms)
    is_slow = path == Path.SLOW
    slow_ms = differs = None
    if is_slow:
        slow_ms, differs = min(join_ms, own_ms), slow["label"] != fast["label"]
    elif late is not None:
        slow_ms = max(late.at_ms - deferred_ms, own_ms + SLACK_MS)
        differs = late.label != fast["label"]
    limit_ms = own_ms if own_ms < said["delta_ms"] - passed_ms - SLACK_MS else None
    return Message(
        score=score,
        is_deferred=True,
        is_slow=is_slow,
        differs=differs,
        slow_ms=slow_ms,
        join_ms=join_ms,
        total_ms=total_ms,
        limit_ms=limit_ms,
        passed_ms=passed_ms,
    )


def _at_ms(said: Mapping[str, Any]) -> float:
    at_ms: float = said["at_ms"]
    return at_ms


def _object(value: bytes) -> dict[str, Any] | None:
    """A decision as it was written; None for what somebody else has written."""
    try:
        said = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    is_decision = isinstance(said, dict) and said.keys() >= NEEDED
    return said if is_decision and _is_whole(said) else None


def _is_whole(said: Mapping[str, Any]) -> bool:
    """Whether what is asked about is there, each of its kind."""
    times, fast, slow = said["times"], said["fast"], said["slow"]
    numbers = [said["at_ms"], said["tau"], said["delta_ms"]]
    if said["path"] != Path.ERROR:
        if not (isinstance(times, dict) and isinstance(fast, dict)):
            return False
        numbers += [times.get("total"), said.get("score", fast.get("confidence"))]
        if said["reason"] in WAITED:
            numbers += [times.get("join"), said.get("deadline_ms")]
        if said["path"] == Path.SLOW and not (isinstance(slow, dict) and "label" in slow):
            return False
    words = [said["origin"], said["path"], said["reason"], said["policy"]]
    return all(isinstance(it, str) for it in words) and all(
        isinstance(it, int | float) for it in numbers
    )
