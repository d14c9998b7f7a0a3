"""`hunch sweep`: what τ and Δ would bring about under a load, by simulation, and a choice.

With `--live` the points also go through stages on a broker: `hunch.cli.live`.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from hunch.assembly import exit_policy_of
from hunch.cli.options import Assignments, Bootstrap, Config, Json, loaded
from hunch.cli.output import show_json
from hunch.cli.sweep_options import LiveOptions, Numbers, prices_of, processes_of, required
from hunch.cli.sweep_tables import show_sweep, watching
from hunch.clock import SystemClock, utc
from hunch.core.exiting import ExitPolicy
from hunch.core.policy import Policy, enforced
from hunch.errors import ConfigError, NotCertified, PolicyError
from hunch.evaluation import require_extra
from hunch.settings import Settings, read_policy

if TYPE_CHECKING:
    from hunch.cli.live import Live
    from hunch.core.frontier import ChoiceName
    from hunch.evaluation.records import Record
    from hunch.evaluation.simulator import Setting, Simulator
    from hunch.evaluation.sweep_file import SweepFile
    from hunch.evaluation.sweeping import Found, Plan

app = typer.Typer()


@app.command()
def sweep(
    context: typer.Context,
    record: Annotated[
        Path, typer.Argument(metavar="RECORD", help="Folder that `hunch record` has written.")
    ],
    *,
    rate: Annotated[
        list[float], typer.Option(help="Messages a second; --live takes it several times.")
    ],
    pattern: Annotated[
        str | None, typer.Option(help="steady, poisson (the default), burst or recorded.")
    ] = None,
    arrivals: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Timestamps in ms, one a line, for recorded."),
    ] = None,
    processes: Annotated[
        str, typer.Option(metavar="STAGE=N,…", help="Processes of each stage, one by default.")
    ] = "",
    policy: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Its measure and temperatures count, its tau as today's."
        ),
    ] = None,
    place: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Measured times of machine and broker.")
    ] = None,
    epsilon: Annotated[float, typer.Option(help="What may lack of the slow accuracy.")] = 0.005,
    deadline_ms: Annotated[
        float | None, typer.Option(help="In time means within it; default is today's delta.")
    ] = None,
    price: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=NUMBER", help="fast-call, slow-call, fast-second, slow-second."),
    ] = None,
    taus: Annotated[
        str | None, typer.Option(metavar="NUMBERS", help="The tau of the grid, by commas.")
    ] = None,
    deltas: Annotated[
        str | None, typer.Option(metavar="NUMBERS", help="The delta_ms of the grid, by commas.")
    ] = None,
    grid: Annotated[
        str, typer.Option(metavar="NxM", help="So many tau and delta_ms where none are named.")
    ] = "12x6",
    rounds: Annotated[int, typer.Option(min=0, max=10, help="Of refining the frontier.")] = 2,
    seconds: Annotated[float, typer.Option(help="Of traffic that count, in each run.")] = 10.0,
    warm_up: Annotated[float, typer.Option(help="Seconds before them that do not.")] = 2.0,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Runs of each point.")] = 3,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes that simulate; default: all cores.")
    ] = None,
    results: Annotated[
        Path, typer.Option(metavar="FILE", help="Where all that is found goes.")
    ] = Path("sweep.json"),
    choose: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="least-cost, fastest, most-in-time or knee."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Policy of the choice.")] = Path(
        "policy.json"
    ),
    live: Annotated[
        bool, typer.Option("--live", help="Then runs the points through stages on a broker.")
    ] = False,
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSONL that was recorded, for --live.")
    ] = None,
    bootstrap: Bootstrap = None,
    measure_at: Annotated[
        str | None,
        typer.Option(
            metavar="TAU,DELTA,RATE", help="Where --live measures times; default is today's."
        ),
    ] = None,
    place_out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where what --live has measured goes.")
    ] = None,
    most_live: Annotated[
        int,
        typer.Option(
            "--points", min=1, max=200, help="Of the frontier, for --live without a grid."
        ),
    ] = 12,
    config: Config = None,
    assignments: Assignments = None,
    as_json: Json = False,
) -> None:
    """Simulates tau and delta under a load: the Pareto frontier, choices, throughput gained."""
    require_extra()
    from hunch.evaluation.sweep_results import sweep_file_of  # noqa: PLC0415  needs the extra

    name = _choice(choose, out, results)
    asked = Numbers(
        rates=rate, seconds=seconds, warm_up=warm_up, epsilon=epsilon, deadline_ms=deadline_ms
    )
    options = LiveOptions(
        is_on=live,
        data=data,
        bootstrap=bootstrap,
        place=place,
        place_out=place_out,
        measure_at=measure_at,
        rates=rate,
        points=most_live,
        processes=processes_of(processes),
        is_silent=as_json,
    )
    settings = loaded(
        context,
        config,
        assignments,
        policy_file=None if policy is None else str(policy),
        bootstrap=options.address(),
    ).settings
    simulator, whole, today, policy_name = _simulator(
        settings,
        record,
        asked=asked,
        pattern=pattern,
        arrivals=arrivals,
        processes=processes,
        place=place,
        prices=price or (),
        seeds=seeds,
    )
    ask = partial(_plan, today, taus, deltas, grid, rounds=rounds, epsilon=epsilon)
    half = _live_half(options, settings, simulator, whole, ask(simulator)) if live else None
    simulator = simulator if half is None else _measured(half, simulator, place_out)
    file = sweep_file_of(
        _swept(simulator, ask(simulator), results, jobs, as_json=as_json),
        simulator,
        whole,
        created=utc(SystemClock().now_ms()),
        epsilon=epsilon,
        arrivals=None if arrivals is None else arrivals.name,
        policy=policy_name,
    )
    _write(results, file.text())
    if not as_json:
        show_sweep(file, results)
    if half is not None:
        wanted = ask(simulator) if taus and deltas else None
        file = half.compared(file, wanted, lambda it: _write(results, it.text()))
    if as_json:
        show_json(file.model_dump(mode="json"))
    if name is not None:
        _write_policy(file, name, out, as_json=as_json)


def _swept(
    simulator: "Simulator", plan: "Plan", results: Path, jobs: int | None, *, as_json: bool
) -> "Found":
    """What is found stays beside the results, also after Ctrl-C."""
    from hunch.evaluation.kept_points import kept  # noqa: PLC0415  needs the extra
    from hunch.evaluation.sweeping import sweep as swept  # noqa: PLC0415

    if not results.name:
        raise ConfigError(f"--results {results} is no file: name one, like sweep.json.")
    points = results.with_name(f"{results.stem}.points.jsonl")
    try:
        with kept(points) as known, watching(points, known, as_json=as_json) as on_progress:
            return swept(simulator, plan, known, jobs=jobs or _cores(), on_progress=on_progress)
    except KeyboardInterrupt:
        typer.echo(f"hunch: What was found is in {points}: the same command goes on.", err=True)
        raise


def _live_half(
    options: LiveOptions,
    settings: Settings,
    simulator: "Simulator",
    record: "Record",
    plan: "Plan",
) -> "Live":
    """The half that needs a broker; raises `HunchError`s before one is started."""
    from hunch.cli.live import Live  # noqa: PLC0415  needs the extra
    from hunch.evaluation.grids import grid  # noqa: PLC0415

    grid(plan.taus, plan.deltas, plan.today)
    return Live(options, settings, record, simulator, plan.today)


def _measured(half: "Live", simulator: "Simulator", place_out: Path | None) -> "Simulator":
    """The simulator in the place that was measured, or given."""
    found = half.place()
    if place_out is not None:
        _write(place_out, found.model_dump_json() + "\n")
    return simulator.somewhere(found)


def _choice(text: str | None, out: Path, results: Path) -> "ChoiceName | None":
    from hunch.core.frontier import CHOICES  # noqa: PLC0415

    found = next((name for name in CHOICES if name == text), None)
    if text is not None and found is None:
        raise ConfigError(f"There is no choice {text!r}: use one of {', '.join(CHOICES)}.")
    if found is not None and out.resolve() == results.resolve():
        raise ConfigError(f"--out {out} and --results are the same file: name two.")
    return found


def _simulator(
    settings: Settings,
    folder: Path,
    *,
    asked: Numbers,
    pattern: str | None,
    arrivals: Path | None,
    processes: str,
    place: Path | None,
    prices: Sequence[str],
    seeds: int,
) -> "tuple[Simulator, Record, Setting, str | None]":
    from hunch.evaluation.arrivals import Pattern, Traffic, read_timestamps  # noqa: PLC0415
    from hunch.evaluation.records import read, service_samples  # noqa: PLC0415
    from hunch.evaluation.simulation.deployment import Deployment  # noqa: PLC0415
    from hunch.evaluation.simulation.place import read_place  # noqa: PLC0415
    from hunch.evaluation.simulation.run import Scenario  # noqa: PLC0415
    from hunch.evaluation.simulator import Rows, Setting, Simulator  # noqa: PLC0415

    default = "poisson" if arrivals is None else "recorded"
    traffic = Traffic(
        rate_per_s=asked.rates[0],
        pattern=cast("Pattern", pattern or default),
        timestamps_ms=() if arrivals is None else read_timestamps(arrivals),
    )
    deployment = Deployment.of(settings, **processes_of(processes))
    whole = read(folder)
    policy = None if settings.policy_file is None else read_policy(settings.policy_file)
    base = _in_force(settings, whole, policy)
    temperatures = (
        base.temperature or whole.fast.temperature,
        base.slow_temperature or whole.slow.temperature,
    )
    scenario = Scenario(
        place=read_place(place, service_samples(folder)),
        deployment=deployment,
        traffic=traffic,
        seconds=asked.seconds,
        warm_up_s=asked.warm_up,
    )
    simulator = Simulator(
        Rows.of(whole, fast_temperature=temperatures[0], slow_temperature=temperatures[1]),
        base,
        scenario,
        seeds=range(seeds),
        in_time_ms=asked.deadline_ms or float(settings.delta_ms) or 500.0,
        prices=prices_of(prices),
    )
    own = tuple(sorted(base.taus.items())) if settings.tau == base.tau else ()
    today = Setting(tau=settings.tau, delta_ms=settings.delta_ms, taus=own)
    return simulator, whole, today, None if policy is None else policy.name


def _in_force(settings: Settings, record: "Record", policy: Policy | None) -> ExitPolicy:
    """What the settings decide by; raises `PolicyError` for a policy of other models."""
    if policy is None:
        return exit_policy_of(settings)
    for side, made_for, model in (
        ("fast", policy.models.fast, record.fast),
        ("slow", policy.models.slow, record.slow),
    ):
        if made_for.sha256 != model.sha256:
            raise PolicyError(
                f"The policy {policy.name} was made for the {side} model {made_for.name}@"
                f"{made_for.version} ({made_for.sha256[:8]}), and {record.folder} was recorded "
                f"with {model.name}@{model.version} ({model.sha256[:8]}): record that one."
            )
    return enforced(
        policy,
        exit_policy_of(settings),
        record.labels,
        has_logits=record.fast.kind == "logits",
    )


def _plan(
    today: "Setting",
    taus: str | None,
    deltas: str | None,
    grid: str,
    simulator: "Simulator",
    *,
    rounds: int,
    epsilon: float,
) -> "Plan":
    from hunch.evaluation import grids  # noqa: PLC0415  needs the extra
    from hunch.evaluation.sweeping import Plan  # noqa: PLC0415

    scenario = simulator.scenario
    counts = required(grid, "--grid", separator="x", least=2, most=2)
    tau_count, delta_count = (int(count) for count in counts)
    if min(counts) < 2 or tau_count * delta_count > grids.MOST_POINTS:
        raise ConfigError(
            f"--grid {grid} makes no grid: write NxM with 2 or more of each, at most "
            f"{grids.MOST_POINTS:,} points."
        )
    least_ms = grids.least_delta_ms(scenario.place, scenario.deployment)
    return Plan(
        taus=(
            grids.Taus(simulator.scores).spread(tau_count)
            if taus is None
            else sorted(set(required(taus, "--taus")))
        ),
        deltas=(
            grids.deltas(least_ms, delta_count)
            if deltas is None
            else sorted({round(delta) for delta in required(deltas, "--deltas")})
        ),
        today=today,
        rounds=rounds,
        epsilon=epsilon,
    )


def _write_policy(file: "SweepFile", name: "ChoiceName", out: Path, *, as_json: bool) -> None:
    """Raises `NotCertified` where the choice has no point."""
    from hunch.evaluation.policies import policy_of_choice  # noqa: PLC0415  needs the extra
    from hunch.evaluation.sweep_explaining import change  # noqa: PLC0415

    choice = next(it for it in file.choices if it.name == name)
    if choice.point is None:
        raise NotCertified(f"{change(file, choice)} No policy is written.")
    policy = policy_of_choice(file, choice)
    _write(out, policy.text())
    if not as_json:
        typer.echo(policy.promise)
        typer.echo(
            f"{out} is written: {policy.name}. Start stages with --set policy_file={out}, or bring "
            f"it into running ones with `hunch policy push {out}`."
        )


def _write(path: Path, text: str) -> None:
    from hunch.evaluation.files import write_whole  # noqa: PLC0415  needs the extra

    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}.") from error


def _cores() -> int:
    with suppress(AttributeError):  # only Linux knows which cores this process may use
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
