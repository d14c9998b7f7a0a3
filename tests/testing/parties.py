"""Who takes part in the tests of the in-memory log: readers, writers, listeners."""

from aiokafka.structs import TopicPartition

T0, T1 = TopicPartition("topic", 0), TopicPartition("topic", 1)


class Notes:
    """Remembers what a seat heard."""

    def __init__(self, error=None):
        self.heard = []
        self.error = error

    async def on_partitions_revoked(self, revoked):
        """Notes it, and fails where it was told to."""
        self.heard.append(("revoked", {name.partition for name in revoked}))
        if self.error is not None:
            raise self.error

    async def on_partitions_assigned(self, assigned):
        """Notes it."""
        self.heard.append(("assigned", {name.partition for name in assigned}))


async def reading(log, *names, offset=0):
    """A consumer that stands at an offset of each partition."""
    consumer = log.consumer("read_committed")
    await consumer.start()
    consumer.assign(list(names))
    for name in names:
        consumer.seek(name, offset)
    return consumer


async def send(log, *values, partition=0):
    """Sends one batch; gives the future of its answer."""
    producer = log.producer()
    await producer.start()
    batch = producer.create_batch()
    for value in values:
        batch.append(timestamp=None, key=None, value=value, headers=[])
    return await producer.send_batch(batch, "topic", partition=partition)


def numbers(records):
    """The values of records."""
    return [record.value for record in records]
