"""The joiner's laws: one verdict a deferral, on time, through any order, crash and takeover."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hunch.core.envelope import Answer, Path, Reason, SlowResult
from hunch.core.joining import Inherited, JoinPolicy, JoinState, Late, Positions, Verdict

START = Positions(
    lowest_undecided=0, first_early=0, deferrals_read=0, results_read=0, decisions_mark=0
)
ANSWER = Answer(label="b", confidence=0.9, model="slow@1")


class Joiner(RuleBasedStateMachine):
    """One partition pair: logs that only grow, an owner that reads them, crashes, and is replaced.

    `decisions` is the owner's output log; a commit may lag behind it by any number of steps, as it
    does at-least-once, and never runs ahead of it.
    """

    max_pending = 4

    @initialize()
    def begin(self):
        """An empty pair, with its first owner."""
        self.now_ms = 1_000.0
        self.deferrals: list[tuple[int, int]] = []
        self.results: list[SlowResult] = []
        self.decisions: list[Verdict] = []
        self.late: list[Late] = []
        self.committed = START
        self.commits: list[tuple[int, Positions]] = []
        self.take_over()

    def take_over(self):
        """What a lane does: read back from the mark, start at the committed positions."""
        start = self.committed
        decided = {verdict.offset for verdict in self.decisions[start.decisions_mark :]}
        inherited = Inherited(
            start=start,
            decided=decided,
            decisions_end=len(self.decisions),
            results_end=len(self.results),
            now_ms=self.now_ms,
        )
        self.state = JoinState(JoinPolicy(max_pending=self.max_pending, hold_ms=50.0), inherited)
        self.next_deferral, self.next_result = start.lowest_undecided, start.first_early
        self.taken_over_ms = self.now_ms
        self.commits = []

    def deliver(self, verdicts):
        """Writes verdicts; the commit for them may come now, later or never."""
        self.decisions += verdicts
        self.state.on_acknowledged(len(self.decisions))
        self.commits.append((len(self.decisions), self.state.positions()))

    @rule(delta_ms=st.integers(0, 200))
    def defer(self, delta_ms):
        """A message is deferred; Δ may be 0."""
        self.deferrals.append((int(self.now_ms), int(self.now_ms) + delta_ms))

    @precondition(lambda self: self.deferrals)
    @rule(data=st.data(), kind=st.sampled_from(["answer", "error", "shed"]))
    def slow_answers(self, data, kind):
        """A slow worker answers any deferral, in any order, perhaps again."""
        offset = data.draw(st.integers(0, len(self.deferrals) - 1))
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

    @precondition(lambda self: self.next_deferral < len(self.deferrals))
    @rule()
    def read_deferral(self):
        """The owner reads one deferral."""
        offset = self.next_deferral
        deferred_ms, deadline_ms = self.deferrals[offset]
        self.next_deferral += 1
        verdict = self.state.on_deferral(
            offset, deadline_ms, deferred_ms, key=None, header=b"{}", traceparent=None
        )
        self.deliver([verdict] if verdict else [])

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
            assert self.state.pending <= self.max_pending

    @invariant()
    def commits_hold_back_the_undecided(self):
        """Nothing undecided that was read lies below the offset to commit."""
        if hasattr(self, "state"):
            decided = {verdict.offset for verdict in self.decisions}
            lowest = self.state.positions().lowest_undecided
            assert set(range(lowest)) <= decided

    def teardown(self):
        """In the end, once all is read and due, every deferral has its verdict."""
        if not hasattr(self, "state"):
            return
        while self.next_deferral < len(self.deferrals):
            self.read_deferral()
        while self.next_result < len(self.results):
            self.read_result()
        self.now_ms += 1_000
        self.deliver(self.state.on_tick(self.now_ms, 1_000))
        assert {verdict.offset for verdict in self.decisions} == set(range(len(self.deferrals)))
        assert self.state.positions().lowest_undecided == len(self.deferrals)
        self.one_verdict_a_deferral()


TestJoiner = Joiner.TestCase
TestJoiner.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
