"""A seat in a group, beside a process that takes its time, or stands still."""

import asyncio
import contextlib

import pytest

from hunch.kafka.client import OffsetAndMetadata, TopicPartition
from hunch.kafka.member import Member, MemberPolicy
from hunch.telemetry import Metrics
from hunch.testing import ManualClock

POLICY = MemberPolicy(session_timeout_ms=6_000, heartbeat_interval_ms=500)
PARTITION = TopicPartition("messages", 0)


class Seat:
    """A consumer inside a group, of which only the commits count."""

    def __init__(self):
        self.committed = []

    async def commit(self, offsets):
        """Notes them."""
        self.committed.append(dict(offsets))

    def pause(self, *partitions):
        """Reads nothing anyway."""

    def member_id(self):
        """Never another: the seat was not lost."""
        return "member-1"


class StoppableClock(ManualClock):
    """A clock that goes on while the process stands still: no timer is heard meanwhile."""

    def stand_still(self, ms):
        """Lets time pass of which nobody hears."""
        self._now_ms += ms


@pytest.fixture
def clock():
    """Time as these tests want it."""
    return StoppableClock()


@pytest.fixture
def seat():
    """Where the member sits."""
    return Seat()


@pytest.fixture
def member(clock, seat):
    """A member that was made, and does not run yet."""
    made = Member(
        stage="fast",
        group="hunch-fast",
        topic="messages",
        policy=POLICY,
        clock=clock,
        metrics=Metrics(),
    )
    made.attach(lambda: seat)
    return made


@contextlib.asynccontextmanager
async def running(member):
    """The member as its stage runs it, owning one partition."""
    task = asyncio.create_task(member.run())
    await member.on_partitions_assigned([PARTITION])
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_slow_start_is_no_standstill(clock, member):
    """Models were warmed, or a broker was waited for: no lane is closed for that."""
    clock.stand_still(60_000)
    async with running(member):
        await clock.settle()
        term = member.terms[0]
        is_settled, is_frozen = member.is_settled, member.is_frozen()
        await clock.advance(1_000)

        assert (True, False) == (is_settled, is_frozen)
        assert {0: term} == member.terms


async def test_a_standstill_is_doubted_before_the_next_beat_has_noticed_it(clock, member):
    """Whoever wakes up first opens no lane either; the doubt ends once the group can have told."""
    async with running(member):
        await clock.advance(1_000)
        clock.stand_still(10_000)
        is_settled_at_once = member.is_settled
        await clock.advance(POLICY.know_ms - 1)
        is_settled_after_the_beat = member.is_settled
        await clock.advance(POLICY.heartbeat_interval_ms)

        assert (False, False) == (is_settled_at_once, is_settled_after_the_beat)
        assert member.is_settled


async def test_an_assignment_ends_the_doubt(clock, member):
    """The group has told what is owned: nothing more is waited for."""
    async with running(member):
        await clock.advance(1_000)
        clock.stand_still(10_000)
        await clock.advance(1)
        is_settled_before = member.is_settled
        await member.on_partitions_assigned([PARTITION])

        assert not is_settled_before
        assert member.is_settled


async def test_what_was_done_before_a_standstill_is_not_committed_after_it(clock, member, seat):
    """Somebody else may have had the partition since: a new term, and nothing of the old one."""
    async with running(member):
        await clock.advance(1_000)
        term = member.terms[0]
        member.note(0, term, {PARTITION: OffsetAndMetadata(7, "")})
        clock.stand_still(10_000)
        await clock.advance(5_000)
        member.note(0, term, {PARTITION: OffsetAndMetadata(8, "")})
        await clock.advance(5_000)

        assert term != member.terms[0]
        assert [] == seat.committed
