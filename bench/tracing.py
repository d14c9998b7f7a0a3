"""What tracing costs the fast path: throughput and CPU a message, variants in turn, in one run.

    python -m bench.tracing [--count 200000] [--rounds 3] [--bootstrap HOST:PORT]

One fast stage drains a topic of digits, everything exits; the time counts from the first decision
in the log to the last one. The collector takes spans and forgets them, so that what is measured is
Hunch, not somebody's storage; "dead" is an address where nobody listens, at 1 %.
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import statistics
import sys
import time
import uuid
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from bench.collector import nobody, sink
from bench.processes import ROOT, broker, cpu_s, stage
from rich.console import Console
from rich.progress import track
from rich.table import Table

from hunch.clock import SystemClock
from hunch.kafka import topics
from hunch.kafka.topic_admin import TopicAdmin
from hunch.settings import Settings

PARTITIONS = 4
LOOK_S = 0.02
LIMIT_S = 120.0
VARIANTS = {"off": None, "off again": None, "1 %": 0.01, "100 %": 1.0, "dead, 1 %": 0.01}


async def fill(bootstrap: str, topic: str, count: int) -> None:
    """Writes the messages that every variant reads."""
    values = (ROOT / "models/digits/test.jsonl").read_bytes().splitlines()
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=20)
    await producer.start()
    for number in track(range(count), "filling", console=Console(stderr=True)):
        await producer.send(topic, values[number % len(values)], partition=number % PARTITIONS)
    await producer.stop()


async def drain(
    settings: Settings, count: int, given: Mapping[str, object], environment: Mapping[str, str]
) -> dict[str, float]:
    """One fast stage from its start until everything is decided."""
    async with TopicAdmin(settings.bootstrap, SystemClock()) as admin:
        await topics.apply(topics.plan_of(settings), admin)
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.bootstrap)
    await consumer.start()
    tps = [TopicPartition(settings.topic("decisions"), p) for p in range(PARTITIONS)]
    until_s = time.monotonic() + LIMIT_S
    began_s = began_cpu_s = 0.0
    first = decided = 0
    with stage("fast", given, environment) as running:
        while decided < count:
            decided = sum((await consumer.end_offsets(tps)).values())
            if decided and not began_s:
                began_s, first = time.monotonic(), decided
                began_cpu_s = cpu_s(running.pid)
            if time.monotonic() > until_s:
                sys.exit(f"{decided} of {count} were decided in {LIMIT_S:.0f} s.")
            await asyncio.sleep(LOOK_S)
        took_s, took_cpu_s = time.monotonic() - began_s, cpu_s(running.pid) - began_cpu_s
    await consumer.stop()
    n = count - first
    dropped = sum(n for name, n in running.counts.items() if name.startswith("spans_dropped"))
    return {
        "per_s": n / took_s,
        "cpu_us": 1e6 * took_cpu_s / n,
        "spans_exported": running.counts.get("spans_exported", 0),
        "spans_dropped": dropped,
    }


async def measure(
    bootstrap: str, count: int, rounds: int, collectors: Mapping[str, str]
) -> dict[str, list[dict[str, float]]]:
    """All variants in turn, `rounds` times."""
    shared = f"tracing-{uuid.uuid4().hex[:8]}.messages"
    found: dict[str, list[dict[str, float]]] = {name: [] for name in VARIANTS}
    is_filled = False
    for _ in range(rounds):
        for name, ratio in VARIANTS.items():
            given: dict[str, object] = {
                "bootstrap": bootstrap,
                "topic_prefix": f"tracing-{uuid.uuid4().hex[:8]}.",
                "topics": json.dumps({"messages": shared}),
                "partitions": PARTITIONS,
                "tau": 0.0,
            }
            environment = {}
            if ratio is not None:
                given["trace_ratio"] = ratio
                collector = collectors["dead" if "dead" in name else "alive"]
                environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector
            settings = Settings.model_validate(given)
            if not is_filled:
                async with TopicAdmin(bootstrap, SystemClock()) as admin:
                    await topics.apply(topics.plan_of(settings), admin)
                await fill(bootstrap, shared, count)
                is_filled = True
            found[name].append(await drain(settings, count, given, environment))
            Console(stderr=True).print(name, found[name][-1])
    return found


def main() -> None:
    """Measures, and prints a table on stderr and JSON on stdout."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bootstrap")
    parser.add_argument("--count", type=int, default=200_000, help="messages a drain")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with contextlib.ExitStack() as stack:
        bootstrap = stack.enter_context(broker(asked.bootstrap))
        collectors = {
            "alive": stack.enter_context(sink()),
            "dead": stack.enter_context(nobody()),
        }
        found = asyncio.run(measure(bootstrap, asked.count, asked.rounds, collectors))
    table = Table(
        "tracing", "decisions/s, median (min to max)", "of off", "CPU µs a message", "spans"
    )
    base = statistics.median(run["per_s"] for run in found["off"])
    for name, runs in found.items():
        rates, costs = [run["per_s"] for run in runs], [run["cpu_us"] for run in runs]
        middle = statistics.median(rates)
        table.add_row(
            name,
            f"{middle:,.0f} ({min(rates):,.0f} to {max(rates):,.0f})",
            f"{middle / base:.3f}",
            f"{statistics.median(costs):.1f} ({min(costs):.1f} to {max(costs):.1f})",
            f"{runs[-1]['spans_exported']:,.0f}, {runs[-1]['spans_dropped']:,.0f} dropped",
        )
    Console(stderr=True).print(table)
    machine: dict[str, Any] = {
        "machine": platform.platform(),
        "cores": os.cpu_count(),
        "date": time.strftime("%F"),
    }
    print(json.dumps({"count": asked.count, "runs": found} | machine))


if __name__ == "__main__":
    main()
