"""The joiner's laws with its metadata: no crash, fence, fault or tool costs or doubles a decision.

The lane, what it commits and how a successor begins are the product's own; see `joiners`.
"""

import asyncio

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests import brokers
from tests.stages.joiners import DEFERRALS, FAULTS, GROUP, POLICY, RESULTS, Loop, Pair

from hunch.kafka.metadata import pack

KINDS = st.sampled_from(["answer", "answer", "error", "shed"])
FORGER = 7
COUNTS = st.sampled_from([0, 0, 1, 3, 6])
FOREIGN = {
    "its own": "",
    "none": "",
    "words": "somebody else's words",
    "no numbers": pack(FORGER, 0, {}),
    "beyond the end": pack(FORGER, 0, {"rd": 10**6, "rs": 0, "slow": 0, "mark": 0}),
    "a mark beyond the end": pack(FORGER, 0, {"rd": 0, "rs": 0, "slow": 0, "mark": 10**6}),
}
"""Metadata that is not the joiner's own, or cannot be true; or its own beside another offset."""


class ExactlyOnce(RuleBasedStateMachine):
    """One pair; an owner that may die, err, stand still and be replaced between any two steps.

    An owner that was replaced stays about as a zombie, and does what it still can.
    """

    is_exactly_once = True

    @initialize()
    def begin(self):
        """An empty pair, with its first owner."""
        self.loop = Loop()
        self.pair = self.run(self.make())
        self.zombies = []
        self.highest = (0, 0, 0)
        self.take_over()

    async def make(self):
        """Inside the loop, where events belong."""
        return Pair(is_exactly_once=self.is_exactly_once)

    def run(self, work):
        """Runs something to its end."""
        return self.loop.run(work, getattr(getattr(self, "pair", None), "clock", None))

    # -- the world

    @rule(
        what=st.lists(
            st.tuples(st.sampled_from([0, 60, 5_000]), st.booleans(), st.integers(0, 1)),
            min_size=2,
            max_size=6,
        )
    )
    def defer(self, what):
        """Deferrals, each committed or aborted; markers may follow."""
        for delta_ms, is_aborted, gap in what:
            self.pair.defer(delta_ms, is_aborted=is_aborted, gap=gap)

    @rule(what=st.lists(st.tuples(st.integers(-3, 4), KINDS), min_size=2, max_size=6))
    def slow_answers(self, what):
        """Results for deferrals of late: aborted, decided, answered before, yet to come."""
        for back, kind in what:
            offset = self.pair.log.partition(DEFERRALS).end - 1 - back
            if offset >= 0:
                self.pair.answer(offset, kind)

    # -- the owner

    @rule(
        slices=st.lists(
            st.tuples(COUNTS, COUNTS, st.sampled_from([0, 20, 90, 1_000]), st.booleans()),
            min_size=2,
            max_size=4,
        )
    )
    def work(self, slices):
        """Time passes, records arrive; what is decided is written and committed, now or later."""
        for deferrals, results, ms, is_delivered in slices:
            self.run(self.pair.clock.advance(ms))
            self.read(deferrals, results)
            self.pair.work(self.owner)
            if is_delivered:
                assert self.run(self.pair.deliver(self.owner))

    def read(self, deferrals, results):
        """The owner's reader brings so many records of each input."""
        for partition, count in ((DEFERRALS, deferrals), (RESULTS, results)):
            if count:
                self.run(self.pair.read(self.owner, partition, count))

    @precondition(lambda self: self.owner._outbox)
    @rule(fault=st.sampled_from(sorted(FAULTS)), ms=st.sampled_from([0, 10, 500]))
    def deliver_in_vain(self, fault, ms):
        """Something goes wrong on the way: whatever has come of it, a new lane takes over."""
        if not self.run(self.pair.deliver(self.owner, fault)):
            self.run(self.pair.clock.advance(ms))
            self.take_over()

    # -- crashes and takeovers

    @rule(is_killed=st.booleans(), late_ms=st.integers(0, 16))
    def replace(self, is_killed, late_ms):
        """The owner dies; or stands still with work in hand, and does not know of the other."""
        if not is_killed:
            self.pair.defer(0)
            self.pair.defer(5_000)
            self.read(1_000, 1_000)
            self.pair.work(self.owner)
            self.zombies.append(self.owner)
        self.take_over(late_ms)

    def take_over(self, late_ms=0):
        """A successor begins; the latest zombie writes once more: before the fence, or in vain."""
        self.owner = self.run(self.taken_over(late_ms))

    async def taken_over(self, late_ms):
        """The new lane; every request takes 2 ms, so that the two run side by side."""
        pair = self.pair
        pair.log.latency_ms = 2
        late = asyncio.ensure_future(self.write_late(late_ms))
        await pair.clock.sleep(8)
        lane = await pair.lane()
        await lane._take_over()
        await late
        pair.log.latency_ms = 0
        return lane

    async def write_late(self, late_ms):
        """What the latest zombie has made."""
        await self.pair.clock.sleep(late_ms)
        for zombie in self.zombies[-1:]:
            await self.pair.deliver(zombie)

    @precondition(lambda self: self.zombies)
    @rule(which=st.integers(0, 2))
    def zombie_wakes(self, which):
        """It works on with what it had, and is refused: nothing that counts changes."""
        zombie = self.zombies[which % len(self.zombies)]
        before = self.pair.decisions(), dict(self.pair.log.group(GROUP).offsets)
        self.pair.work(zombie)
        if zombie._outbox is not None:
            assert not self.run(self.pair.deliver(zombie))

        assert before == (self.pair.decisions(), self.pair.log.group(GROUP).offsets)

    @rule(text=st.sampled_from([None, *sorted(FOREIGN)]), offset=st.integers(0, 30))
    def a_tool_commits(self, text, offset):
        """The offset is set back or forth, beside words not the joiner's, or is gone altogether."""
        self.highest = (0, 0, 0)
        if text is None:
            self.pair.log.group(GROUP).offsets.clear()
        else:
            end = self.pair.log.partition(DEFERRALS).end
            own = self.pair.log.group(GROUP).offsets.get(DEFERRALS)
            beside = own.metadata if text == "its own" and own is not None else FOREIGN[text]
            self.pair.commit_foreign(min(offset, end), beside)

    # -- what holds

    @invariant()
    def one_decision_a_deferral(self):
        """None is decided twice, none that was never committed, each by what was said of it."""
        if not hasattr(self, "pair"):
            return
        decided = [deferral for _, deferral, _ in self.pair.decisions()]
        assert sorted(set(decided)) == sorted(decided)
        for _, deferral, said in self.pair.decisions():
            assert self.pair.deferred[deferral] == said["origin"]
            assert said["path"] == "fallback" or f"b{deferral}" == said["label"]

    @invariant()
    def what_is_committed_is_decided(self):
        """Below the committed offset nothing is open; the mark lies below all that still counts."""
        committed = self.pair.committed() if hasattr(self, "pair") else None
        if committed is None or "mark" not in committed[1]:
            return
        lowest, numbers = committed
        if numbers["owner"] == FORGER:
            return
        decisions = self.pair.decisions()
        open_ = set(self.pair.deferred) - {deferral for _, deferral, _ in decisions}
        assert all(offset >= lowest for offset in open_)
        assert all(at >= numbers["mark"] for at, deferral, _ in decisions if deferral >= lowest)

    @invariant()
    def nothing_committed_falls(self):
        """No committed offset and no read position goes back, but by somebody else's hand."""
        committed = self.pair.committed() if hasattr(self, "pair") else None
        if committed is None or "rd" not in committed[1] or committed[1]["owner"] == FORGER:
            return
        lowest, numbers = committed
        now = lowest, numbers["rd"], numbers["rs"]
        assert all(new >= old for new, old in zip(now, self.highest, strict=True))
        self.highest = now

    @invariant()
    def bounded(self):
        """However much is undecided, no more is held than the policy says."""
        state = getattr(getattr(self, "owner", None), "_state", None)
        if state is not None:
            assert state.pending <= POLICY.max_pending

    @invariant()
    def the_oldest_overflow(self):
        """What is pending is younger than all that was decided for want of room."""
        state = getattr(getattr(self, "owner", None), "_state", None)
        if state is None:
            return
        for _, deferral, said in self.pair.decisions():
            if said["reason"] == "overflow":
                assert all(pending > deferral for pending in state._pending)

    def teardown(self):
        """In the end every deferral has its decision, by its answer where one is there in time."""
        if not hasattr(self, "pair"):
            return
        try:
            in_time = self.pair.answered_in_time()
            self.take_over()
            for ms in (0, *[1_000] * 7):
                self.work([(1_000, 1_000, ms, True)])
            self.one_decision_a_deferral()
            self.what_is_committed_is_decided()
            reasons = {deferral: said["reason"] for _, deferral, said in self.pair.decisions()}
            assert set(self.pair.deferred) == set(reasons)
            assert "deadline" not in {reasons[deferral] for deferral in in_time}
        finally:
            self.loop.close()


class AtLeastOnce(ExactlyOnce):
    """The same, committed later than written; nobody writes after a successor has begun.

    Then nothing is decided twice here either: it is the late writers that cost a second decision.
    """

    is_exactly_once = False

    def replace(self, is_killed, late_ms):
        """Every owner that is replaced is dead."""
        del is_killed
        self.take_over(late_ms)

    @rule()
    def commit(self) -> None:
        """What was written some time ago is committed."""
        self.run(self.owner.harbour.member.commit())


PATIENT = pytest.mark.timeout(600)
"""A failure is first made as small as it gets."""
EXAMPLES = settings(max_examples=120, stateful_step_count=30, derandomize=brokers.is_ci())
TestExactlyOnce = PATIENT(ExactlyOnce.TestCase)
TestExactlyOnce.settings = EXAMPLES
TestAtLeastOnce = PATIENT(AtLeastOnce.TestCase)
TestAtLeastOnce.settings = EXAMPLES


@pytest.mark.parametrize("late_ms", range(17))
def test_a_late_writer_at_any_moment_of_a_takeover(late_ms):
    """What a zombie commits counts before the fence, never after; the successor starts there."""
    pair = ExactlyOnce()
    pair.begin()
    for delta_ms in (5_000, 0, 5_000, 0):
        pair.pair.defer(delta_ms)
    pair.work([(3, 0, 0, True)])
    pair.nothing_committed_falls()

    pair.replace(is_killed=False, late_ms=late_ms)

    pair.nothing_committed_falls()
    pair.work([(0, 0, 1_000, True)])
    pair.nothing_committed_falls()
    pair.teardown()
