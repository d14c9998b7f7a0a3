"""The README's figures: what τ and Δ bring about on the bundled digits, and on Banking77.

    python -m bench.figures [--banking77 FOLDER] [--rate 400] [--out bench/figures]

Each is a `hunch sweep` over the rows of the pair's test part. On the left is what the slow model's
calls buy: every point is a τ and a Δ, those on the line are on the Pareto frontier. On the right is
the most that the cascade can decide, in multiples of the slow model alone, and 1 / deferral rate.
Models that were recorded once are not asked again: delete the records to measure another machine.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
from bench.pairs import banking77, digits
from bench.processes import HUNCH
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from hunch.evaluation.plots import BLUE, DASHES, GREY, ORANGE, STYLE
from hunch.evaluation.records import Record
from hunch.evaluation.sweep_file import SweepFile, read_sweep

PAIRS = {"digits": "Handwritten digits", "banking77": "Banking77, 77 intents"}
SIZE = (11.0, 4.6)
DPI = 130
MOST_CALLS = 0.45
"""Beyond that share of slow calls nothing is to be seen."""
TITLES = {"least-cost": "least cost", "most-in-time": "most in time"}


def swept(record: Record, rate: float) -> SweepFile:
    """A sweep over the rows of a record."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "sweep.json"
        command = [*HUNCH, "sweep", str(record.folder), f"--rate={rate:g}", f"--results={results}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return read_sweep(results)


def drawn(name: str, sweep: SweepFile) -> Figure:
    """Both halves."""
    figure = Figure(figsize=SIZE, layout="constrained")
    left, right = figure.subplots(1, 2)
    figure.suptitle(
        f"{PAIRS[name]}: {sweep.record.rows:,} rows at {sweep.load.rate_per_s:g} messages a second",
        x=0.01,
        ha="left",
    )
    draw_frontier(left, sweep)
    draw_gain(right, sweep)
    return figure


def draw_frontier(axes: Axes, sweep: SweepFile) -> None:
    """Accuracy over slow calls, with the choices that have a name."""
    calls = [point.outcome.slow_calls.value for point in sweep.points]
    right = [sweep.accuracy_of(index) for index in range(len(calls))]
    axes.scatter(calls, right, s=10, color=GREY, alpha=0.45, linewidths=0)
    front = list(sweep.frontier)
    axes.plot([calls[it] for it in front], [right[it] for it in front], color=BLUE, marker=".")
    for model, accuracy, x, side in (
        ("fast", sweep.record.fast_accuracy, MOST_CALLS, "right"),
        ("slow", sweep.record.slow_accuracy, 0.0, "left"),
    ):
        axes.axhline(accuracy, color=GREY, linewidth=1.0, linestyle=DASHES)
        axes.annotate(
            f"{model} model alone {accuracy:.1%}",
            (x, accuracy),
            xytext=(0, 3),
            textcoords="offset points",
            ha=side,
            color=GREY,
        )
    marked = sorted(sweep.marked().items(), key=lambda it: -calls[it[0]])
    for number, (index, names) in enumerate(marked):
        point = sweep.points[index]
        title = ", ".join(TITLES.get(it, it) for it in names)
        axes.plot(calls[index], right[index], marker="o", color=ORANGE)
        axes.annotate(
            f"{title}\nτ {point.tau:g}, Δ {point.delta_ms} ms",
            (calls[index], right[index]),
            xytext=(0.7 - 0.1 * number, 0.66 - 0.15 * number),
            textcoords="axes fraction",
            color=ORANGE,
            arrowprops={"arrowstyle": "-", "color": ORANGE, "linewidth": 0.8},
        )
    axes.set_title("Right answers, by the share that the slow model is asked")
    axes.set_xlabel("calls of the slow model, of all messages")
    axes.set_xlim(-0.01, MOST_CALLS)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))


def draw_gain(axes: Axes, sweep: SweepFile) -> None:
    """Capacity over the deferral rate, in that of the slow model, and its limit."""
    rates = [gain.deferral_rate for gain in sweep.gains if gain.limit is not None]
    limits = [gain.limit for gain in sweep.gains if gain.limit is not None]
    reached = [gain.over_slow for gain in sweep.gains if gain.limit is not None]
    axes.plot(rates, limits, color=GREY, linestyle=DASHES)
    axes.plot(rates, reached, color=BLUE, marker=".")
    chosen = sweep.choice("least-cost") or sweep.choice("knee") or sweep.points[sweep.today]
    gain = next(it for it in sweep.gains if it.tau == chosen.tau)
    axes.plot(gain.deferral_rate, gain.over_slow, marker="o", color=ORANGE)
    axes.annotate(
        f"τ {gain.tau:g}: {gain.over_slow:.1f} x slow alone,\n{gain.deferral_rate:.1%} wait",
        (gain.deferral_rate, gain.over_slow),
        xytext=(-12, -10),
        textcoords="offset points",
        ha="right",
        va="top",
        color=ORANGE,
    )
    axes.set_title("The most it can decide, in multiples of the slow model alone")
    axes.set_xlabel("deferral rate; dashed: 1 / deferral rate")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    axes.yaxis.set_major_formatter("{x:g} x")


def main() -> None:
    """Reads the command line, sweeps, draws."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--banking77", type=Path, help="folder with fast, slow and test.jsonl")
    parser.add_argument("--rate", type=float, default=400.0, help="messages a second")
    parser.add_argument("--out", type=Path, default=Path("bench/figures"))
    asked = parser.parse_args()
    records = {"digits": digits("test")}
    if asked.banking77 is None:
        print("SKIPPED: the figure of Banking77 needs --banking77 FOLDER.", file=sys.stderr)
    else:
        records["banking77"] = banking77(asked.banking77, "test")
    asked.out.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        for name, record in records.items():
            file = asked.out / f"frontier-{name}.png"
            drawn(name, swept(record, asked.rate)).savefig(file, dpi=DPI)
            print(file)


if __name__ == "__main__":
    main()
