"""What a takeover is told of committed offsets, where the process knows better."""

from collections.abc import Mapping, Sequence

from hunch.clock import Clock
from hunch.kafka.client import Client, OffsetAndMetadata, TopicPartition

TIMEOUT_MS = 20_000
PAUSE_MS = 200


async def committed_offsets(
    client: Client,
    clock: Clock,
    group: str,
    partitions: Sequence[TopicPartition],
    known: Mapping[TopicPartition, int],
) -> dict[TopicPartition, OffsetAndMetadata]:
    """The committed offsets; asked for again, up to 20 s, while they are behind what is known.

    A broker that has started again answers with what it has loaded by then, or with nothing. To
    start from there is right, but may take minutes.

    Args:
        client: that asks.
        clock: that waits.
        group: whose offsets they are.
        partitions: of which.
        known: offsets that this process has committed itself.
    """
    until_ms = clock.now_ms() + TIMEOUT_MS
    while True:
        found = await client.committed(group, partitions)
        is_behind = any(found[tp].offset < at for tp, at in known.items())
        if not is_behind or clock.now_ms() >= until_ms:
            return found
        await clock.sleep(PAUSE_MS)
