"""The joiner's laws: one verdict a deferral, on time, through any order, crash and takeover."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests import brokers

from hunch.core.envelope import Answer, Path, Reason, SlowResult
from hunch.core.joining import Inherited, JoinPolicy, JoinState, Late, Positions, Verdict

START = Positions(
    lowest_undecided=0, first_early=0, deferrals_read=0, results_read=0, decisions_mark=0
)
ANSWER = Answer(label="b", confidence=0.9, model="slow@1")


class Joiner(RuleBasedStateMachine):
    """One partition pair: logs that only grow, an owner that reads them, crashes, and is replaced.

    Offsets of deferrals have gaps: markers and aborted records, for which there may be results all
    the same. `decisions` is the owner's output log; a commit may lag behind it by any number of
    steps, as it does at-least-once, and never runs ahead of it.
    """

    policy = JoinPolicy(max_pending=4, max_early=3, hold_ms=50.0)

    @initialize()
    def begin(self):
        """An empty pair, with its first owner."""
        self.now_ms = 1_000.0
        self.deferrals: dict[int, tuple[int, int]] = {}
        self.end = 0
        self.results: list[SlowResult] = []
        self.decisions: list[Verdict] = []
        self.late: list[Late] = []
        self.committed = START
        self.commits: list[tuple[int, Positions]] = []
        self.take_over()

    def take_over(self):
        """What a lane does: read back from the mark, start at the committed positions."""
        start = self.committed
        decided = {
            verdict.offset: verdict.pending.origin
            for verdict in self.decisions[start.decisions_mark :]
        }
        inherited = Inherited(
            start=start,
            decided=decided,
            decisions_end=len(self.decisions),
            results_end=len(self.results),
            now_ms=self.now_ms,
        )
        self.state = JoinState(self.policy, inherited)
        self.next_deferral, self.next_result = start.lowest_undecided, start.first_early
        self.taken_over_ms = self.now_ms
        self.commits = []

    def deliver(self, verdicts):
        """Writes verdicts; the commit for them may come now, later or never."""
        self.decisions += verdicts
        self.state.on_acknowledged(len(self.decisions))
        self.commits.append((len(self.decisions), self.state.positions()))

    @rule(delta_ms=st.integers(0, 200), gap=st.integers(0, 2))
    def defer(self, delta_ms, gap):
        """A message is deferred, behind some offsets that nobody can read; Δ may be 0."""
        self.deferrals[self.end + gap] = (int(self.now_ms), int(self.now_ms) + delta_ms)
        self.end += gap + 1

    @rule(count=st.integers(1, 2))
    def leave_a_gap(self, count):
        """A transaction ends: its marker is the last thing in the log for a while."""
        self.end += count

    @rule(data=st.data(), kind=st.sampled_from(["answer", "error", "shed"]))
    def slow_answers(self, data, kind):
        """A slow worker answers anything: in any order, again, too early, what was aborted."""
        offset = data.draw(st.integers(0, self.end + 4))
        self.results.append(
            SlowResult(
                origin=f"messages-0-{offset}",
                deferral=offset,
                model="slow@1",
                answer=ANSWER if kind == "answer" else None,
                error="it broke" if kind == "error" else None,
                shed=kind == "shed",
            )
        )

    def unread(self):
        """The offsets of deferrals that this owner has not read."""
        return sorted(offset for offset in self.deferrals if offset >= self.next_deferral)

    @precondition(lambda self: self.unread())
    @rule()
    def read_deferral(self):
        """The owner reads one deferral; gaps it does not notice."""
        offset = self.unread()[0]
        deferred_ms, deadline_ms = self.deferrals[offset]
        self.next_deferral = offset + 1
        pending = self.undecided_and_read()
        verdict = self.state.on_deferral(
            offset,
            deadline_ms,
            deferred_ms,
            origin=f"messages-0-{offset}",
            key=None,
            header=b"{}",
            traceparent=None,
        )
        if verdict is not None and verdict.reason is Reason.OVERFLOW:
            assert min([*pending, offset]) == verdict.offset
        self.deliver([verdict] if verdict else [])

    @precondition(lambda self: not self.unread() and self.next_deferral < self.end)
    @rule()
    def pass_a_gap(self):
        """With nothing left to read, the position reaches the end of the log."""
        self.next_deferral = self.end
        self.state.passed(self.end, self.next_result)
        self.deliver([])

    def undecided_and_read(self):
        """What this owner holds, as the log of its decisions tells it."""
        decided = {verdict.offset for verdict in self.decisions}
        return {at for at in self.deferrals if at < self.next_deferral and at not in decided}

    @precondition(lambda self: self.next_result < len(self.results))
    @rule()
    def read_result(self):
        """The owner reads one slow result."""
        offset = self.next_result
        self.next_result += 1
        outcome = self.state.on_result(offset, self.results[offset])
        if isinstance(outcome, Late):
            self.late.append(outcome)
        self.deliver([outcome] if isinstance(outcome, Verdict) else [])

    @rule(ms=st.integers(1, 120), limit=st.integers(1, 3))
    def time_passes(self, ms, limit):
        """The clock moves, and the timer task does what is due, a few at a time."""
        self.now_ms += ms
        due = self.state.next_deadline_ms()
        verdicts = self.state.on_tick(self.now_ms, limit)
        assert not verdicts or (due is not None and due <= self.now_ms)
        for verdict in verdicts:
            assert verdict.pending.deadline_ms <= self.now_ms
        self.deliver(verdicts)

    @precondition(lambda self: self.commits)
    @rule(data=st.data())
    def commit(self, data):
        """Some commit since the takeover reaches the broker; later ones never before earlier."""
        last = data.draw(st.integers(0, len(self.commits) - 1))
        self.committed = self.commits[last][1]
        self.commits = self.commits[last + 1 :]

    @rule()
    def crash(self):
        """The owner dies, and the next one takes over from what was committed."""
        self.take_over()

    @invariant()
    def one_verdict_a_deferral(self):
        """No deferral is decided twice, by whichever owner."""
        offsets = [verdict.offset for verdict in getattr(self, "decisions", [])]
        assert len(set(offsets)) == len(offsets)

    @invariant()
    def honest_paths(self):
        """Slow only with an answer at hand and a time given; fallback always with its reason."""
        for verdict in getattr(self, "decisions", []):
            if verdict.path is Path.SLOW:
                assert verdict.result is not None
                assert verdict.result.answer is not None
                assert verdict.result.deferral == verdict.offset
                assert self.deferrals[verdict.offset][0] < self.deferrals[verdict.offset][1]
            else:
                assert verdict.path is Path.FALLBACK
                assert verdict.reason is not Reason.VERIFIED

    @invariant()
    def bounded(self):
        """No more is pending than the bound says."""
        if hasattr(self, "state"):
            assert self.state.pending <= self.policy.max_pending
            assert self.undecided_and_read() == set(self.state._pending)

    @invariant()
    def early_results_are_bounded(self):
        """None is kept further ahead than the bound, nor for what was passed, once told so."""
        if hasattr(self, "state"):
            self.state.positions()
            known = max(self.state._deferrals_at, self.state._known_deferrals)
            assert all(at < known + self.policy.max_early for at in self.state._early)

    @invariant()
    def commits_hold_back_the_undecided(self):
        """Nothing undecided lies below the offset to commit; the decisions mark is low enough."""
        if not hasattr(self, "state"):
            return
        decided = {verdict.offset: at for at, verdict in enumerate(self.decisions)}
        for said in (self.committed, self.state.positions()):
            assert {at for at in self.deferrals if at < said.lowest_undecided} <= set(decided)
            assert all(
                at >= said.decisions_mark
                for offset, at in decided.items()
                if offset >= said.lowest_undecided
            )

    @invariant()
    def no_position_falls(self):
        """What an owner would commit is nowhere behind what was committed before it."""
        if hasattr(self, "state"):
            now, before = self.state.positions(), self.committed
            assert now.lowest_undecided >= before.lowest_undecided
            assert now.first_early >= before.first_early
            assert now.deferrals_read >= before.deferrals_read
            assert now.results_read >= before.results_read

    def settle(self):
        """Everything that was decided is in the log."""

    def teardown(self):
        """In the end, once all is read and due, every deferral has its verdict."""
        if not hasattr(self, "state"):
            return
        while self.unread():
            self.read_deferral()
        self.next_deferral = self.end
        self.state.passed(self.end, self.next_result)
        while self.next_result < len(self.results):
            self.read_result()
        self.now_ms += 1_000
        self.deliver(self.state.on_tick(self.now_ms, 1_000))
        self.settle()
        assert {verdict.offset for verdict in self.decisions} == set(self.deferrals)
        assert self.state.positions().lowest_undecided == self.end
        self.one_verdict_a_deferral()


class TransactionalJoiner(Joiner):
    """Decisions and positions count together, or not at all; a crash costs what was made since."""

    @initialize()
    def begin(self):
        """Nothing is in hand yet."""
        self.in_hand: list[Verdict] = []
        super().begin()

    def take_over(self):
        """What was in hand is lost, whoever had it."""
        self.in_hand = []
        super().take_over()

    def deliver(self, verdicts):
        """Keeps verdicts until the transaction that says so."""
        self.in_hand += verdicts
        self.commits = [(0, self.state.positions())]

    def undecided_and_read(self):
        """What this owner holds; what it has in hand is decided, as far as it goes."""
        return super().undecided_and_read() - {verdict.offset for verdict in self.in_hand}

    @precondition(lambda self: self.commits)
    @rule(is_told=st.booleans())
    def commit(self, is_told):
        """A transaction commits; where nobody is told, its owner has to go."""
        self.decisions += self.in_hand
        self.committed = self.commits[-1][1]
        self.in_hand, self.commits = [], []
        if is_told:
            self.state.on_acknowledged(len(self.decisions))
        else:
            self.take_over()

    @invariant()
    def commits_hold_back_the_undecided(self):
        """As before, of what is committed: what is in hand stands nowhere yet."""
        if hasattr(self, "state"):
            decided = {verdict.offset: at for at, verdict in enumerate(self.decisions)}
            lowest, mark = self.committed.lowest_undecided, self.committed.decisions_mark
            assert {at for at in self.deferrals if at < lowest} <= set(decided)
            assert all(at >= mark for offset, at in decided.items() if offset >= lowest)

    def settle(self):
        """The last transaction commits."""
        self.decisions += self.in_hand
        self.in_hand = []


EXAMPLES = settings(max_examples=150, stateful_step_count=40, derandomize=brokers.is_ci())
TestJoiner = Joiner.TestCase
TestJoiner.settings = EXAMPLES
TestTransactionalJoiner = TransactionalJoiner.TestCase
TestTransactionalJoiner.settings = EXAMPLES
