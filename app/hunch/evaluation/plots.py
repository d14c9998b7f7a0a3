"""Plots of a calibration, as SVG: what τ trades, and how far confidence is from accuracy.

All of them show the rows that judge. A share of fewer than `LEAST_ROWS` rows is not drawn as part
of a line: it would say more about chance than about the models.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from hunch.core.calibration import expected_calibration_error, reliability
from hunch.evaluation.calibrating import Calibration
from hunch.evaluation.explaining import percent
from hunch.evaluation.records import Outputs

BLUE, ORANGE, GREY = "#1f5fa8", "#c8500a", "#6b6b6b"
STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "font.size": 10,
    "lines.linewidth": 1.8,
    "svg.hashsalt": "hunch",
}
SIZE = (7.0, 4.4)
LEAST_ROWS = 10
DASHES = (0, (4, 3))


def draw(calibration: Calibration, folder: Path) -> list[Path]:
    """Writes the plots that these rows allow, and answers their files; raises `OSError`."""
    made = {"risk-coverage": _risk}
    if "accuracy" in calibration.curve:
        made |= {"accuracy-coverage": _accuracy, "reliability": _reliability}
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    with mpl.rc_context(STYLE):
        for name, make in made.items():
            file = folder / f"{name}.svg"
            make(calibration).savefig(file, metadata={"Date": None})
            files.append(file)
    return files


def _accuracy(calibration: Calibration) -> Figure:
    """Accuracy of the cascade over the share that exits."""
    figure, axes = _figure("Right answers, by the share of messages that exit")
    judged, curve = calibration.judged, calibration.curve
    axes.plot(_column(curve["accept_rate"]), _column(curve["accuracy"]), color=BLUE)
    for name, accuracy in (("slow", judged.slow_accuracy), ("fast", judged.fast_accuracy)):
        if accuracy is not None:
            axes.axhline(accuracy, color=GREY, linewidth=1.0, linestyle=DASHES)
            _name(axes, 0.0, accuracy, f"{name} model alone {percent(accuracy)}", GREY)
    _mark(axes, calibration, judged.accuracy, "right", beside=(0.55, 0.42))
    axes.set_ylabel("right answers, when the slow ones are in time")
    axes.margins(y=0.15)
    return figure


def _risk(calibration: Calibration) -> Figure:
    """Risk of the exits over the share that exits: wrong, or without labels, other than slow."""
    judged, curve, goal = calibration.judged, calibration.curve, calibration.plan.goal
    is_labelled = "selective_risk" in curve and goal.name != "agreement"
    if is_labelled:
        risks, at_tau, word = curve["selective_risk"], judged.selective_risk, "wrong"
    else:
        risks = [_less(share) for share in curve["agreement"]]
        at_tau, word = _less(judged.agreement), "disagree"
    figure, axes = _figure(f"Exits that {'are wrong' if is_labelled else word}, by how many exit")
    shares = _column(curve["accept_rate"])
    is_drawn = shares * judged.rows >= LEAST_ROWS
    axes.plot(shares[is_drawn], _column(risks)[is_drawn], color=BLUE)
    if goal.name in {"selective-risk", "agreement"}:
        axes.axhline(goal.harm_limit, color=ORANGE, linewidth=1.0, linestyle=DASHES)
        _name(axes, 0.0, goal.harm_limit, f"limit {percent(goal.harm_limit)}", ORANGE)
    _mark(axes, calibration, at_tau, word, beside=(0.55, 0.75))
    axes.set_ylabel(f"share of the exits that {'is wrong' if is_labelled else 'disagrees'}")
    axes.set_ylim(bottom=0.0)
    return figure


def _reliability(calibration: Calibration) -> Figure:
    """Accuracy over confidence of both models, at their own temperatures and at the fitted ones.

    Rows without an answer of a model say nothing about its confidence.
    """
    figure = Figure(figsize=(9.0, 4.6), layout="constrained")
    record, fitted = calibration.split.judge, calibration.temperatures
    panels = figure.subplots(1, 2, sharey=True)
    for axes, side, outputs, temperature in (
        (panels[0], "fast", record.fast, fitted.fast),
        (panels[1], "slow", record.slow, fitted.slow),
    ):
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1.0, linestyle=DASHES)
        answered = outputs.answered
        if answered.any():
            drawn, right = outputs.part(answered), record.right[answered]
            own = outputs.temperature
            _reliability_line(axes, drawn, right, temperature=own, name="own", colour=GREY)
            _reliability_line(axes, drawn, right, temperature=temperature, name="new", colour=BLUE)
        axes.set_title(f"{side} model {outputs.name}@{outputs.version}")
        axes.set_xlabel("confidence (size of a dot: rows)")
        axes.set_xlim(0.0, 1.02)
        axes.set_ylim(0.0, 1.02)
        _in_percent(axes)
    panels[0].set_ylabel("right answers")
    return figure


def _reliability_line(
    axes: Axes,
    outputs: Outputs,
    right: NDArray[np.int64],
    *,
    temperature: float,
    name: str,
    colour: str,
) -> None:
    confidence = outputs.probabilities(temperature)[0].max(axis=1).astype(np.float64)
    is_right = outputs.best(temperature) == right
    bins = reliability(confidence, is_right)
    error = expected_calibration_error(confidence, is_right)
    is_drawn = bins.rows >= LEAST_ROWS
    axes.plot(bins.confidence[is_drawn], bins.accuracy[is_drawn], color=colour)
    sizes = 6.0 + 160.0 * bins.rows / bins.rows.sum()
    axes.scatter(bins.confidence, bins.accuracy, s=sizes, color=colour, zorder=3)
    axes.text(
        0.97,
        0.11 if name == "own" else 0.04,
        f"{name} temperature {temperature:.3g}: error {error:.3f}",
        color=colour,
        ha="right",
        transform=axes.transAxes,
    )


def _figure(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title)
    axes.set_xlabel("messages that exit with the fast answer")
    axes.set_xlim(0.0, 1.0)
    _in_percent(axes)
    return figure, axes


def _in_percent(axes: Axes) -> None:
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))


def _mark(
    axes: Axes,
    calibration: Calibration,
    height: float | None,
    word: str,
    *,
    beside: tuple[float, float],
) -> None:
    """A dot where τ lies, and what comes of it, at a place of the axes that lines leave free."""
    tau, share = calibration.selection.tau, calibration.judged.accept_rate
    if tau is None or share is None or height is None:
        return
    axes.scatter([share], [height], s=60, color=ORANGE, zorder=4)
    axes.annotate(
        f"tau = {tau:.4g}\n{percent(share)} exit, {percent(height)} {word}",
        (share, height),
        xytext=beside,
        textcoords="axes fraction",
        ha="right",
        va="center",
        color=ORANGE,
        arrowprops={"arrowstyle": "-", "color": ORANGE, "linewidth": 0.8, "shrinkB": 5},
    )


def _name(axes: Axes, left: float, height: float, text: str, colour: str) -> None:
    axes.annotate(
        text,
        (left, height),
        xytext=(4, 3),
        textcoords="offset points",
        color=colour,
        fontsize=9,
    )


def _column(shares: Sequence[float | None]) -> NDArray[np.float64]:
    """As matplotlib takes it: NaN where there is none."""
    return np.array(shares, dtype=np.float64)


def _less(share: float | None) -> float | None:
    return None if share is None else 1.0 - share
