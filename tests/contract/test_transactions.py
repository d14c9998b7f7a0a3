"""What every broker with transactions does: isolation, fences, offsets that go with the outputs."""

import asyncio
import gc

import pytest
from aiokafka.errors import (
    IllegalOperation,
    KafkaError,
    MessageSizeTooLargeError,
    OffsetMetadataTooLargeError,
    OutOfOrderSequenceNumber,
    ProducerFenced,
)
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from tests.contract.clusters import Notes

LONG = "m" * 2_900
"""Longer than anything that Hunch writes beside an offset."""


@pytest.fixture(autouse=True)
def transactions(cluster):
    """Not every broker has them."""
    cluster.need("transactions")


async def ends(cluster, topic):
    """The end of partition 0 for a reader of committed records, and for one of all."""
    name, found = TopicPartition(topic, 0), []
    for isolation in ("read_committed", "read_uncommitted"):
        consumer = await cluster.consumer(isolation)
        found.append((await consumer.end_offsets([name]))[name])
        await consumer.stop()
    return found


async def offset(cluster, group, topic):
    """What a group has committed of partition 0."""
    name = TopicPartition(topic, 0)
    found = (await cluster.client.committed(group, [name]))[name]
    return found.offset, found.metadata


async def offset_becomes(cluster, expected, group, topic):
    """The same, once it is as expected or five seconds have passed."""
    return await become(cluster, expected, lambda: offset(cluster, group, topic))


async def become(cluster, expected, ask):
    """Waits for an answer, and says what it is: markers follow the answer to a commit."""
    until_ms = cluster.clock.now_ms() + 5_000
    while (found := await ask()) != expected and cluster.clock.now_ms() < until_ms:
        await cluster.clock.sleep(20)
    return found


def at(topic, number, metadata=""):
    """Offsets for one commit."""
    return {TopicPartition(topic, 0): OffsetAndMetadata(number, metadata)}


async def test_a_transaction_is_seen_with_its_commit(cluster):
    """Until the commit only `read_uncommitted` sees the records; each reader has an end of its own.

    The marker takes an offset that nobody reads and every position passes.
    """
    topic = await cluster.create_topic(1)
    async with cluster.transactional(cluster.fresh("id")) as producer:
        await producer.begin_transaction()
        answer = await cluster.send(producer, topic, [1, 2])
        open_, open_ends = await cluster.seen(topic), await ends(cluster, topic)
        early = await cluster.seen(topic, "read_uncommitted")

        await producer.commit_transaction()

        assert answer.offset == 0
        assert (([], 0), [0, 2], ([1, 2], 2)) == (open_, open_ends, early)
        assert [3, 3] == await become(cluster, [3, 3], lambda: ends(cluster, topic))
        assert ([1, 2], 3) == await cluster.seen(topic)


async def test_a_transaction_covers_all_its_partitions(cluster):
    """Records of several partitions become visible together; each gets its own marker."""
    topic = await cluster.create_topic(2)
    names = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
    consumer = await cluster.consumer()
    async with cluster.transactional(cluster.fresh("id")) as producer:
        await producer.begin_transaction()
        await cluster.send(producer, topic, [1], 0)
        await cluster.send(producer, topic, [2, 3], 1)
        before = await consumer.end_offsets(names)
        await producer.commit_transaction()

        assert {names[0]: 0, names[1]: 0} == before
        after = {names[0]: 2, names[1]: 3}
        assert after == await become(cluster, after, lambda: consumer.end_offsets(names))
    await consumer.stop()


async def test_aborted_records_are_never_seen_and_take_offsets(cluster):
    """A reader of committed records passes them and both markers; one of all records sees them."""
    topic = await cluster.create_topic(1)
    async with cluster.transactional(cluster.fresh("id")) as producer:
        await producer.begin_transaction()
        await cluster.send(producer, topic, [1, 2])
        await producer.abort_transaction()
        await producer.begin_transaction()
        answer = await cluster.send(producer, topic, [3])
        await producer.commit_transaction()

    assert answer.offset == 3
    assert [5, 5] == await become(cluster, [5, 5], lambda: ends(cluster, topic))
    assert ([3], 5) == await cluster.seen(topic)
    assert ([1, 2, 3], 5) == await cluster.seen(topic, "read_uncommitted")


async def test_a_transaction_without_anything_in_it_ends(cluster):
    """It commits and aborts without a trace."""
    topic = await cluster.create_topic(1)
    async with cluster.transactional(cluster.fresh("id")) as producer:
        await producer.begin_transaction()
        await producer.commit_transaction()
        await producer.begin_transaction()
        await producer.abort_transaction()

    assert [0, 0] == await ends(cluster, topic)


async def test_an_open_transaction_holds_other_writers_back(cluster):
    """What others write behind its first record is seen after its end, and not before."""
    topic = await cluster.create_topic(1)
    await cluster.write_numbers(topic, 0, [0])
    async with cluster.transactional(cluster.fresh("id")) as producer:
        await producer.begin_transaction()
        await cluster.send(producer, topic, [1])
        await cluster.write_numbers(topic, 0, [2])
        before = await cluster.seen(topic)
        await producer.abort_transaction()

        assert ([0], 1) == before
        assert ([0, 2], 4) == await become(cluster, ([0, 2], 4), lambda: cluster.seen(topic))


@pytest.mark.parametrize("metadata", ["", "é", LONG], ids=["none", "no ascii", "long"])
async def test_offsets_count_with_the_commit(cluster, metadata):
    """Offset and metadata that were sent to a transaction are committed with it, as they were."""
    topic, group = await cluster.create_topic(1), cluster.fresh("group")
    async with cluster.transactional(cluster.fresh("id")) as producer:
        await producer.begin_transaction()
        await cluster.send(producer, topic, [1])
        await producer.send_offsets_to_transaction(at(topic, 7, metadata), group)
        before = (await offset(cluster, group, topic))[0]
        await producer.commit_transaction()

        assert before == -1
        assert (7, metadata) == await offset_becomes(cluster, (7, metadata), group, topic)


async def test_offsets_alone_make_a_transaction(cluster):
    """Nothing need be written for offsets to be committed."""
    topic, group = await cluster.create_topic(1), cluster.fresh("group")
    async with cluster.transactional(cluster.fresh("id")) as producer:
        for number in (3, 4):
            await producer.begin_transaction()
            await producer.send_offsets_to_transaction(at(topic, number, f"m{number}"), group)
            await producer.commit_transaction()

        assert (4, "m4") == await offset_becomes(cluster, (4, "m4"), group, topic)


async def test_aborted_offsets_never_count(cluster):
    """What was committed before stays."""
    topic, group = await cluster.create_topic(1), cluster.fresh("group")
    async with cluster.transactional(cluster.fresh("id")) as producer:
        await producer.begin_transaction()
        await producer.send_offsets_to_transaction(at(topic, 3, "kept"), group)
        await producer.commit_transaction()
        await producer.begin_transaction()
        await producer.send_offsets_to_transaction(at(topic, 9, "gone"), group)
        await producer.abort_transaction()

        assert (3, "kept") == await offset_becomes(cluster, (3, "kept"), group, topic)


async def test_metadata_that_is_too_long_fails_the_transaction(cluster):
    """4,097 characters are refused, the producer is of no more use, and nothing counts.

    What is raised names the reason only as its cause, as for all that a coordinator rarely refuses.
    """
    topic, group = await cluster.create_topic(1), cluster.fresh("group")
    async with cluster.transactional(cluster.fresh("id")) as producer:
        await producer.begin_transaction()
        await cluster.send(producer, topic, [1])
        with pytest.raises(KafkaError) as raised:
            await producer.send_offsets_to_transaction(at(topic, 1, "m" * 4_097), group)
        with pytest.raises(AssertionError):
            await producer.commit_transaction()

        assert isinstance(raised.value.__cause__, OffsetMetadataTooLargeError)
        assert [0, 1] == await ends(cluster, topic)
        assert (await offset(cluster, group, topic))[0] == -1


async def test_members_and_transactions_commit_to_one_place(cluster):
    """The later one counts; a plain commit during a transaction is later than its offsets."""
    topic, group = await cluster.create_topic(1), cluster.fresh("group")
    seat = await cluster.join(group, topic, Notes())
    found = []
    async with cluster.transactional(cluster.fresh("id")) as producer:
        await seat.commit(at(topic, 1, "plain"))
        await producer.begin_transaction()
        await producer.send_offsets_to_transaction(at(topic, 2, "transaction"), group)
        await producer.commit_transaction()
        found.append(await offset_becomes(cluster, (2, "transaction"), group, topic))
        await producer.begin_transaction()
        await producer.send_offsets_to_transaction(at(topic, 3, "earlier"), group)
        await seat.commit(at(topic, 4, "later"))
        found.append(await offset(cluster, group, topic))
        await producer.commit_transaction()

        found.append(await offset(cluster, group, topic))
        assert [(2, "transaction"), (4, "later"), (4, "later")] == found
    await seat.stop()


async def test_a_start_ends_what_the_predecessor_had_open(cluster):
    """Once `start` returns, its records are aborted and its offsets never count."""
    topic, group, name = await cluster.create_topic(1), cluster.fresh("group"), cluster.fresh("id")
    async with cluster.transactional(name) as old:
        await old.begin_transaction()
        await cluster.send(old, topic, [1])
        await old.send_offsets_to_transaction(at(topic, 5), group)

        async with cluster.transactional(name) as new:
            assert (([], 2), -1) == (
                await cluster.seen(topic),
                (await offset(cluster, group, topic))[0],
            )
            await new.begin_transaction()
            await cluster.send(new, topic, [2])
            await new.commit_transaction()
            assert ([2], 4) == await become(cluster, ([2], 4), lambda: cluster.seen(topic))


NEXT = {
    "send": lambda cluster, old, topic: cluster.send(old, topic, [2]),
    "send elsewhere": lambda cluster, old, topic: cluster.send(old, topic, [2], partition=1),
    "offsets": lambda _, old, topic: old.send_offsets_to_transaction(
        at(topic, 5), f"{topic}.group"
    ),
    "commit": lambda _, old, __: old.commit_transaction(),
    "abort": lambda _, old, __: old.abort_transaction(),
}
"""What somebody may do next who does not know of the fence."""


@pytest.mark.parametrize("what", NEXT)
async def test_whoever_was_fenced_can_do_nothing_more(cluster, what):
    """Whatever the predecessor does next raises `ProducerFenced`, and changes nothing."""
    topic, name = await cluster.create_topic(2), cluster.fresh("id")
    async with cluster.transactional(name) as old:
        await old.begin_transaction()
        await cluster.send(old, topic, [1])
        async with cluster.transactional(name):
            with pytest.raises(ProducerFenced):
                await NEXT[what](cluster, old, topic)

            assert ([], 2) == await cluster.seen(topic)
            assert (await offset(cluster, f"{topic}.group", topic))[0] == -1


@pytest.mark.parametrize("what", NEXT)
async def test_a_fence_is_told_once(cluster, what):
    """Whoever asked hears of it; no other error lies about that nobody retrieves."""
    topic, name, unheard = await cluster.create_topic(2), cluster.fresh("id"), []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, told: unheard.append(told["message"]))
    async with cluster.transactional(name) as old:
        await old.begin_transaction()
        if what != "send":
            await cluster.send(old, topic, [1])
        async with cluster.transactional(name):
            with pytest.raises(ProducerFenced):
                await NEXT[what](cluster, old, topic)
    del old
    gc.collect()
    loop.set_exception_handler(None)

    assert [] == unheard


async def test_a_fenced_producer_begins_nothing(cluster):
    """The coordinator's refusal is final: no other transaction begins, nothing is sent."""
    topic, name = await cluster.create_topic(2), cluster.fresh("id")
    async with cluster.transactional(name) as old:
        await old.begin_transaction()
        async with cluster.transactional(name):
            with pytest.raises(ProducerFenced):
                await cluster.send(old, topic, [1])

            with pytest.raises(IllegalOperation):
                await cluster.send(old, topic, [2])
            with pytest.raises(AssertionError):
                await old.commit_transaction()
            with pytest.raises(AssertionError):
                await old.begin_transaction()


async def test_different_ids_do_not_disturb_each_other(cluster):
    """A start fences nobody but its own predecessor."""
    topic = await cluster.create_topic(1)
    async with cluster.transactional(cluster.fresh("id")) as one:
        await one.begin_transaction()
        await cluster.send(one, topic, [1])
        async with cluster.transactional(cluster.fresh("id")) as two:
            await two.begin_transaction()
            await cluster.send(two, topic, [2])
            await two.commit_transaction()
            await one.commit_transaction()

    assert ([1, 2], 4) == await become(cluster, ([1, 2], 4), lambda: cluster.seen(topic))


async def test_a_transaction_that_takes_too_long_is_aborted_and_fences_its_own_producer(cluster):
    """Past its time-out others become visible, and its producer can do nothing more."""
    topic, group = await cluster.create_topic(1), cluster.fresh("group")
    async with cluster.transactional(cluster.fresh("id"), timeout_ms=1_000) as producer:
        await producer.begin_transaction()
        await cluster.send(producer, topic, [1])
        await producer.send_offsets_to_transaction(at(topic, 5), group)
        await cluster.write_numbers(topic, 0, [2])
        until_ms = cluster.clock.now_ms() + 20_000
        while (await ends(cluster, topic))[0] < 3:
            assert cluster.clock.now_ms() < until_ms, "the transaction is still open"
            await cluster.clock.sleep(100)

        assert ([2], 3) == await cluster.seen(topic)
        with pytest.raises(ProducerFenced):
            await producer.commit_transaction()
        assert (await offset(cluster, group, topic))[0] == -1


async def test_outside_a_transaction_nothing_is_sent(cluster):
    """A transactional producer refuses; a plain one knows no transactions."""
    topic = await cluster.create_topic(1)
    async with cluster.transactional(cluster.fresh("id")) as producer:
        with pytest.raises(IllegalOperation):
            await cluster.send(producer, topic, [1])
        with pytest.raises(IllegalOperation):
            await producer.send_offsets_to_transaction(at(topic, 1), cluster.fresh("group"))
        with pytest.raises(AssertionError):
            await producer.commit_transaction()
    plain = cluster.client.producer()
    await plain.start()
    with pytest.raises(IllegalOperation):
        await plain.begin_transaction()
    await plain.stop()

    assert [0, 0] == await ends(cluster, topic)


async def test_a_commit_succeeds_although_a_batch_has_failed(cluster):
    """Nobody but the batch's own answer tells; every later batch to the partition fails as well."""
    topic, group = await cluster.create_topic(1), cluster.fresh("group")
    async with cluster.transactional(cluster.fresh("id")) as producer:
        await producer.begin_transaction()
        await cluster.send(producer, topic, [1])
        await producer.commit_transaction()
        await cluster.refuse_batches(topic, is_refused=True)
        await producer.begin_transaction()
        with pytest.raises(MessageSizeTooLargeError):
            await cluster.send(producer, topic, range(1000, 1100))
        await producer.send_offsets_to_transaction(at(topic, 9), group)
        await producer.commit_transaction()
        await cluster.refuse_batches(topic, is_refused=False)
        await producer.begin_transaction()
        with pytest.raises(OutOfOrderSequenceNumber):
            await cluster.send(producer, topic, [2])
        await producer.abort_transaction()

    assert [1] == (await cluster.seen(topic))[0]
    assert (9, "") == await offset_becomes(cluster, (9, ""), group, topic)
