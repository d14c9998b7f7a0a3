"""How well deadlines are kept while the slow stage is dead: the three figures of the promise.

    python -m bench.deadline [--rate 500] [--seconds 20] [--delta-ms 500] [--traced]
        [--delivery at-least-once] [--bootstrap HOST:PORT]

Fast and join run as processes of their own; every message is deferred, nobody answers, so each
decision is a fallback at its deadline. Three distances from the deadline, in milliseconds:

* timer: when the joiner decided (`at_ms` of the decision), on its clock;
* emitted: when the broker took the decision (`LogAppendTime` on the decisions topic, the nearest
  thing to its acknowledgement that an outsider sees);
* seen: when an outside `read_committed` consumer had it.

With --traced, spans go to a collector that takes them and forgets them: 1 % of the messages is
sampled, and 50 fallbacks a second beyond that. Without --bootstrap a Kafka of its own is started by
deploy/local-kafka/kafka.sh.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import time
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from bench.collector import sink
from bench.processes import ROOT, broker, stage
from rich.console import Console
from rich.progress import track
from rich.table import Table

from hunch.clock import SystemClock
from hunch.kafka import topics
from hunch.kafka.topic_admin import TopicAdmin
from hunch.settings import Settings

PARTITIONS = 4
WARM_UP_S = 5.0
TICK_S = 0.01
QUANTILES = (50, 90, 99, 100)


async def prepare(bootstrap: str, settings: Settings) -> None:
    """Creates the topics; the broker stamps decisions with the time at which it took them."""
    async with TopicAdmin(bootstrap, SystemClock()) as admin:
        await topics.apply(topics.plan_of(settings), admin)
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await client.start()
    configs = {"message.timestamp.type": "LogAppendTime"}
    name = settings.topic("decisions")
    described = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    for resource in described[0].resources[0][4]:
        if resource[3] == 1:  # set on the topic itself
            configs[resource[0]] = resource[1]
    configs["message.timestamp.type"] = "LogAppendTime"
    await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs)])
    await client.close()


async def send(bootstrap: str, topic: str, rate: float, seconds: float) -> int:
    """Sends digits at a steady rate; how many."""
    values = (ROOT / "models/digits/test.jsonl").read_bytes().splitlines()
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    began_s, sent = time.monotonic(), 0
    for tick in track(range(int(seconds / TICK_S)), "sending", console=Console(stderr=True)):
        while sent < min(rate * seconds, (time.monotonic() - began_s) * rate):
            value = values[sent % len(values)]
            await producer.send(topic, value, partition=sent % PARTITIONS)
            sent += 1
        await asyncio.sleep(max(0.0, began_s + (tick + 1) * TICK_S - time.monotonic()))
    await producer.stop()
    return sent


async def watch(bootstrap: str, topic: str, seen: list[tuple[dict[str, Any], int, float]]) -> None:
    """Notes every decision with the broker's time and the time at which it was read."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=20,
    )
    await consumer.start()
    tps = [TopicPartition(topic, partition) for partition in range(2 * PARTITIONS)]
    consumer.assign(tps)
    try:
        while True:
            read = await consumer.getmany(timeout_ms=100)
            now_ms = time.time() * 1000
            for records in read.values():
                seen += [(json.loads(r.value), r.timestamp, now_ms) for r in records]
    finally:
        await consumer.stop()


def figures(seen: list[tuple[dict[str, Any], int, float]]) -> dict[str, dict[str, float]]:
    """Quantiles of each distance from the deadline; the first seconds are warm-up."""
    start_ms = min(decision["at_ms"] for decision, _, _ in seen) + WARM_UP_S * 1000
    due = [row for row in seen if row[0]["reason"] == "deadline" and row[0]["at_ms"] > start_ms]
    distances = {
        "timer": [abs(decision["at_ms"] - decision["deadline_ms"]) for decision, _, _ in due],
        "emitted": [abs(taken_ms - decision["deadline_ms"]) for decision, taken_ms, _ in due],
        "seen": [abs(read_ms - decision["deadline_ms"]) for decision, _, read_ms in due],
    }
    return {
        name: {f"p{q}": round(float(np.percentile(values, q)), 2) for q in QUANTILES}
        | {"count": len(values)}
        for name, values in distances.items()
    }


async def measure(  # noqa: PLR0917 - what was asked for, in its order
    bootstrap: str,
    rate: float,
    seconds: float,
    delta_ms: int,
    delivery: str,
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """One run."""
    given: dict[str, object] = {
        "bootstrap": bootstrap,
        "topic_prefix": f"deadline-{uuid.uuid4().hex[:8]}.",
        "partitions": PARTITIONS,
        "tau": 1.0,
        "delta_ms": delta_ms,
        "delivery": delivery,
    }
    settings = Settings.model_validate(given)
    await prepare(bootstrap, settings)
    seen: list[tuple[dict[str, Any], int, float]] = []
    with stage("fast", given, environment), stage("join", given, environment):
        watching = asyncio.create_task(watch(bootstrap, settings.topic("decisions"), seen))
        sent = await send(bootstrap, settings.topic("messages"), rate, seconds + WARM_UP_S)
        until_s = time.monotonic() + delta_ms / 1000 + 30
        while len(seen) < sent and time.monotonic() < until_s:
            await asyncio.sleep(0.1)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    if len(seen) != sent:
        sys.exit(f"{sent} messages were sent, and {len(seen)} decisions came.")
    return {"rate": rate, "delta_ms": delta_ms, "sent": sent, "ms": figures(seen)}


def main() -> None:
    """Measures, and prints a table on stderr and JSON on stdout."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bootstrap")
    parser.add_argument("--rate", type=float, default=500.0, help="messages a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="measured, after 5 s")
    parser.add_argument("--delta-ms", type=int, default=500)
    parser.add_argument("--delivery", default="exactly-once", help="or at-least-once")
    parser.add_argument("--traced", action="store_true", help="with a collector, as by default")
    asked = parser.parse_args()
    with broker(asked.bootstrap) as bootstrap, sink() as endpoint:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint} if asked.traced else {}
        result = asyncio.run(
            measure(
                bootstrap, asked.rate, asked.seconds, asked.delta_ms, asked.delivery, environment
            )
        )
    table = Table("ms from the deadline", *(f"p{q}" if q < 100 else "max" for q in QUANTILES))
    for name, row in result["ms"].items():
        table.add_row(name, *(f"{row[f'p{q}']:.1f}" for q in QUANTILES))
    Console(stderr=True).print(table)
    machine = {"machine": platform.platform(), "cores": os.cpu_count(), "date": time.strftime("%F")}
    print(json.dumps(result | machine))


if __name__ == "__main__":
    main()
