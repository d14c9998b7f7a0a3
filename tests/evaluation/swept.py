"""Small sweeps over drawn rows, and the file that comes of them."""

from typing import Any

from tests.evaluation.simulated import place, policy, scenario

from hunch.evaluation.kept_points import kept
from hunch.evaluation.simulation.outcome import Prices
from hunch.evaluation.simulator import Rows, Setting, Simulator
from hunch.evaluation.sweep_results import sweep_file_of
from hunch.evaluation.sweeping import Plan, sweep

TODAY = Setting(tau=0.9, delta_ms=300)


def rows_of(record):
    """At the temperatures of the drawn models."""
    return Rows.of(record, fast_temperature=1.0, slow_temperature=1.0)


def simulator(record, **changes):
    """A simulator of half a second at 200 messages a second, where the slow model takes 10 ms."""
    given: dict[str, Any] = {"seeds": (0, 1), "in_time_ms": 50.0, "prices": Prices()}
    load = scenario(rate=200.0, seconds=0.5, warm_up=0.1, where=place(slow_ms=10.0, hop_ms=1.0))
    return Simulator(rows_of(record), policy(), load, **(given | changes))


def plan(**changes):
    """Three τ, two Δ and one round of refining."""
    given: dict[str, Any] = {
        "taus": [0.0, 0.7, 1.0],
        "deltas": [50, 400],
        "today": TODAY,
        "rounds": 1,
        "epsilon": 0.02,
    }
    return Plan(**(given | changes))


def found_in(folder, given, *, jobs=1, **changes):
    """What a sweep finds, and the progress that it told."""
    told = []
    with kept(folder / "points.jsonl") as known:
        found = sweep(
            given,
            plan(**changes),
            known,
            jobs=jobs,
            on_progress=lambda done, total: told.append((done, total)),
        )
    return found, told


def file_of(record, tmp_path, **changes):
    """The file of a sweep, whose prices and bounds are the defaults."""
    found, _ = found_in(tmp_path, simulator(record), **changes)
    return sweep_file_of(
        found, simulator(record), record, created="2026-11-25T12:00:00+00:00", epsilon=0.02
    )
