"""What every broker's producer does, whether in memory, embedded or real."""

import asyncio
from typing import Any

import pytest
from aiokafka.errors import ProducerClosed
from aiokafka.structs import TopicPartition
from tests.contract.clusters import HEADERS, MAX_BATCH_BYTES


def full_batch(producer, value=b"v" * 100):
    """A batch into which nothing more fits."""
    batch = producer.create_batch()
    while batch.append(timestamp=None, key=None, value=value, headers=[]) is not None:
        pass
    return batch


async def test_an_answer_names_the_offset_of_the_first_record(cluster):
    """Each batch is answered by topic, partition and the offset of its first record."""
    topic = await cluster.create_topic(2)

    first = await cluster.write_numbers(topic, 1, range(3))
    second = await cluster.write_numbers(topic, 1, range(2))

    assert [(topic, 1, 0), (topic, 1, 3)] == [
        (answer.topic, answer.partition, answer.offset) for answer in (first, second)
    ]


async def test_several_batches_may_wait_for_their_answers(cluster):
    """Batches of one producer and partition are answered in the order in which they were sent."""
    topic = await cluster.create_topic(1)
    producer = cluster.client.producer()
    await producer.start()
    answers = []
    for number in range(4):
        batch = producer.create_batch()
        batch.append(timestamp=None, key=None, value=b"%d" % number, headers=[])
        answers.append(await producer.send_batch(batch, topic, partition=0))

    offsets = [answer.offset for answer in await asyncio.gather(*answers)]

    assert offsets == [0, 1, 2, 3]
    await producer.stop()


async def test_a_full_batch_takes_nothing_more(cluster):
    """A record that would not fit is refused with None, counts for nothing, and so do all later."""
    topic = await cluster.create_topic(1)
    producer = cluster.client.producer()
    await producer.start()

    batch = full_batch(producer)

    taken = batch.record_count()
    assert MAX_BATCH_BYTES / 2 < taken * 100 < MAX_BATCH_BYTES
    assert batch.append(timestamp=None, key=None, value=b"", headers=[]) is None
    assert batch.record_count() == taken
    await (await producer.send_batch(batch, topic, partition=0))
    consumer = await cluster.consumer()
    assert await consumer.end_offsets([TopicPartition(topic, 0)]) == {
        TopicPartition(topic, 0): taken
    }
    await consumer.stop()
    await producer.stop()


async def test_a_batch_that_refused_once_stays_closed(cluster):
    """After a record that would not fit, a small one that would is refused as well."""
    producer = cluster.client.producer()
    await producer.start()
    batch = producer.create_batch()
    small: dict[str, Any] = {"timestamp": None, "key": None, "value": b"small", "headers": []}
    assert batch.append(**small) is not None

    refused = batch.append(timestamp=None, key=None, value=b"x" * MAX_BATCH_BYTES, headers=[])

    assert refused is None
    assert batch.append(**small) is None
    assert batch.record_count() == 1
    await producer.stop()


async def test_the_first_record_always_fits(cluster):
    """A record larger than a whole batch is taken alone, written and read."""
    topic = await cluster.create_topic(1)
    name = TopicPartition(topic, 0)
    producer = cluster.client.producer()
    await producer.start()
    large = b"x" * (3 * MAX_BATCH_BYTES)
    batch = producer.create_batch()

    taken = batch.append(timestamp=None, key=None, value=large, headers=HEADERS)

    assert taken is not None
    assert batch.append(timestamp=None, key=None, value=b"", headers=[]) is None
    await (await producer.send_batch(batch, topic, partition=0))
    consumer = await cluster.consumer()
    consumer.assign([name])
    consumer.seek(name, 0)
    (record,) = await cluster.read(consumer, 1)
    assert large == record.value
    await consumer.stop()
    await producer.stop()


async def test_many_records_in_split_batches_keep_their_order(cluster):
    """What does not fit in one batch goes on in the next; nothing is lost or swapped."""
    topic = await cluster.create_topic(1)
    name = TopicPartition(topic, 0)
    producer = cluster.client.producer()
    await producer.start()
    numbers = [b"%050d" % number for number in range(200)]
    answers, batch = [], producer.create_batch()
    for number in numbers:
        record: dict[str, Any] = {"timestamp": None, "key": None, "value": number, "headers": []}
        if batch.append(**record) is None:
            answers.append(await producer.send_batch(batch, topic, partition=0))
            batch = producer.create_batch()
            assert batch.append(**record) is not None
    answers.append(await producer.send_batch(batch, topic, partition=0))
    await asyncio.gather(*answers)
    consumer = await cluster.consumer()
    consumer.assign([name])
    consumer.seek(name, 0)

    records = await cluster.read(consumer, 200)

    assert len(answers) > 3
    assert numbers == [record.value for record in records]
    await consumer.stop()
    await producer.stop()


async def test_producers_on_different_partitions_do_not_disturb_each_other(cluster):
    """One producer a partition, all at once: each partition holds its own records in order."""
    topic = await cluster.create_topic(3)
    names = [TopicPartition(topic, partition) for partition in range(3)]

    async def lane(partition):
        producer = cluster.client.producer()
        await producer.start()
        for number in range(10):
            batch = producer.create_batch()
            value = b"%d-%d" % (partition, number)
            batch.append(timestamp=None, key=None, value=value, headers=[])
            await (await producer.send_batch(batch, topic, partition=partition))
        await producer.stop()

    await asyncio.gather(*(lane(partition) for partition in range(3)))
    consumer = await cluster.consumer()
    consumer.assign(names)
    for name in names:
        consumer.seek(name, 0)
    records = await cluster.read(consumer, 30)

    for partition in range(3):
        assert [b"%d-%d" % (partition, number) for number in range(10)] == [
            record.value for record in records if record.partition == partition
        ]
    await consumer.stop()


async def test_headers_are_a_list_of_pairs(cluster):
    """A batch refuses headers that are not a list, and keys or values that are not bytes."""
    producer = cluster.client.producer()
    await producer.start()
    batch = producer.create_batch()

    with pytest.raises(TypeError):
        batch.append(timestamp=None, key=None, value=b"v", headers=(("name", b"value"),))
    with pytest.raises(TypeError):
        batch.append(timestamp=None, key=None, value="text", headers=[])
    await producer.stop()


async def test_a_stopped_producer_writes_nothing(cluster):
    """After `stop` a batch is refused with `ProducerClosed`."""
    topic = await cluster.create_topic(1)
    await cluster.write_numbers(topic, 0, [1])
    producer = cluster.client.producer()
    await producer.start()
    batch = full_batch(producer)
    await (await producer.send_batch(batch, topic, partition=0))
    await producer.stop()

    with pytest.raises(ProducerClosed):
        await producer.send_batch(full_batch(producer), topic, partition=0)
