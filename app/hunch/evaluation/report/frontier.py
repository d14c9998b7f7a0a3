"""All points of a sweep by accuracy and one other number: frontier, choices, today, each model."""

from collections.abc import Callable, Sequence
from typing import Any

from hunch.evaluation.report.numbers import Report
from hunch.evaluation.report.values import OF_POINTS, Figure, axis, figure
from hunch.evaluation.sweep_explaining import points_of
from hunch.evaluation.sweep_file import Point

WIDE = 20.0
"""Of numbers that differ by more than this factor the logarithm is drawn."""


def frontier(report: Report, value: Callable[[Point], float], name: str) -> Figure:
    """Accuracy of all points over a number of theirs; hollow where they do not keep up."""
    sweep = report.sweep
    marked, on_it = sweep.marked(), set(sweep.frontier)
    others = [it for it in range(len(sweep.points)) if it not in on_it and it not in marked]
    traces = [
        _dots(report, value, others, name="simulated", color="--faint", size=6),
        _dots(report, value, sweep.frontier, name="frontier", color="--fast", size=9),
    ]
    for index, names in marked.items():
        is_today = names == ["today"]
        trace = _dots(
            report,
            value,
            [index],
            name=", ".join(names),
            color="--fallback" if is_today else "--slow",
            size=15,
        )
        trace["marker"]["symbol"] = "diamond" if is_today else "star"
        traces.append(trace)
    alone = _alone(report, value)
    traces += alone
    drawn = [value(sweep.points[it]) for it in range(len(sweep.points))]
    drawn += [trace["x"][0] for trace in alone]
    positive = [it for it in drawn if it > 0]
    factor = max(positive, default=1.0) / min(positive, default=1.0)
    is_log = name.endswith("ms") and factor > WIDE
    is_share = name == "slow calls"
    found = figure(
        traces,
        xaxis=axis(name, is_log=is_log, factor=factor, is_share=is_share),
        yaxis=axis("right answers", is_share=True),
        height=420,
    )
    least = sweep.record.slow_accuracy - sweep.asked.epsilon
    found["layout"]["shapes"] = [
        {
            "type": "line",
            "xref": "paper",
            "x0": 0,
            "x1": 1,
            "y0": least,
            "y1": least,
            "line": {"color": "--quiet", "width": 1, "dash": "dash"},
        }
    ]
    found["layout"]["annotations"] = [
        {
            "xref": "paper",
            "x": 1,
            "y": least,
            "text": f"slow model less {points_of(sweep.asked.epsilon)}",
            "showarrow": False,
            "xanchor": "right",
            "yanchor": "top",
            "font": {"color": "--quiet", "size": 11},
        }
    ]
    return found


def _dots(
    report: Report,
    value: Callable[[Point], float],
    indices: Sequence[int],
    *,
    name: str,
    color: str,
    size: int,
) -> dict[str, Any]:
    sweep = report.sweep
    keeps_up = [sweep.points[it].outcome.keeps_up for it in indices]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [value(sweep.points[it]) for it in indices],
        "y": [sweep.accuracy_of(it) for it in indices],
        "customdata": [[it] for it in indices],
        "meta": OF_POINTS,
        "hovertemplate": f"<b>{name}</b><br>%{{hovertext}}<extra></extra>",
        "marker": {
            "color": color,
            "size": size,
            "symbol": ["circle" if it else "circle-open" for it in keeps_up],
            "line": {"color": "--paper" if all(keeps_up) else color, "width": 1},
        },
    }


def _alone(report: Report, value: Callable[[Point], float]) -> list[dict[str, Any]]:
    """Both models alone; a price is not known of them, and the share of slow calls is."""
    sweep = report.sweep
    record, alone = sweep.record, sweep.alone
    traces = []
    for side, outcome, accuracy, symbol in (
        ("fast", alone["fast"], record.fast_accuracy, "triangle-down"),
        ("slow", alone["slow"], record.slow_accuracy, "triangle-up"),
    ):
        stands_for = Point(
            tau=float(side == "slow"),
            delta_ms=0,
            accept_rate=float(side == "fast"),
            outcome=outcome,
        )
        told = f"p95 {outcome.latency.p95_ms.value:,.0f} ms"
        if not outcome.keeps_up:
            told += f"<br>OVERLOAD: {outcome.decided_per_s.value:,.0f} /s are decided"
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"{side} alone",
                "x": [value(stands_for)],
                "y": [accuracy],
                "hovertemplate": f"<b>{side} model alone</b><br>right: %{{y:.2%}}<br>{told}"
                "<extra></extra>",
                "marker": {"color": "--ink", "size": 11, "symbol": symbol},
            }
        )
    return traces
