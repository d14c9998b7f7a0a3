"""The joiner of one partition pair: deferrals and slow results in, at most one verdict each out.

    a deferral is read      read back as decided → skip; its result is early → slow (or why not);
                            no time was given (Δ = 0) → fallback/deadline; else it is pending
    a result is read        its deferral is pending → slow, or fallback/slow_error, fallback/shed;
                            not read yet → early; else late, unless a predecessor dealt with it
    time passes             every pending deferral whose deadline is reached → fallback/deadline
    too many are pending    the oldest undecided → fallback/overflow

What always holds: one verdict a deferral; after `on_tick(now)` nothing pending is due (unless the
hold after a takeover is on, or the caller's limit was reached); the committable offset never
passes a pending deferral; the decisions mark is a lower bound of where the verdicts of undecided
deferrals can stand in the joiner's own output; no read position ever goes back.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from hunch.core.envelope import Path, Reason, SlowResult
from hunch.errors import ConfigError

OFFSET_BITS = 64


class Pending(NamedTuple):
    """What waits for its verdict: atoms and bytes only, so that the garbage collector skips it."""

    origin: str
    deadline_ms: int
    mark: int
    key: bytes | None
    header: bytes
    traceparent: bytes | None


class Verdict(NamedTuple):
    """One deferral, decided."""

    offset: int
    pending: Pending
    path: Path
    reason: Reason
    result: SlowResult | None


class Late(NamedTuple):
    """A slow result whose deferral is decided; `is_answer` ones go to `late-results`."""

    offset: int
    is_answer: bool
    """False also for one that is further ahead of all deferrals than early ones may be, and for one
    to another deferral that had the same offset."""


class Positions(NamedTuple):
    """What a commit of the pair says.

    Attributes:
        lowest_undecided: the deferral offset to commit.
        first_early: the slow-results offset to commit.
        deferrals_read: high-water mark of the read position in `deferrals`.
        results_read: the same in `slow-results`.
        decisions_mark: no verdict on a deferral from `lowest_undecided` on lies before it.
    """

    lowest_undecided: int
    first_early: int
    deferrals_read: int
    results_read: int
    decisions_mark: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinPolicy:
    """The joiner's bounds, for one partition.

    Attributes:
        max_pending: undecided deferrals held; one more and the oldest is decided.
        max_early: results held for deferrals not read yet; at the bound `slow-results` pauses.
        hold_ms: how long overdue deadlines wait after a takeover for results already written.
    """

    max_pending: int = 1_000_000
    max_early: int = 100_000
    hold_ms: float = 1_000.0

    def __post_init__(self) -> None:
        if self.max_pending < 1 or self.max_early < 1:
            msg = "max_pending and max_early must be 1 or more."
            raise ConfigError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inherited:
    """What a takeover found: where to read on, and what predecessors have dealt with.

    Attributes:
        start: committed positions, or the log's start; their high-water marks are never lower.
        decided: deferral offsets from the start on whose verdicts were read back, and the origins
            that these name.
        decisions_end: end of the joiner's own decisions at the takeover.
        results_end: end of `slow-results` at the takeover.
        now_ms: when the takeover ended.
    """

    start: Positions
    decided: Mapping[int, str]
    decisions_end: int
    results_end: int
    now_ms: float


class JoinState:
    """Everything the joiner knows about one partition pair."""

    def __init__(self, policy: JoinPolicy, inherited: Inherited) -> None:
        start = inherited.start
        self.policy = policy
        self._pending: dict[int, Pending] = {}
        self._order: deque[int] = deque()
        self._timers: list[int] = []
        self._early: dict[int, tuple[int, SlowResult]] = {}
        self._early_order: deque[tuple[int, int]] = deque()
        self._decided = {
            offset: origin
            for offset, origin in inherited.decided.items()
            if offset >= start.lowest_undecided
        }
        self._deferrals_at = start.lowest_undecided
        self._results_at = start.first_early
        self._known_deferrals = max(
            # A verdict that was read back proves a reading, also where no commit tells of it.
            start.deferrals_read,
            start.lowest_undecided,
            *(offset + 1 for offset in self._decided),
        )
        self._known_results = max(start.results_read, start.first_early)
        self._inherited_mark = start.decisions_mark
        self._decisions_end = inherited.decisions_end
        self._results_end = inherited.results_end
        self._hold_until_ms: float | None = inherited.now_ms + policy.hold_ms

    @property
    def pending(self) -> int:
        """Undecided deferrals held."""
        return len(self._pending)

    @property
    def early(self) -> int:
        """Results held for deferrals that were not read yet."""
        return len(self._early)

    @property
    def is_early_full(self) -> bool:
        """Whether `slow-results` should pause."""
        return len(self._early) >= self.policy.max_early

    def on_deferral(
        self,
        offset: int,
        deadline_ms: int,
        deferred_ms: float,
        *,
        origin: str,
        key: bytes | None,
        header: bytes,
        traceparent: bytes | None,
    ) -> Verdict | None:
        """A deferral was read; the verdict where there is one at once, on it or on the oldest.

        Offsets of a topic that was made anew have stood for others: origins tell.
        """
        self._deferrals_at = offset + 1
        early = self._early.pop(offset, None)
        if self._decided.pop(offset, None) == origin:
            return None
        mark = self._mark(offset)
        pending = Pending(origin, deadline_ms, mark, key, header, traceparent)
        if deadline_ms <= deferred_ms:
            return Verdict(offset, pending, Path.FALLBACK, Reason.DEADLINE, None)
        if early is not None and early[1].origin == origin:
            return _verdict(offset, pending, early[1])
        self._pending[offset] = pending
        self._order.append(offset)
        heappush(self._timers, deadline_ms << OFFSET_BITS | offset)
        if len(self._pending) > self.policy.max_pending:
            return self._overflow()
        return None

    def on_result(self, offset: int, result: SlowResult) -> Verdict | Late | None:
        """A slow result was read at `offset` of `slow-results`."""
        self._results_at = offset + 1
        deferral = result.deferral
        pending = self._pending.get(deferral)
        if pending is not None:
            if pending.origin != result.origin:
                return Late(deferral, is_answer=False)
            return _verdict(deferral, self._pending.pop(deferral), result)
        is_unread = deferral >= self._deferrals_at
        if deferral >= max(self._deferrals_at, self._known_deferrals) + self.policy.max_early:
            return Late(deferral, is_answer=False)
        if is_unread and deferral not in self._decided:
            if deferral not in self._early:
                self._early[deferral] = (offset, result)
                self._early_order.append((offset, deferral))
            return None
        if offset < self._known_results and deferral < self._known_deferrals:
            return None
        return Late(deferral, result.answer is not None)

    def on_tick(self, now_ms: float, limit: int) -> list[Verdict]:
        """Decides up to `limit` deferrals whose deadline is reached."""
        verdicts: list[Verdict] = []
        if self.is_held(now_ms):
            return verdicts
        due = (int(now_ms) << OFFSET_BITS) | ((1 << OFFSET_BITS) - 1)
        while self._timers and self._timers[0] <= due and len(verdicts) < limit:
            offset = heappop(self._timers) & ((1 << OFFSET_BITS) - 1)
            pending = self._pending.pop(offset, None)
            if pending is not None:
                verdicts.append(Verdict(offset, pending, Path.FALLBACK, Reason.DEADLINE, None))
        self._compact()
        return verdicts

    def next_deadline_ms(self) -> float | None:
        """When `on_tick` has something to do next, in epoch ms."""
        while self._timers and self._timers[0] & ((1 << OFFSET_BITS) - 1) not in self._pending:
            heappop(self._timers)
        if not self._timers:
            return None
        deadline_ms = float(self._timers[0] >> OFFSET_BITS)
        if self._hold_until_ms is None or self._results_at >= self._results_end:
            return deadline_ms
        return max(deadline_ms, self._hold_until_ms)

    def is_held(self, now_ms: float) -> bool:
        """Whether overdue deadlines still wait for results written before the takeover."""
        if self._hold_until_ms is not None and (
            self._results_at >= self._results_end or now_ms >= self._hold_until_ms
        ):
            self._hold_until_ms = None
        return self._hold_until_ms is not None

    def passed(self, deferrals: int, results: int) -> None:
        """The reader has passed these offsets; markers and aborted records may lie in between."""
        self._deferrals_at = max(self._deferrals_at, deferrals)
        self._results_at = max(self._results_at, results)

    def on_acknowledged(self, decisions_end: int) -> None:
        """Own decisions up to this offset are in the log."""
        self._decisions_end = max(self._decisions_end, decisions_end)

    def positions(self) -> Positions:
        """What to commit for everything decided so far."""
        self._forget_passed()
        while self._order and self._order[0] not in self._pending:
            self._order.popleft()
        if self._order:
            lowest = self._order[0]
            mark = self._pending[lowest].mark
        else:
            lowest = self._deferrals_at
            mark = self._mark(lowest)
        return Positions(
            lowest_undecided=lowest,
            first_early=self._early_order[0][0] if self._early_order else self._results_at,
            deferrals_read=max(self._known_deferrals, self._deferrals_at),
            results_read=max(self._known_results, self._results_at),
            decisions_mark=mark,
        )

    def _mark(self, offset: int) -> int:
        """Where verdicts on deferrals from `offset` on can start in the joiner's own decisions."""
        is_inherited = offset < self._known_deferrals
        return self._inherited_mark if is_inherited else self._decisions_end

    def _overflow(self) -> Verdict:
        while self._order[0] not in self._pending:
            self._order.popleft()
        oldest = self._order.popleft()
        pending = self._pending.pop(oldest)
        self._compact()
        return Verdict(oldest, pending, Path.FALLBACK, Reason.OVERFLOW, None)

    def _forget_passed(self) -> None:
        if len(self._early_order) > 2 * len(self._early) + 1_000:
            early = ((at, deferral) for deferral, (at, _) in self._early.items())
            self._early_order = deque(sorted(early))
        while self._early_order:
            deferral = self._early_order[0][1]
            if deferral in self._early and deferral >= self._deferrals_at:
                return
            self._early.pop(deferral, None)
            self._early_order.popleft()

    def _compact(self) -> None:
        if len(self._timers) > 2 * len(self._pending) + 1_000:
            self._timers = [
                pending.deadline_ms << OFFSET_BITS | offset
                for offset, pending in self._pending.items()
            ]
            heapify(self._timers)
        if len(self._order) > 2 * len(self._pending) + 1_000:
            self._order = deque(sorted(self._pending))


def _verdict(offset: int, pending: Pending, result: SlowResult) -> Verdict:
    if result.answer is not None:
        return Verdict(offset, pending, Path.SLOW, Reason.VERIFIED, result)
    reason = Reason.SHED if result.shed else Reason.SLOW_ERROR
    return Verdict(offset, pending, Path.FALLBACK, reason, result)
