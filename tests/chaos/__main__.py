"""`make chaos`: breaks a running cascade in many ways, and checks every decision from outside.

Runs one mix of faults after the other on a broker of its own. The exit code is 1 where anything was
lost, decided twice, contradicted or late; logs stay in a temporary folder.
"""

import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from tests.brokers import ROOT, KafkaBroker, Missing
from tests.chaos import report
from tests.chaos.package import copy_app
from tests.chaos.run import Outcome, Plan, run
from tests.chaos.schedule import MIXES, Kind

SHARES = {
    "dense": 0.4,
    "late-notice": 0.08,
    "handovers": 0.08,
    "long-transactions": 0.08,
    "overflow": 0.06,
    "no-delta": 0.06,
    "sparse": 0.24,
}
"""How much of the time each mix gets where all of them run."""


def main(
    *,
    seconds: Annotated[float, typer.Option(help="Of faults, over all mixes.")] = 600.0,
    seed: Annotated[int, typer.Option(help="Which faults, in which order.")] = 1,
    mix: Annotated[str, typer.Option(help=f"all, or one of {', '.join(MIXES)}.")] = "all",
    delivery: Annotated[str, typer.Option(help="The promise to test.")] = "exactly-once",
    kills: Annotated[int, typer.Option(help="kill -9 at least, in the dense mix.")] = 0,
    stops: Annotated[int, typer.Option(help="SIGSTOPs of processes at least.")] = 0,
    broker_restarts: Annotated[int, typer.Option(help="Broker restarts at least.")] = 0,
    session_ms: Annotated[int, typer.Option(help="Session time-out of the stages.")] = 6_000,
    rate: Annotated[float, typer.Option(help="Messages a second.")] = 500.0,
    app: Annotated[Path, typer.Option(help="The folder that holds the package.")] = ROOT / "app",
) -> None:
    """Breaks a running cascade in many ways, and checks every decision from outside."""
    console = Console()
    if mix not in {"all", *MIXES}:
        raise typer.BadParameter(f"there is no mix {mix}: choose all, or one of {', '.join(MIXES)}")
    wanted = {
        Kind.KILL: kills,
        Kind.FREEZE: stops,
        Kind.BROKER_RESTART: (broker_restarts + 1) // 2,
        Kind.BROKER_KILL: broker_restarts // 2,
    }
    plans = [
        Plan(
            mix=MIXES[name],
            seed=seed,
            seconds=seconds * share,
            delivery=delivery,
            wanted=wanted if name == "dense" else {},
            rate=rate,
            session_ms=session_ms,
            app=app,
        )
        for name, share in (SHARES if mix == "all" else {mix: 1.0}).items()
    ]
    outcomes = _run_all(plans, console)
    report.print_outcomes(console, outcomes)
    raise typer.Exit(0 if all(outcome.has_passed for outcome in outcomes) else 1)


def _run_all(plans: list[Plan], console: Console) -> list[Outcome]:
    """Each on a broker of its own: what one leaves behind is not read at restarts by the next."""
    folder = Path(tempfile.mkdtemp(prefix="hunch-chaos-broker-"))
    outcomes = []
    try:
        with report.Screen(console) as screen:
            copied = copy_app(plans[0].app.resolve(), folder)
            for plan in plans:
                broker = KafkaBroker(folder / plan.mix.name)
                try:
                    outcomes.append(run(replace(plan, app=copied), broker, screen))
                finally:
                    broker.kill()
    except Missing as missing:
        console.print(str(missing))
        sys.exit(1)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return outcomes


if __name__ == "__main__":
    typer.run(main)
