"""The checker: a process that knows only what was sent, and counts the decisions in Kafka.

    python -m hunch.cli.demo_checker TOPIC PARTITIONS

It reads TOPIC from its start with a consumer of its own; none of the stages' code is in here, only
the connection's settings (HUNCH_*). The origins of what was sent come on stdin, one a line; once
stdin ends, it reads on until each has a decision and a second more, or until nothing came for
three. Then it writes one JSON object to stdout: how many origins have none, how many more than one.
"""

import asyncio
import os
import sys
import time
from collections import Counter
from pathlib import Path

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from hunch.settings import load

POLL_MS = 100
AFTERWARDS_S = 1.0
"""How long it looks for second decisions when each has its first."""
PATIENCE_S = 3.0
SHOWN = 5


async def check(topic: str, partitions: int) -> dict[str, object]:
    """Counts the decisions of each origin that stands on stdin."""
    settings = load(Path(os.devnull), {}).settings
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap,
        **settings.security(),
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
        fetch_max_wait_ms=10,
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, partition) for partition in range(partitions)])
        return verdict(*await _read(consumer))
    finally:
        await consumer.stop()


def verdict(sent: set[str], found: Counter[str]) -> dict[str, object]:
    """Sums up `found`, the number of decisions by origin, over what was `sent`."""
    missing = sorted(origin for origin in sent if not found[origin])
    doubled = sorted(origin for origin in sent if found[origin] > 1)
    return {
        "is_exact": not missing and not doubled,
        "sent": len(sent),
        "decisions": sum(found[origin] for origin in sent),
        "missing": len(missing),
        "doubled": len(doubled),
        "others": sum(count for origin, count in found.items() if origin not in sent),
        "examples": [*missing[:SHOWN], *doubled[:SHOWN]],
    }


async def _read(consumer: AIOKafkaConsumer) -> tuple[set[str], Counter[str]]:
    listing = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    found: Counter[str] = Counter()
    sent: set[str] | None = None
    latest_s = time.monotonic()
    while True:
        for records in (await consumer.getmany(timeout_ms=POLL_MS)).values():
            found.update(orjson.loads(record.value)["origin"] for record in records)
            latest_s = time.monotonic()
        if sent is None and listing.done():
            sent = set(listing.result().split())
            latest_s = time.monotonic()
        if sent is not None:
            is_complete = all(found[origin] for origin in sent)
            if time.monotonic() - latest_s > (AFTERWARDS_S if is_complete else PATIENCE_S):
                return sent, found


if __name__ == "__main__":
    sys.stdout.buffer.write(orjson.dumps(asyncio.run(check(sys.argv[1], int(sys.argv[2])))))
