"""Small simulations whose outcome can be worked out by hand: an instant broker, constant times."""

import numpy as np

from hunch.core.exiting import ExitPolicy
from hunch.evaluation.arrivals import Traffic
from hunch.evaluation.simulation.deployment import Deployment
from hunch.evaluation.simulation.place import Place
from hunch.evaluation.simulation.run import ENDS, Scenario, run

INSTANT = {
    "fast_message_ms": 0,
    "slow_message_ms": 0,
    "join_message_ms": 0,
    "hop_ms": 0,
    "write_ms": 0,
    "commit_ms": 0,
    "timer_ms": 0,
    "spread": 0,
}


def place(*, fast_ms=0.001, slow_ms=10.0, **changes):
    """A place where nothing takes time but the models: batches of any size as long as one."""
    times = {side: {1: (ms,), 4096: (ms,)} for side, ms in (("fast", fast_ms), ("slow", slow_ms))}
    return Place.model_validate({**INSTANT, **times, **changes})


def scenario(
    *,
    rate=100.0,
    pattern="poisson",
    seconds=20.0,
    where=None,
    warm_up=1.0,
    fresh=False,
    **deployment,
):
    """One partition, one process of each stage, one message in a slow batch, no transactions."""
    bounds = {
        "partitions": 1,
        "is_exactly_once": False,
        "max_batch_size": 1,
        "max_queue_delay_ms": 0,
        "slow_reserve_ms": 0,
    }
    return Scenario(
        place=where or place(),
        deployment=Deployment.model_validate(bounds | deployment),
        traffic=Traffic(rate_per_s=rate, pattern=pattern),
        seconds=seconds,
        warm_up_s=warm_up,
        is_fresh=fresh,
    )


def policy(delta_ms=1_000.0, **changes):
    """τ does not matter: a test says which rows exit."""
    return ExitPolicy(name="p", tau=0.5, delta_ms=delta_ms, **changes)


def exits(share=0.5, rows=1_000, seed=0):
    """Rows of which a share exits, in a random order."""
    found = np.zeros(rows, dtype=bool)
    found[: round(share * rows)] = True
    return np.random.default_rng(seed).permutation(found)


def counted(found, reason):
    """Latencies of the messages that count and ended for that reason."""
    number = [own for _, own in ENDS].index(reason)
    counts = (found.arrived_ms >= found.from_ms) & (found.arrived_ms < found.until_ms)
    return (found.seen_ms - found.arrived_ms)[counts & (found.ends == number)]


def simulate(given=None, *, which=None, seed=1, by=None):
    """One run: every other row waits, and Δ is a second, where a test does not say otherwise."""
    return run(by or policy(), exits() if which is None else which, given or scenario(), seed)


def share(found, reason):
    """The share of the counted messages that ended for that reason."""
    counts = (found.arrived_ms >= found.from_ms) & (found.arrived_ms < found.until_ms)
    return len(counted(found, reason)) / counts.sum()
