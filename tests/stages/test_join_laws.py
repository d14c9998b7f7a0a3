"""The joiner's laws with its metadata: no crash, fence, fault or tool costs or doubles a decision.

The lane, what it commits and how a successor begins are the product's own; see `joiners`.
"""

import asyncio

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.stages.joiners import DEFERRALS, FAULTS, GROUP, POLICY, RESULTS, Loop, Pair

from hunch.kafka.metadata import pack

KINDS = st.sampled_from(["answer", "answer", "error", "shed"])
FOREIGN = {
    "none": "",
    "words": "somebody else's words",
    "no numbers": pack(7, {}),
    "beyond the end": pack(7, {"rd": 10**6, "rs": 0, "slow": 0, "mark": 0}),
    "a mark beyond the end": pack(7, {"rd": 0, "rs": 0, "slow": 0, "mark": 10**6}),
}
"""Metadata that is not the joiner's own, or cannot be true."""


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
        self.owner = None
        self.highest = {"rd": 0, "rs": 0, "lowest": 0}
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
            st.tuples(st.sampled_from([0, 60, 250]), st.booleans(), st.integers(0, 1)),
            min_size=1,
            max_size=4,
        )
    )
    def defer(self, what):
        """Deferrals, each committed or aborted; markers may follow."""
        for delta_ms, is_aborted, gap in what:
            self.pair.defer(delta_ms, is_aborted=is_aborted, gap=gap)

    @rule(what=st.lists(st.tuples(st.integers(-3, 6), KINDS), min_size=1, max_size=4))
    def slow_answers(self, what):
        """Results for deferrals of late: aborted, decided, answered before, yet to come."""
        for back, kind in what:
            offset = self.pair.log.partition(DEFERRALS).end - 1 - back
            if offset >= 0:
                self.pair.answer(offset, kind)

    # -- the owner

    @rule(
        slices=st.lists(
            st.tuples(st.integers(0, 6), st.integers(0, 4), st.integers(0, 90), st.booleans()),
            min_size=1,
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

    @precondition(lambda self: self.owner and self.owner._outbox)
    @rule(fault=st.sampled_from(sorted(FAULTS)), ms=st.sampled_from([0, 10, 500]))
    def deliver_in_vain(self, fault, ms):
        """Something goes wrong on the way: whatever has come of it, a new lane takes over."""
        if not self.run(self.pair.deliver(self.owner, fault)):
            self.owner = None
            self.run(self.pair.clock.advance(ms))
            self.take_over()

    # -- crashes and takeovers

    @rule(is_killed=st.booleans(), turns=st.integers(0, 40))
    def replace(self, is_killed, turns):
        """The owner dies, or stands still and does not know that another one takes over."""
        if not is_killed:
            self.zombies.append(self.owner)
        self.take_over(turns)

    def take_over(self, turns=0):
        """A successor begins; the latest zombie writes once more, somewhere in between."""
        self.owner = self.run(self.taken_over(turns))

    async def taken_over(self, turns):
        """The new lane. What the zombie writes counts if it comes before the fence."""
        lane = await self.pair.lane()
        task = asyncio.ensure_future(lane._take_over())
        for _ in range(turns):
            await asyncio.sleep(0)
        for zombie in self.zombies[-1:]:
            await self.pair.deliver(zombie)
        await task
        return lane

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
        if text is None:
            self.pair.log.group(GROUP).offsets.clear()
        else:
            end = self.pair.log.partition(DEFERRALS).end
            self.pair.commit_foreign(min(offset, end), FOREIGN[text])

    # -- what holds

    @invariant()
    def one_decision_a_deferral(self):
        """None is decided twice, by whichever owner; none that was never committed; each by its own."""
        if not hasattr(self, "pair"):
            return
        decided = [deferral for _, deferral, _ in self.pair.decisions()]
        assert sorted(set(decided)) == sorted(decided)
        for _, deferral, said in self.pair.decisions():
            assert self.pair.deferred[deferral] == said["origin"]
            assert said["path"] == "fallback" or f"b{deferral}" == said["label"]

    @invariant()
    def what_is_committed_is_decided(self):
        """Below the committed offset nothing is open; no verdict that counts lies before the mark."""
        committed = self.pair.committed() if hasattr(self, "pair") else None
        if committed is None or "mark" not in committed[1]:
            return
        lowest, numbers = committed
        if numbers["owner"] == 7:
            return
        decisions = self.pair.decisions()
        open_ = set(self.pair.deferred) - {deferral for _, deferral, _ in decisions}
        assert all(offset >= lowest for offset in open_)
        assert all(at >= numbers["mark"] for at, deferral, _ in decisions if deferral >= lowest)

    @invariant()
    def bounded(self):
        """However much is undecided or early, no more is held than the policy says."""
        state = getattr(getattr(self, "owner", None), "_state", None)
        if state is not None:
            assert state.pending <= POLICY.max_pending
            assert state.early <= POLICY.max_early

    @invariant()
    def the_oldest_overflow(self):
        """What is pending is younger than all that was decided for want of room."""
        state = getattr(getattr(self, "owner", None), "_state", None)
        if state is not None and self.pair.overflowed:
            decided = {deferral for _, deferral, _ in self.pair.decisions()}
            counted = decided & set(self.pair.overflowed)
            assert not counted or all(offset > max(counted) for offset in state._pending)

    def teardown(self):
        """In the end, once all is read and due, every deferral has its decision."""
        if not hasattr(self, "pair"):
            return
        try:
            self.take_over()
            for _ in range(12):
                self.work([(1_000, 1_000, 100, True)])
            self.one_decision_a_deferral()
            self.what_is_committed_is_decided()
            decided = {deferral for _, deferral, _ in self.pair.decisions()}
            assert set(self.pair.deferred) == decided
        finally:
            self.loop.close()


TestExactlyOnce = ExactlyOnce.TestCase
TestExactlyOnce.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
