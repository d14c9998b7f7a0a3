"""A `Place` from one trial: what simulations of other points and loads are made from.

    model times    of the batches that came, by size; sizes outside of them as recorded, stretched
                   by what the nearest sizes took here against what was recorded
    hop_ms         from a message's timestamp to the fast model, where it was alone in its batch
    write_ms       from the slow model to an outside reader of its results, less a hop
    timer_ms       from a deadline to the decision that it brought about
    commit_ms      and the spread of the broker's times: so that the simulated fast path of this
                   very trial has the p50 and p95 that were measured; without transactions this
                   makes `write_ms`

What stages do for a message besides that is not measured from outside: it stays as it was given.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from hunch.core.envelope import Path, Reason
from hunch.errors import DataError
from hunch.evaluation.live.trial import Decided, Measured, SlowSeen
from hunch.evaluation.simulation.place import ModelTimes, Place, Samples
from hunch.evaluation.simulation.run import END_OF
from hunch.evaluation.simulator import Setting, Simulator

LEAST_SAMPLES = 5
MOST_SAMPLES = 400
"""Of one batch size."""
LEAST_MS = 0.01
SPREADS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 1.3)
TURNS = 2
"""Of moving a time until the p50 is right."""
HALF_A_MILLISECOND = 0.5
"""What the whole milliseconds of a record's timestamp leave out, on average."""
Batches = Mapping[int, Sequence[float]]
"""Batch size → times of the batches of that size."""


def place_of(measured: Measured, simulator: Simulator, setting: Setting) -> Place:
    """The place in which a trial was.

    Args:
        measured: what came of it.
        simulator: of the same load and seed, in the place that was assumed so far.
        setting: τ and Δ of the trial.

    Raises `DataError` where it says nothing of a model.
    """
    assumed, deployment = simulator.scenario.place, simulator.scenario.deployment
    trial = measured.trial
    fast = fast_batches(measured.by_partition())
    slow = slow_batches(trial.slow_results, deployment.max_batch_size)
    changes: dict[str, Any] = {
        "fast": merged("fast", fast, assumed.fast),
        "slow": merged("slow", slow, assumed.slow),
        "hop_ms": _hop_ms(measured, assumed),
        "timer_ms": _timer_ms(measured, assumed),
    }
    changes["write_ms"] = _write_ms(trial.slow_results, changes["hop_ms"], assumed)
    found = _changed(assumed, changes)
    is_enough = int(measured.on(Path.FAST).sum()) >= LEAST_SAMPLES
    return _fitted(measured, simulator, setting, found) if is_enough else found


def fast_batches(lanes: Iterable[Sequence[tuple[float, Decided]]]) -> Batches:
    """Neighbours of one partition that name the same time were one batch."""
    found: dict[int, list[float]] = defaultdict(list)
    for lane in lanes:
        for size, decided in _batches(lane):
            found[size].append(max(LEAST_MS, decided.fast_ms))
    return found


def slow_batches(results: Sequence[SlowSeen], most: int) -> Batches:
    """Results that name the same time were one batch; `most` is the largest that there can be."""
    told = (_slow_ms(it.value) for it in results)
    sizes = Counter(ms for ms in told if ms is not None)
    found: dict[int, list[float]] = defaultdict(list)
    for ms, size in sizes.items():
        if size <= most:
            found[size].append(max(LEAST_MS, ms))
    return found


def merged(side: str, batches: Batches, recorded: Samples) -> Samples:
    """Times of the batches that came, and for larger and smaller ones those recorded, stretched.

    Where no size came often enough, all that was recorded is stretched alike. Raises `DataError`
    where too few batches came for that.
    """
    table = ModelTimes(recorded).table(max(*recorded, *batches, 1))
    ratios = [ms / table[size] for size, times in batches.items() for ms in times]
    if len(ratios) < LEAST_SAMPLES:
        raise DataError(
            f"The {side} model answered too few batches to measure its times: raise --rate or "
            "--seconds, or name another tau or a longer delta with --measure-at."
        )
    own = {
        size: tuple(times[:MOST_SAMPLES])
        for size, times in sorted(batches.items())
        if len(times) >= LEAST_SAMPLES
    }
    sizes = sorted(own)
    by = {size: float(np.median(own[size])) / table[size] for size in sizes}
    for size, times in recorded.items():
        if not sizes:
            stretch = float(np.median(ratios))
        elif size < sizes[0]:
            stretch = by[sizes[0]]
        elif size > sizes[-1]:
            stretch = by[sizes[-1]]
        else:
            continue
        own[size] = tuple(max(LEAST_MS, stretch * ms) for ms in times)
    return dict(sorted(own.items()))


def _batches(lane: Sequence[tuple[float, Decided]]) -> list[tuple[int, Decided]]:
    found: list[tuple[int, Decided]] = []
    for _, decided in lane:
        if found and found[-1][1].fast_ms == decided.fast_ms:
            found[-1] = found[-1][0] + 1, decided
        else:
            found.append((1, decided))
    return found


def _hop_ms(measured: Measured, assumed: Place) -> float:
    """The median over messages that were alone in their batch; of all where few were."""
    alone, every = [], []
    for lane in measured.by_partition():
        for place, (sent_ms, decided) in enumerate(lane):
            if decided.path != Path.FAST.value:
                continue
            beside = lane[max(0, place - 1) : place + 2]
            wait_ms = max(0.0, decided.at_ms - decided.fast_ms - sent_ms)
            every.append(wait_ms)
            if sum(it.fast_ms == decided.fast_ms for _, it in beside) == 1:
                alone.append(wait_ms)
    waits = alone if len(alone) >= LEAST_SAMPLES else every
    return float(np.median(waits)) if len(waits) >= LEAST_SAMPLES else assumed.hop_ms


def _write_ms(results: Sequence[SlowSeen], hop_ms: float, assumed: Place) -> float:
    if len(results) < LEAST_SAMPLES:
        return assumed.write_ms
    took_ms = [it.seen_ms - it.written_ms - HALF_A_MILLISECOND for it in results]
    return max(LEAST_MS, float(np.median(took_ms)) - hop_ms)


def _timer_ms(measured: Measured, assumed: Place) -> float:
    """The mean of an exponential distribution with the median that was seen."""
    late_ms = [
        it.at_ms - it.deadline_ms
        for it in measured.decided
        if it.reason == Reason.DEADLINE.value and it.deadline_ms is not None
    ]
    if len(late_ms) < LEAST_SAMPLES:
        return assumed.timer_ms
    return max(0.0, float(np.median(late_ms)) / math.log(2))


def _fitted(measured: Measured, simulator: Simulator, setting: Setting, place: Place) -> Place:
    """Broker time and spread with which the simulated fast path is as the measured one."""
    name = "commit_ms" if simulator.scenario.deployment.is_exactly_once else "write_ms"
    is_fast = measured.on(Path.FAST)
    p50_ms, p95_ms = np.percentile(measured.latency_ms[is_fast], (50, 95)).tolist()

    def simulated(place: Place) -> tuple[float, float]:
        times = _fast_latencies(simulator.somewhere(place), setting)
        found: tuple[float, float] = tuple(np.percentile(times, (50, 95)).tolist())
        return found

    def moved(place: Place) -> Place:
        for _ in range(TURNS):
            ms = getattr(place, name) + p50_ms - simulated(place)[0]
            place = _changed(place, {name: max(LEAST_MS, ms)})
        return place

    each = [moved(_changed(place, {"spread": spread})) for spread in SPREADS]
    return min(each, key=lambda it: abs(simulated(it)[1] - p95_ms))


def _fast_latencies(simulator: Simulator, setting: Setting) -> NDArray[np.float64]:
    run = simulator.runs(setting)[0]
    counts = (run.arrived_ms >= run.from_ms) & (run.arrived_ms < run.until_ms)
    counts &= run.ends == END_OF[Reason.CONFIDENT]
    found: NDArray[np.float64] = (run.seen_ms - run.arrived_ms)[counts]
    return found


def _changed(place: Place, changes: Mapping[str, Any]) -> Place:
    return Place.model_validate({**place.model_dump(), **changes})


def _slow_ms(value: bytes) -> float | None:
    """The time of the batch that a result came from; None for what is no answer."""
    try:
        said = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(said, dict) or "label" not in said:
        return None
    found = said.get("slow_ms")
    return float(found) if isinstance(found, int | float) else None
