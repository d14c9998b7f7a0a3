"""`sweep`: a grid over τ and Δ, refined near its frontier, over all cores; what follows from it.

What is found is kept at once (`kept_points`): a sweep that was stopped goes on where it was.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from hunch.core.frontier import CHOICES, OperatingPoint, choose, frontier
from hunch.errors import ConfigError
from hunch.evaluation.grids import Taus, beside, grid
from hunch.evaluation.kept_points import KeptPoints
from hunch.evaluation.simulation.outcome import Outcome
from hunch.evaluation.simulation.run import speed_alone
from hunch.evaluation.simulator import Setting, Simulator
from hunch.evaluation.sweep_file import Change, Choice, Gain, Point

MOST_BESIDE = 30
"""New points in one round of refining."""
OnProgress = Callable[[int, int], None]
Map = Callable[[Sequence[Setting]], Iterator[tuple[Setting, Outcome]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which settings are looked at.

    Attributes:
        taus: of the grid.
        deltas: of the grid.
        today: what the settings say now; a point whatever the grid.
        rounds: of refining.
        epsilon: what may lack of the slow model's accuracy.
    """

    taus: Sequence[float]
    deltas: Sequence[int]
    today: Setting
    rounds: int
    epsilon: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a sweep has found, as it stands in `sweep.json`."""

    points: tuple[Point, ...]
    today: int
    frontier: tuple[int, ...]
    choices: tuple[Choice, ...]
    alone: Mapping[Literal["fast", "slow"], Outcome]
    gains: tuple[Gain, ...]


def sweep(
    simulator: Simulator, plan: Plan, kept: KeptPoints, *, jobs: int, on_progress: OnProgress
) -> Found:
    """Simulates all points.

    Args:
        simulator: of one point.
        plan: which points.
        kept: those that are known, and where new ones go.
        jobs: processes; with one it is this process.
        on_progress: is told the points that are done, and how many there are so far.

    Raises `ConfigError` for a grid that makes no sense.
    """
    settings = grid(plan.taus, plan.deltas, plan.today)
    simulator = simulator.settling(max(setting.delta_ms for setting in settings))
    slow_accuracy = float(simulator.rows.truth.slow_right.mean())
    taus = Taus(simulator.scores)
    with _mapped(simulator, jobs) as simulate:
        outcomes: dict[Setting, Outcome] = {}
        for turn in range(plan.rounds + 1):
            total = len(outcomes) + len(settings)
            on_progress(len(outcomes), total)
            for setting, outcome in _known_or_new(settings, simulator, kept, simulate):
                outcomes[setting] = outcome
                on_progress(len(outcomes), total)
            if turn < plan.rounds:
                near = _that_matter(simulator, outcomes, slow_accuracy, plan.epsilon)
                settings = beside(near, outcomes.keys(), taus, MOST_BESIDE)
    ordered = _ordered(outcomes)
    points = tuple(_point(simulator, setting, outcomes[setting]) for setting in ordered)
    today = ordered.index(plan.today)
    values = [_operating(point, slow_accuracy) for point in points]
    alone: dict[Literal["fast", "slow"], Outcome] = {
        "fast": simulator.alone("fast"),
        "slow": simulator.alone("slow"),
    }
    choices = []
    for name in CHOICES:
        index = choose(name, values, slow_accuracy=slow_accuracy, epsilon=plan.epsilon)
        changes = None if index is None else _change(values, points, index, today)
        choices.append(Choice(name=name, point=index, changes=changes))
    return Found(
        points=points,
        today=today,
        frontier=tuple(frontier(values)),
        choices=tuple(choices),
        alone=alone,
        gains=tuple(_gains(simulator, ordered, points, alone)),
    )


def _known_or_new(
    settings: Sequence[Setting], simulator: Simulator, kept: KeptPoints, simulate: Map
) -> Iterator[tuple[Setting, Outcome]]:
    new = []
    for setting in settings:
        known = kept.get(simulator.key(setting))
        if known is None:
            new.append(setting)
        else:
            yield setting, known
    for setting, outcome in simulate(new):
        kept.add(simulator.key(setting), setting, outcome)
        yield setting, outcome


@contextmanager
def _mapped(simulator: Simulator, jobs: int) -> Iterator[Map]:
    """How settings become outcomes: here, or in so many processes, as they are found."""
    if jobs <= 1:
        yield lambda settings: ((it, simulator.outcome(it)) for it in settings)
        return
    executor = ProcessPoolExecutor(
        jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_prepare,
        initargs=(simulator,),
    )

    def simulate(settings: Sequence[Setting]) -> Iterator[tuple[Setting, Outcome]]:
        with _deaf_to_ctrl_c():  # processes inherit it: none of them dies aloud while it starts
            futures = {executor.submit(_outcome, setting): setting for setting in settings}
        for future in as_completed(futures):
            yield futures[future], Outcome.model_validate(future.result())

    try:
        yield simulate
    except BrokenProcessPool as error:
        raise ConfigError(
            "A process that simulates was killed, most likely for want of memory: take fewer "
            "--jobs, or a lower --rate."
        ) from error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


_IN_THIS_PROCESS: list[Simulator] = []


def _prepare(simulator: Simulator) -> None:
    """Ctrl-C is for the process that waits for this one: it ends both."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _IN_THIS_PROCESS.append(simulator)


def _end_with_parent() -> None:
    """Nobody else ends this process where the one that waits for it is killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _outcome(setting: Setting) -> dict[str, Any]:
    return _IN_THIS_PROCESS[0].outcome(setting).model_dump()


def _point(simulator: Simulator, setting: Setting, outcome: Outcome) -> Point:
    return Point(
        tau=setting.tau,
        taus={simulator.rows.labels[column]: tau for column, tau in setting.taus},
        delta_ms=setting.delta_ms,
        accept_rate=float(simulator.exits(setting).mean()),
        outcome=outcome,
    )


def _operating(point: Point, slow_accuracy: float) -> OperatingPoint:
    """Accuracy as what the gap leaves: which rows happened to come counts for less in it."""
    outcome = point.outcome
    return OperatingPoint(
        accuracy=slow_accuracy - outcome.gap.value,
        p95_ms=outcome.latency.p95_ms.value,
        cost=point.cost,
        in_time_per_s=outcome.in_time_per_s.value,
    )


def _ordered(settings: Iterable[Setting]) -> list[Setting]:
    """Whichever process was faster: of equal points the one with the lower τ and Δ is the first."""
    return sorted(settings, key=lambda it: (it.tau, it.delta_ms, it.taus))


def _that_matter(
    simulator: Simulator,
    outcomes: Mapping[Setting, Outcome],
    slow_accuracy: float,
    epsilon: float,
) -> list[Setting]:
    """What is on the frontier, the choices first."""
    settings = _ordered(outcomes)
    values = [_operating(_point(simulator, it, outcomes[it]), slow_accuracy) for it in settings]
    chosen = [
        choose(name, values, slow_accuracy=slow_accuracy, epsilon=epsilon) for name in CHOICES
    ]
    first = [index for index in chosen if index is not None]
    return [settings[index] for index in dict.fromkeys([*first, *frontier(values)])]


def _change(
    values: Sequence[OperatingPoint], points: Sequence[Point], index: int, today: int
) -> Change:
    chosen, now = values[index], values[today]
    calls = (points[it].outcome.slow_calls.value for it in (index, today))
    return Change(
        accuracy=chosen.accuracy - now.accuracy,
        p95_ms=chosen.p95_ms - now.p95_ms,
        slow_calls=next(calls) - next(calls),
        cost=chosen.cost - now.cost,
        in_time_per_s=chosen.in_time_per_s - now.in_time_per_s,
    )


def _gains(
    simulator: Simulator,
    settings: Sequence[Setting],
    points: Sequence[Point],
    alone: Mapping[Literal["fast", "slow"], Outcome],
) -> Iterator[Gain]:
    """Of each common τ; at this load with the longest Δ of its points."""
    place, deployment = simulator.scenario.place, simulator.scenario.deployment
    fast, slow = (speed_alone(side, place, deployment) for side in ("fast", "slow"))
    latest = {it.tau: point for it, point in zip(settings, points, strict=True) if not it.taus}
    for tau, point in latest.items():
        rate = 1.0 - point.accept_rate
        stages: dict[Literal["fast", "slow", "join"], float] = {"fast": fast}
        if rate > 0.0:
            stages["slow"] = slow / rate
            if place.join_message_ms > 0.0:
                each_ms = 2 * place.join_message_ms * rate
                stages["join"] = 1000.0 * deployment.join_processes / each_ms
        bottleneck = min(stages, key=lambda stage: stages[stage])
        decided = point.outcome.decided_per_s.value
        yield Gain(
            tau=tau,
            deferral_rate=rate,
            limit=1.0 / rate if rate > 0.0 else None,
            capacity_per_s=stages[bottleneck],
            bottleneck=bottleneck,
            over_slow=stages[bottleneck] / slow,
            over_fast=stages[bottleneck] / fast,
            at_load_over_slow=_ratio(decided, alone["slow"].decided_per_s.value),
            at_load_over_fast=_ratio(decided, alone["fast"].decided_per_s.value),
        )


def _ratio(one: float, other: float) -> float | None:
    return one / other if other > 0.0 else None
