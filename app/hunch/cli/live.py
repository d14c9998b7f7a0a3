"""The live half of `hunch sweep --live`: a place is measured once, then points are held against it.

The stages are started for it (`live_session`); what is sent and how it is judged is in
`hunch.evaluation.live`.
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import typer

from hunch.assembly import Pair, enforce, find_pair, make_models
from hunch.cli.live_session import Session, opened, require_room
from hunch.cli.live_tables import Watch, show_live, watching
from hunch.cli.sweep_options import LiveOptions
from hunch.clock import SystemClock, utc
from hunch.evaluation.arrivals import Traffic
from hunch.evaluation.live.comparing import compared
from hunch.evaluation.live.inputs import inputs_of
from hunch.evaluation.live.placing import place_of
from hunch.evaluation.live.trial import Measured
from hunch.evaluation.policies import policy_of_setting
from hunch.evaluation.records import Record
from hunch.evaluation.simulation.place import Place
from hunch.evaluation.simulator import Setting, Simulator, used_of
from hunch.evaluation.sweep_file import LivePoint, Point, SweepFile
from hunch.evaluation.sweeping import Plan
from hunch.settings import Settings

FIRST_SEED = 1_000
"""Those of the simulated sweep are below: no point sees the very messages that it was chosen by."""
T = TypeVar("T")


class Wanted(NamedTuple):
    """A point to be tried out."""

    setting: Setting
    rate: float


class Live:
    """Trials on a broker, and simulations of the same messages.

    Args:
        options: of the command line.
        settings: of the stages.
        record: whose rows are sent.
        simulator: of these rows.
        today: τ and Δ of the settings.

    Raises `HunchError`s where the messages of the record, or its models, are not at hand.
    """

    def __init__(
        self,
        options: LiveOptions,
        settings: Settings,
        record: Record,
        simulator: Simulator,
        today: Setting,
    ) -> None:
        self._options = options
        self._settings = settings
        self._record = record
        self._simulator = simulator
        self._used, right_by = used_of(record)
        self._right = _right_labels(self._used, right_by, simulator)
        self._created = utc(SystemClock().now_ms())
        self._measure_at = self._where(today)
        self._notes: list[str] = []
        require_room(settings, options.processes)
        pair = find_pair(settings)
        enforce(settings, pair, self._policy(today, 0))
        self._messages = asyncio.run(self._inputs(pair))

    def place(self) -> Place:
        """What was given, or what is measured now."""
        at = self._measure_at
        if at is None:
            return self._simulator.scenario.place
        names = ["warming up", "measuring the place"]
        with watching(names, is_silent=self._options.is_silent) as watch:
            return _run(self._measured(at, watch))

    def compared(
        self, file: SweepFile, plan: Plan | None, on_file: Callable[[SweepFile], None]
    ) -> SweepFile:
        """The file with its live part.

        Args:
            file: of the simulated sweep, whose place predictions are made from.
            plan: whose grid is tried out; without one points of the frontier are.
            on_file: is told of the file with each point that it gets.
        """
        wanted = [it for it in self._wanted(file, plan) if it != self._measure_at]
        points: list[LivePoint] = []

        def on_point(point: LivePoint) -> None:
            points.append(point)
            on_file(file.model_copy(update={"live": tuple(points)}))

        names = [
            f"tau {it.setting.tau:g}, delta_ms {it.setting.delta_ms}, {it.rate:g}/s"
            for it in wanted
        ]
        if wanted:
            with watching(names, is_silent=self._options.is_silent) as watch:
                _run(self._compared(wanted, file.place, watch, on_point))
        notes = (*file.notes, *self._notes)
        found = file.model_copy(update={"live": tuple(points), "notes": notes})
        on_file(found)
        if not self._options.is_silent:
            show_live(points, self._notes)
        return found

    def _wanted(self, file: SweepFile, plan: Plan | None) -> "list[Wanted]":
        """The grid of a plan, or choices and evenly spaced points of the frontier; at each rate."""
        settings = (
            [self._setting(file.points[index]) for index in of_frontier(file, self._options.points)]
            if plan is None
            else [Setting(tau=tau, delta_ms=delta) for tau in plan.taus for delta in plan.deltas]
        )
        return [Wanted(setting, rate) for rate in self._options.rates for setting in settings]

    def _setting(self, point: Point) -> Setting:
        labels = self._record.labels
        own = sorted((labels.index(label), tau) for label, tau in point.taus.items())
        return Setting(tau=point.tau, delta_ms=point.delta_ms, taus=tuple(own))

    def _where(self, today: Setting) -> "Wanted | None":
        """Where the place is measured; None where it was given."""
        if self._options.place is not None:
            return None
        asked = self._options.measured_at()
        if asked is None:
            return Wanted(today, self._options.rates[0])
        tau, delta_ms, rate = asked
        return Wanted(Setting(tau=tau, delta_ms=delta_ms), rate)

    async def _measured(self, at: Wanted, watch: Watch) -> Place:
        """By the second trial: in the first one stages are cold, and often the broker is, too."""
        async with opened(self._settings, self._options.processes) as session:
            await self._trial(session, at, 0, watch)
            found, simulator = await self._trial(session, at, 0, watch, with_slow_results=True)
        place = place_of(found, simulator, at.setting)
        traffic = simulator.scenario.traffic
        there = compared(
            at.setting,
            traffic,
            simulator.somewhere(place).outcome(at.setting),
            found.numbers_of(),
            found.trial.busy,
        )
        self._notes.append(
            f"Live: times of machine and broker are measured at tau {at.setting.tau:g}, delta_ms "
            f"{at.setting.delta_ms} and {at.rate:g} messages a second ({traffic.pattern}); that "
            "point is not among those that are compared. There the simulation gives a p95 of "
            f"{there.predicted['p95_ms']:.0f} ms, and {there.measured['p95_ms']:.0f} ms were "
            "measured."
        )
        return place

    async def _compared(
        self,
        wanted: Sequence[Wanted],
        place: Place,
        watch: Watch,
        on_point: Callable[[LivePoint], None],
    ) -> None:
        strayed, late_ms = 0, 0.0
        async with opened(self._settings, self._options.processes) as session:
            for number, one in enumerate(wanted, start=1):
                found, simulator = await self._trial(session, one, number, watch)
                outcome = simulator.somewhere(place).outcome(one.setting)
                traffic = simulator.scenario.traffic
                numbers, busy = found.numbers_of(), found.trial.busy
                on_point(compared(one.setting, traffic, outcome, numbers, busy))
                strayed += found.strayed
                late_ms = max(late_ms, found.late_p99_ms())
        self._notes.append(
            "Live: of each point the first seconds do not count, as in the simulation of the very "
            f"same messages; {strayed:,} messages that the policy before has decided are left out. "
            f"All but one message in a hundred were sent within {late_ms:.1f} ms of their time. "
            "Where few cores were free all takes longer than in the place: the simulation takes "
            "cores as enough."
        )

    async def _trial(
        self,
        session: Session,
        wanted: Wanted,
        number: int,
        watch: Watch,
        *,
        with_slow_results: bool = False,
    ) -> tuple[Measured, Simulator]:
        """What was measured, and the simulator of the same messages."""
        simulator = self._simulator.at(self._traffic(wanted.rate), seeds=[FIRST_SEED + number])
        watch.begin()
        found = await session.trial(
            self._policy(wanted.setting, number),
            simulator.runs(wanted.setting)[0],
            self._messages,
            on_progress=watch.advance,
            with_slow_results=with_slow_results,
        )
        watch.end()
        return Measured(found, self._right), simulator

    def _traffic(self, rate: float) -> Traffic:
        return replace(self._simulator.scenario.traffic, rate_per_s=rate)

    def _policy(self, setting: Setting, number: int) -> Any:
        return policy_of_setting(
            self._simulator, self._record, setting, created=self._created, stem=f"live-{number}"
        )

    async def _inputs(self, pair: Pair) -> list[bytes]:
        models = make_models(self._settings, pair, ("fast", "slow"), SystemClock()).values()
        try:
            for model in models:
                await model.start()
            fields = frozenset[str]().union(*(model.fields for model in models))
        finally:
            for model in models:
                await model.stop()
        return inputs_of(self._options.data or Path(), self._used, fields)


def of_frontier(file: SweepFile, most: int) -> list[int]:
    """Places of the choices, and of as many more points of the frontier, evenly spaced."""
    chosen = dict.fromkeys(it.point for it in file.choices if it.point is not None)
    found = list(chosen)[:most]
    others = [index for index in file.frontier if index not in chosen]
    count = min(len(others), most - len(found))
    return found + [others[place * len(others) // count] for place in range(count)]


def _right_labels(used: Record, right_by: str, simulator: Simulator) -> list[str]:
    """Of each row; where nobody knows it, what the slow model says."""
    slow = used.slow
    temperature = simulator.base.slow_temperature or slow.temperature
    columns = used.right if right_by == "label" else slow.best(temperature)
    return [used.labels[column] if column >= 0 else "" for column in columns.tolist()]


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Also SIGTERM and a closed terminal end the stages and remove the topics."""
    try:
        return asyncio.run(_until_stopped(work))
    except asyncio.CancelledError:
        raise typer.Abort from None


async def _until_stopped(work: Coroutine[Any, Any, T]) -> T:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    if task is not None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, task.cancel)
    return await work
