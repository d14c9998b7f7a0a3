"""Groups of the in-memory log beyond the contract: rebalances on demand, sticky shares."""

import pytest
from aiokafka.errors import (
    CommitFailedError,
)
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from tests.testing.parties import T0, Notes

from hunch.testing.group import sticky


async def test_a_rebalance_on_demand_gives_back_the_same(log):
    """`rebalance` revokes and assigns, and every owner keeps what it had."""
    one, two = Notes(), Notes()
    await log.join("group", "topic", one)
    await log.join("group", "topic", two)
    del one.heard[:], two.heard[:]

    await log.rebalance("group")

    assert one.heard == [("revoked", {0}), ("assigned", {0})]
    assert two.heard == [("revoked", {1}), ("assigned", {1})]


async def test_an_evicted_member_hears_of_it_only_when_it_is_back(log):
    """`evict` tells the others only; after `rejoin` the seat hears, and commits are taken again."""
    frozen, other = Notes(), Notes()
    seat = await log.join("group", "topic", frozen)
    await log.join("group", "topic", other)
    del frozen.heard[:], other.heard[:]

    await log.evict(seat)

    assert frozen.heard == []
    assert other.heard == [("revoked", {1}), ("assigned", {0, 1})]
    with pytest.raises(CommitFailedError):
        await seat.commit({T0: OffsetAndMetadata(1, "")})
    await log.rejoin(seat)
    assert frozen.heard[0] == ("revoked", {0})
    assert frozen.heard[1][0] == "assigned"
    await seat.commit({T0: OffsetAndMetadata(2, "")})
    assert (await log.committed("group", [T0]))[T0].offset == 2


async def test_a_broken_listener_does_not_stop_the_group(log, caplog):
    """An exception in a listener is logged; assignment goes on for everyone."""
    broken, sound = Notes(error=RuntimeError("in the callback")), Notes()
    await log.join("group", "topic", broken)

    await log.join("group", "topic", sound)

    assert sound.heard[-1] == ("assigned", {1})
    assert broken.heard[-1] == ("assigned", {0})
    assert "A rebalance listener failed." in caplog.text


@pytest.mark.parametrize(
    ("owned", "expected"),
    [
        ([set()], [{0, 1, 2, 3, 4}]),
        ([{0, 1, 2, 3, 4}, set()], [{0, 1, 2}, {3, 4}]),
        ([{3}, {0, 1, 2, 4}], [{3, 4}, {0, 1, 2}]),
        ([{1}, {0, 4}, {2}], [{1, 3}, {0, 4}, {2}]),
        ([{0, 1, 2, 3, 4}, {0, 1}], [{0, 1, 2}, {3, 4}]),
        ([set(), {0, 1, 2, 3, 4}, set()], [{2, 3}, {0, 1}, {4}]),
    ],
)
def test_sticky_shares_are_even_and_keep_what_they_can(owned, expected):
    """Shares differ by one at most, cover all partitions once, and owners keep theirs."""
    partitions = [TopicPartition("topic", number) for number in range(5)]
    before = [{partitions[number] for number in numbers} for numbers in owned]

    plan = sticky(partitions, before)

    assert expected == [{name.partition for name in share} for share in plan]
