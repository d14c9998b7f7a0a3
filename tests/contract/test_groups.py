"""What every broker does with groups: seats, shares, commits and their metadata."""

import pytest
from aiokafka.errors import CommitFailedError, OffsetMetadataTooLargeError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from tests.contract.clusters import Notes


async def test_nothing_committed_is_minus_one(cluster):
    """A partition that a group never committed has offset -1, also in a group nobody has joined."""
    topic = await cluster.create_topic(2)
    names = [TopicPartition(topic, 0), TopicPartition(topic, 1)]

    committed = await cluster.client.committed(cluster.fresh("group"), names)

    assert dict.fromkeys(names, -1) == {name: committed[name].offset for name in committed}


async def test_a_lone_member_owns_everything(cluster):
    """The first thing a member hears is an empty revocation, the second all partitions."""
    topic = await cluster.create_topic(4)
    notes = Notes()

    seat = await cluster.join(cluster.fresh("group"), topic, notes)

    assert notes.heard == [("revoked", set()), ("assigned", {0, 1, 2, 3})]
    seat.pause(*(TopicPartition(topic, partition) for partition in range(4)))
    await seat.stop()


async def test_commits_come_back_with_their_metadata(cluster):
    """Offset and metadata of a commit come back as they were, for each partition by itself."""
    topic = await cluster.create_topic(4)
    group = cluster.fresh("group")
    names = [TopicPartition(topic, partition) for partition in range(3)]
    seat = await cluster.join(group, topic, Notes())

    await seat.commit({names[0]: OffsetAndMetadata(7, '{"v":1,"é":2}')})
    await seat.commit({names[0]: OffsetAndMetadata(9, ""), names[1]: OffsetAndMetadata(3, "m")})

    assert {
        names[0]: OffsetAndMetadata(9, ""),
        names[1]: OffsetAndMetadata(3, "m"),
    } == await cluster.client.committed(group, names[:2])
    assert (await cluster.client.committed(group, names))[names[2]].offset == -1
    await seat.stop()


async def test_a_member_commits_the_other_half_of_a_pair(cluster):
    """A member commits a partition of a topic that it did not subscribe to."""
    topic, other = await cluster.create_topic(2), await cluster.create_topic(2)
    group = cluster.fresh("group")
    pair = {
        TopicPartition(topic, 1): OffsetAndMetadata(5, "left"),
        TopicPartition(other, 1): OffsetAndMetadata(6, "right"),
    }
    seat = await cluster.join(group, topic, Notes())

    await seat.commit(pair)

    assert pair == await cluster.client.committed(group, list(pair))
    await seat.stop()


async def test_commits_outlive_the_member(cluster):
    """What was committed is there after the member has left."""
    topic = await cluster.create_topic(1)
    group = cluster.fresh("group")
    offsets = {TopicPartition(topic, 0): OffsetAndMetadata(4, "kept")}
    seat = await cluster.join(group, topic, Notes())
    await seat.commit(offsets)

    await seat.stop()

    assert offsets == await cluster.client.committed(group, list(offsets))


async def test_long_metadata_is_taken_up_to_4096_characters(cluster):
    """4,096 characters of metadata are kept; one more is refused and changes nothing."""
    cluster.need("metadata limit")
    topic = await cluster.create_topic(2)
    group = cluster.fresh("group")
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
    most = OffsetAndMetadata(1, "m" * 4096)
    seat = await cluster.join(group, topic, Notes())
    await seat.commit({first: most})

    with pytest.raises(OffsetMetadataTooLargeError):
        await seat.commit(
            {first: OffsetAndMetadata(2, "m" * 4097), second: OffsetAndMetadata(8, "fits")}
        )

    assert {first: most, second: OffsetAndMetadata(8, "fits")} == await cluster.client.committed(
        group, [first, second]
    )
    await seat.stop()


async def test_two_members_split_the_partitions(cluster):
    """A second member gets half; the first loses everything, then keeps half of what it had."""
    cluster.need("seats")
    topic, group = await cluster.create_topic(4), cluster.fresh("group")
    old, new = Notes(), Notes()
    first = await cluster.join(group, topic, old)

    second = await cluster.join(group, topic, new)

    await cluster.until(lambda: len(old.owned) == 2)
    assert old.heard[:3] == [
        ("revoked", set()),
        ("assigned", {0, 1, 2, 3}),
        ("revoked", {0, 1, 2, 3}),
    ]
    assert len(new.owned) == 2
    assert old.owned | new.owned == {0, 1, 2, 3}
    await second.stop()
    await first.stop()


async def test_when_one_leaves_the_other_gets_all(cluster):
    """After a member has left, the one that stays keeps its own and gets the rest."""
    cluster.need("seats")
    topic, group = await cluster.create_topic(4), cluster.fresh("group")
    stays, leaves = Notes(), Notes()
    first = await cluster.join(group, topic, stays)
    second = await cluster.join(group, topic, leaves)
    await cluster.until(lambda: len(stays.owned) == 2)
    kept = stays.owned

    await second.stop()

    await cluster.until(lambda: len(stays.owned) == 4)
    assert stays.heard[-2:] == [("revoked", kept), ("assigned", {0, 1, 2, 3})]
    await first.stop()


async def test_a_lost_seat_commits_nothing(cluster):
    """Once its seat was given to another, a member's commit is refused and changes nothing."""
    cluster.need("seats")
    topic, group = await cluster.create_topic(2), cluster.fresh("group")
    name = TopicPartition(topic, 0)
    lost = await cluster.join(group, topic, Notes())
    await lost.commit({name: OffsetAndMetadata(3, "before")})
    await cluster.evict(lost)
    heir = await cluster.join(group, topic, Notes())

    with pytest.raises(CommitFailedError):
        await lost.commit({name: OffsetAndMetadata(2, "zombie")})

    assert {name: OffsetAndMetadata(3, "before")} == await cluster.client.committed(group, [name])
    await heir.stop()


async def test_members_of_different_groups_do_not_share(cluster):
    """Each group has all partitions and offsets of its own."""
    topic = await cluster.create_topic(2)
    name = TopicPartition(topic, 0)
    groups, notes = [cluster.fresh("group"), cluster.fresh("group")], [Notes(), Notes()]
    seats = [
        await cluster.join(group, topic, listener)
        for group, listener in zip(groups, notes, strict=True)
    ]

    await seats[0].commit({name: OffsetAndMetadata(1, "one")})

    assert [{0, 1}, {0, 1}] == [listener.owned for listener in notes]
    assert (await cluster.client.committed(groups[1], [name]))[name].offset == -1
    for seat in seats:
        await seat.stop()
