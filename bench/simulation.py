"""How fast a cascade is simulated: messages a second of one core, by load and deferral rate.

    python -m bench.simulation [--messages 100000] [--rounds 3]

One core, CPU time of this process; the whole run counts, arrivals and outcome included. The slow
model takes 2 ms for one message and 20 ms for 32: it keeps up but in the last line, which is three
times what it can do.
"""

import argparse
import json
import os
import platform
import statistics
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from hunch.core.exiting import ExitPolicy
from hunch.evaluation.arrivals import Traffic
from hunch.evaluation.simulation.deployment import Deployment
from hunch.evaluation.simulation.outcome import Prices, Summary, Truth
from hunch.evaluation.simulation.place import Place
from hunch.evaluation.simulation.run import Scenario, run

ROWS = 4_000
CASES = (
    ("exactly-once", 500.0, 0.2),
    ("exactly-once", 5_000.0, 0.2),
    ("at-least-once", 500.0, 0.2),
    ("at-least-once", 5_000.0, 0.2),
    ("exactly-once", 5_000.0, 0.05),
    ("exactly-once", 1_000.0, 1.0),
    ("exactly-once", 24_000.0, 0.2),
)


def place(chance: np.random.Generator) -> Place:
    """Times that spread by a tenth."""
    spread = (1 + 0.1 * chance.standard_normal(20)).clip(0.5).tolist()
    return Place(
        fast={size: tuple(ms * it for it in spread) for size, ms in ((1, 0.08), (32, 0.35))},
        slow={size: tuple(ms * it for it in spread) for size, ms in ((1, 2.0), (32, 20.0))},
    )


def simulated(delivery: str, rate: float, deferral_rate: float, messages: int) -> float:
    """Messages a second of CPU time, of one run and its outcome."""
    chance = np.random.default_rng(0)
    exits = chance.permutation(ROWS) >= round(deferral_rate * ROWS)
    policy = ExitPolicy(name="bench", tau=0.9, delta_ms=500)
    scenario = Scenario(
        place=place(chance),
        deployment=Deployment(is_exactly_once=delivery == "exactly-once"),
        traffic=Traffic(rate_per_s=rate),
        seconds=messages / rate,
        warm_up_s=1.0,
    )
    truth = Truth(fast_right=chance.random(ROWS) < 0.9, slow_right=chance.random(ROWS) < 0.95)
    summary = Summary(truth, 500.0, Prices())
    began_s = time.process_time()
    found = run(policy, exits, scenario, 0)
    summary.of([found])
    return len(found.rows) / (time.process_time() - began_s)


def main() -> None:
    """Measures, and prints a table on stderr and JSON on stdout."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=100_000, help="in each run, about")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    table = Table("delivery", "messages/s simulated", "deferral rate", "messages a second and core")
    found = []
    for delivery, rate, deferral_rate in CASES:
        per_s = statistics.median(
            simulated(delivery, rate, deferral_rate, asked.messages) for _ in range(asked.rounds)
        )
        table.add_row(delivery, f"{rate:,.0f}", f"{deferral_rate:.0%}", f"{per_s:,.0f}")
        found.append(
            {
                "delivery": delivery,
                "rate_per_s": rate,
                "deferral_rate": deferral_rate,
                "per_s": per_s,
            }
        )
    Console(stderr=True, width=100).print(table)
    machine = {"machine": platform.platform(), "cores": os.cpu_count(), "date": time.strftime("%F")}
    print(json.dumps({"cases": found} | machine))


if __name__ == "__main__":
    main()
