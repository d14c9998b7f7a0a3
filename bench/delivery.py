"""What exactly-once costs beside at-least-once: throughput, CPU and latency by path, in one run.

    python -m bench.delivery [--count 150000] [--rate 500] [--seconds 10] [--rounds 2]
        [--bootstrap HOST:PORT]

Throughput: one fast stage drains a topic of digits, everything exits. Latency: three stages as
processes, a steady load, each decision seen by a `read_committed` consumer outside, from the
message's timestamp. Variants take turns.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import time
import uuid
from collections import defaultdict
from contextlib import ExitStack
from typing import Any

import numpy as np
from bench.deadline import send, watch
from bench.processes import broker, stage
from bench.tracing import drain, fill
from rich.console import Console
from rich.table import Table

from hunch.clock import SystemClock
from hunch.kafka import topics
from hunch.kafka.topic_admin import TopicAdmin
from hunch.settings import Settings

PARTITIONS = 4
WARM_UP_S = 3.0
AT_LEAST_ONCE = {"delivery": "at-least-once", "commit_interval_ms": 100}
VARIANTS: dict[str, dict[str, object]] = {
    "at-least-once": AT_LEAST_ONCE,
    **{
        f"exactly-once, {ms} ms": {"delivery": "exactly-once", "commit_interval_ms": ms}
        for ms in (20, 50, 100)
    },
}
PATHS = ("fast", "slow")


async def throughput(bootstrap: str, shared: str, count: int, variant: dict[str, object]) -> Any:
    """One drain."""
    given: dict[str, object] = {
        "bootstrap": bootstrap,
        "topic_prefix": f"delivery-{uuid.uuid4().hex[:8]}.",
        "topics": json.dumps({"messages": shared}),
        "partitions": PARTITIONS,
        "tau": 0.0,
        **variant,
    }
    return await drain(Settings.model_validate(given), count, given, {})


async def latency(
    bootstrap: str, rate: float, seconds: float, variant: dict[str, object]
) -> dict[str, list[float]]:
    """Milliseconds from each message's timestamp until its decision was seen, by path."""
    given: dict[str, object] = {
        "bootstrap": bootstrap,
        "topic_prefix": f"delivery-{uuid.uuid4().hex[:8]}.",
        "partitions": PARTITIONS,
        "delta_ms": 2_000,
        **variant,
    }
    settings = Settings.model_validate(given)
    async with TopicAdmin(bootstrap, SystemClock()) as admin:
        await topics.apply(topics.plan_of(settings), admin)
    seen: list[tuple[dict[str, Any], int, float]] = []
    with ExitStack() as stack:
        for name in ("fast", "slow", "join"):
            stack.enter_context(stage(name, given))
        watching = asyncio.create_task(watch(bootstrap, settings.topic("decisions"), seen))
        sent = await send(bootstrap, settings.topic("messages"), rate, seconds + WARM_UP_S)
        until_s = time.monotonic() + 30
        while len(seen) < sent and time.monotonic() < until_s:
            await asyncio.sleep(0.1)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    if len(seen) != sent:
        sys.exit(f"{sent} messages were sent, and {len(seen)} decisions came.")
    began_ms = [d["at_ms"] - d["times"]["total"] for d, _, _ in seen]
    found: dict[str, list[float]] = defaultdict(list)
    for (decision, _, seen_ms), from_ms in zip(seen, began_ms, strict=True):
        if from_ms > min(began_ms) + 1000 * WARM_UP_S:
            found[decision["path"]].append(seen_ms - from_ms)
    return found


async def measure(bootstrap: str, asked: argparse.Namespace) -> dict[str, Any]:
    """All variants in turn, `rounds` times."""
    shared = f"delivery-{uuid.uuid4().hex[:8]}.messages"
    given = {"bootstrap": bootstrap, "topics": json.dumps({"messages": shared})}
    settings = Settings.model_validate({**given, "topic_prefix": shared.removesuffix("messages")})
    async with TopicAdmin(bootstrap, SystemClock()) as admin:
        await topics.apply(topics.plan_of(settings), admin)
    await fill(bootstrap, shared, asked.count)
    found: dict[str, Any] = {name: {"drains": [], "ms": defaultdict(list)} for name in VARIANTS}
    for _ in range(asked.rounds):
        for name, variant in VARIANTS.items():
            found[name]["drains"].append(await throughput(bootstrap, shared, asked.count, variant))
            by_path = await latency(bootstrap, asked.rate, asked.seconds, variant)
            for path, values in by_path.items():
                found[name]["ms"][path] += values
            Console(stderr=True).print(name, found[name]["drains"][-1])
    return found


def main() -> None:
    """Measures, and prints a table on stderr and JSON on stdout."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bootstrap")
    parser.add_argument("--count", type=int, default=150_000, help="messages a drain")
    parser.add_argument("--rate", type=float, default=500.0, help="messages a second, for latency")
    parser.add_argument("--seconds", type=float, default=10.0, help="measured, after 3 s")
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    with broker(asked.bootstrap) as bootstrap:
        found = asyncio.run(measure(bootstrap, asked))
    columns = [f"{path} p{q}, ms" for path in PATHS for q in (50, 99)]
    table = Table("delivery, commit interval", "decisions/s", "ratio", "CPU µs a message", *columns)
    result: dict[str, Any] = {}
    for name, runs in found.items():
        row = {
            "per_s": statistics.median(run["per_s"] for run in runs["drains"]),
            "cpu_us": statistics.median(run["cpu_us"] for run in runs["drains"]),
        }
        for path in PATHS:
            for q in (50, 99):
                row[f"{path}_p{q}"] = float(np.percentile(runs["ms"][path], q))
        result[name] = row
        ratio = row["per_s"] / result["at-least-once"]["per_s"]
        figures = [f"{row[f'{path}_p{q}']:.0f}" for path in PATHS for q in (50, 99)]
        table.add_row(
            name, f"{row['per_s']:,.0f}", f"{ratio:.2f}", f"{row['cpu_us']:.1f}", *figures
        )
    Console(stderr=True, width=120).print(table)
    machine = {"machine": platform.platform(), "cores": os.cpu_count(), "date": time.strftime("%F")}
    print(json.dumps({"variants": result} | machine))


if __name__ == "__main__":
    main()
