"""How soon a joiner is back with many deferrals pending, and whether it decides any of them twice.

    python -m bench.takeover [--pending 250000] [--partitions 2] [--bootstrap HOST:PORT]

Everything is deferred, nobody answers; one message in ten has a deadline of its own that passes
before the joiner is killed with SIGKILL, so that there is something not to be decided again. A
second joiner takes over; the time counts from its being told to own a partition to its lane's being
open. Then the others fall due, and every message must have exactly one decision.
"""

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import time
import uuid
from collections import Counter
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from bench.processes import HUNCH, ROOT, broker, stage
from rich.console import Console
from rich.progress import track

from hunch.clock import SystemClock
from hunch.kafka import topics
from hunch.kafka.topic_admin import TopicAdmin
from hunch.settings import Settings

HURRIED = 10
LIMIT_S = 180.0


async def fill(settings: Settings, pending: int, hurried_ms: int) -> int:
    """Writes the messages; how many."""
    values = (ROOT / "models/digits/test.jsonl").read_bytes().splitlines()
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap, linger_ms=20)
    await producer.start()
    count = pending * settings.partitions * HURRIED // (HURRIED - 1)
    hurried = [("hunch-deadline-ms", b"%d" % hurried_ms)]
    for number in track(range(count), "filling", console=Console(stderr=True)):
        turn, partition = divmod(number, settings.partitions)
        await producer.send(
            settings.topic("messages"),
            values[number % len(values)],
            partition=partition,
            headers=hurried if turn % HURRIED == 0 else [],
        )
    await producer.stop()
    return count


async def ends(settings: Settings, topic: str, partitions: range) -> int:
    """The sum of a topic's ends."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.bootstrap)
    await consumer.start()
    tps = [TopicPartition(settings.topic(topic), p) for p in partitions]
    found: int = sum((await consumer.end_offsets(tps)).values())
    await consumer.stop()
    return found


async def decisions(settings: Settings, count: int) -> Counter[str]:
    """How often each origin is decided, once as many decisions as messages have been read."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    consumer.assign(
        [TopicPartition(settings.topic("decisions"), p) for p in range(2 * settings.partitions)]
    )
    found: Counter[str] = Counter()
    until_s = time.monotonic() + LIMIT_S
    while len(found) < count and time.monotonic() < until_s:
        for records in (await consumer.getmany(timeout_ms=500)).values():
            found.update(dict(record.headers)["hunch-origin"].decode() for record in records)
    for records in (await consumer.getmany(timeout_ms=2_000)).values():
        found.update(dict(record.headers)["hunch-origin"].decode() for record in records)
    await consumer.stop()
    return found


def start_joiner(given: dict[str, object]) -> "subprocess.Popen[str]":
    """A joiner that this program may kill."""
    arguments = [f"--set={key}={value}" for key, value in given.items()]
    return subprocess.Popen([*HUNCH, "run", "join", *arguments], stderr=subprocess.PIPE, text=True)


def events_until_ready(joiner: "subprocess.Popen[str]") -> list[dict[str, Any]]:
    """What it logs until it is ready."""
    assert joiner.stderr is not None
    found: list[dict[str, Any]] = []
    for line in joiner.stderr:
        found.append(json.loads(line))
        if found[-1]["event"] == "ready":
            return found
    sys.exit("The joiner did not start.")


async def measure(bootstrap: str, pending: int, partitions: int) -> dict[str, Any]:
    """One run."""
    due_ms = int(1000 * (60 + pending * partitions / 8_000))
    given: dict[str, object] = {
        "bootstrap": bootstrap,
        "topic_prefix": f"takeover-{uuid.uuid4().hex[:8]}.",
        "partitions": partitions,
        "tau": 1.0,
        "delta_ms": due_ms,
    }
    settings = Settings.model_validate(given)
    async with TopicAdmin(bootstrap, SystemClock()) as admin:
        await topics.apply(topics.plan_of(settings), admin)
    count = await fill(settings, pending, int(time.time() * 1000) + 30_000)
    joined = range(partitions, 2 * partitions)
    with stage("fast", given):
        joiner = start_joiner(given)
        events_until_ready(joiner)
        hurried = count // HURRIED
        until_s = time.monotonic() + LIMIT_S
        while (decided := await ends(settings, "decisions", joined)) < hurried:
            if time.monotonic() > until_s:
                sys.exit(f"Only {decided} of {hurried} hurried messages were decided.")
            await asyncio.sleep(1.0)
        joiner.kill()
        joiner.wait()
        second = start_joiner(given)
        said = events_until_ready(second)
    assigned = [event["ts"] for event in said if event["event"] == "assigned"]
    opened = [event["ts"] - assigned[-1] for event in said if event["event"] == "lane_opened"]
    found = await decisions(settings, count)
    second.terminate()
    second.wait(20)
    return {
        "pending_per_partition": pending,
        "partitions": partitions,
        "decided_before_the_kill": decided,
        "lanes_open_after_ms": sorted(opened),
        "messages": count,
        "decided": len(found),
        "decided_twice": sum(n > 1 for n in found.values()),
    }


def main() -> None:
    """Measures, and prints JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bootstrap")
    parser.add_argument("--pending", type=int, default=250_000, help="in each partition")
    parser.add_argument("--partitions", type=int, default=2)
    asked = parser.parse_args()
    with broker(asked.bootstrap) as bootstrap:
        result = asyncio.run(measure(bootstrap, asked.pending, asked.partitions))
    machine = {"machine": platform.platform(), "cores": os.cpu_count(), "date": time.strftime("%F")}
    print(json.dumps(result | machine))


if __name__ == "__main__":
    main()
