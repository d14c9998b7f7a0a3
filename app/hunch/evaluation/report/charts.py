"""Figures of a report for plotly, as plain values.

A colour is a name that begins with `--`; the page has its value for light, dark and paper. Points
of the sweep can be clicked: the first number of their `customdata` is their place in it, and the
page has the text that the mouse shows.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hunch.evaluation.report.frontier import frontier
from hunch.evaluation.report.numbers import Report
from hunch.evaluation.report.rows import BARS, ModelRows
from hunch.evaluation.report.surfaces import surfaces
from hunch.evaluation.report.values import Figure, axis, figure
from hunch.evaluation.report.written import named, place, title
from hunch.evaluation.simulation.outcome import QUANTILES, Latency, Outcome
from hunch.evaluation.sweep_file import LivePoint

LEAST_ROWS = 10
"""Of a bin that is part of a line."""
PATHS = {"all": "--ink", "fast": "--fast", "slow": "--slow", "fallback": "--fallback"}
DASHES = {"all": "solid", "fast": "dot", "slow": "dash", "fallback": "dashdot"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A figure, or several of which one is shown: name → figure."""

    title: str
    figures: Mapping[str, Figure]


def charts_of(report: Report) -> dict[str, Chart]:
    """Name → chart, all that the sections of this report name."""
    sweep, rows = report.sweep, report.rows
    cost = "cost of a message" if sweep.asked.prices.are_given else "slow calls"
    found = {
        "accuracy-latency": _one(
            "Right answers, by p95",
            frontier(report, lambda it: it.outcome.latency.p95_ms.value, "p95 latency, ms"),
        ),
        "accuracy-cost": _one(
            f"Right answers, by {cost}", frontier(report, lambda it: it.cost, cost)
        ),
        **{name: _one(told, drawn) for name, (told, drawn) in surfaces(report).items()},
        "latency": Chart(
            title="Share of decisions that can be seen by then", figures=_latencies(report)
        ),
        "gains": _one("Throughput, times the slow model alone", _gains(report)),
    }
    for side, model in (("fast", rows.fast), ("slow", rows.slow)):
        if model is not None:
            told = f"Reliability of the {side} model"
            found[f"reliability-{side}"] = _one(told, _reliability(model))
            told = f"{model.histogram.of.capitalize()} of the {side} model, right and wrong"
            found[f"histogram-{side}"] = _one(told, _histogram(report, model, side))
    if sweep.live:
        shares = [name for name in sweep.live[0].predicted if not name.endswith(("_ms", "_per_s"))]
        times = [name for name in sweep.live[0].predicted if name.endswith("_ms")]
        found["live-shares"] = _one("Accuracy and rates", _live(sweep.live, shares))
        found["live-latency"] = _one("Latency, ms", _live(sweep.live, times, is_log=True))
    return found


def _one(told: str, drawn: Figure) -> Chart:
    return Chart(title=told, figures={"": drawn})


def _latencies(report: Report) -> dict[str, Figure]:
    sweep = report.sweep
    found = {
        f"{', '.join(names)}: {place(sweep.points[index])}": _latency(sweep.points[index].outcome)
        for index, names in sweep.marked().items()
    }
    for side, outcome in sweep.alone.items():
        found[f"{side} model alone"] = _latency(outcome)
    return found


def _latency(outcome: Outcome) -> Figure:
    curves: list[tuple[str, float, Latency]] = [("all", 1.0, outcome.latency)]
    if len(outcome.by_path) > 1:
        curves += [
            (path, outcome.rates[path].value, latency) for path, latency in outcome.by_path.items()
        ]
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": f"{name} {share:.1%}",
            "x": list(latency.quantiles_ms),
            "y": [it / 100 for it in QUANTILES],
            "line": {"color": PATHS[name], "dash": DASHES[name], "width": 2.5},
            "hovertemplate": f"{name}: %{{y:.1%}} within %{{x:.4~g}} ms<extra></extra>",
        }
        for name, share, latency in curves
    ]
    ends = [float(it["x"][at]) for it in traces for at in (0, -1)]
    factor = max(ends) / max(min(ends), 1e-3)
    return figure(
        traces,
        xaxis=axis("latency, ms", is_log=True, factor=factor),
        yaxis=axis("share of decisions", is_share=True, between=(0.0, 1.01)),
    )


def _gains(report: Report) -> Figure:
    gains = sorted(report.sweep.gains, key=lambda it: it.deferral_rate)
    told = [
        f"τ {it.tau:g}: {it.deferral_rate:.2%} wait<br>{it.capacity_per_s:,.0f} /s at most, "
        f"limited by {it.bottleneck}<br>{it.over_slow:.2f} x slow, {it.over_fast:.2f} x fast"
        for it in gains
    ]
    limits = [it for it in gains if it.limit is not None]
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "limit: 1 / share that waits",
            "x": [it.deferral_rate for it in limits],
            "y": [it.limit for it in limits],
            "line": {"color": "--quiet", "width": 1.5, "dash": "dash"},
            "hovertemplate": "limit %{y:.2f}<extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": "cascade at capacity",
            "x": [it.deferral_rate for it in gains],
            "y": [it.over_slow for it in gains],
            "text": told,
            "line": {"color": "--fast", "width": 2.5},
            "hovertemplate": "%{text}<extra></extra>",
        },
    ]
    return figure(
        traces,
        xaxis=axis("share that waits for the slow model", is_share=True, between=(-0.02, 1.02)),
        yaxis=axis("times slow alone", is_log=True),
    )


def _reliability(model: ModelRows) -> Figure:
    """A dot for each bin; the line joins those whose rows say more than chance does."""
    most = max(it.rows for it in model.bins)
    joined = [it for it in model.bins if it.rows >= LEAST_ROWS]
    diagonal = {
        "type": "scatter",
        "mode": "lines",
        "x": [0, 1],
        "y": [0, 1],
        "line": {"color": "--quiet", "width": 1, "dash": "dash"},
        "hoverinfo": "skip",
    }
    line = {
        "type": "scatter",
        "mode": "lines",
        "x": [it.confidence for it in joined],
        "y": [it.accuracy for it in joined],
        "line": {"color": "--fast", "width": 1.5},
        "hoverinfo": "skip",
    }
    dots = {
        "type": "scatter",
        "mode": "markers",
        "x": [it.confidence for it in model.bins],
        "y": [it.accuracy for it in model.bins],
        "text": [f"{it.rows:,} rows" for it in model.bins],
        "marker": {
            "color": "--fast",
            "size": [5 + 20 * math.sqrt(it.rows / most) for it in model.bins],
            "opacity": 0.8,
        },
        "cliponaxis": False,
        "hovertemplate": "confidence %{x:.1%}<br>right %{y:.1%}<br>%{text}<extra></extra>",
    }
    return figure(
        [diagonal, line, dots],
        xaxis=axis("confidence (size of a dot: rows)", is_share=True, between=(0.0, 1.04)),
        yaxis=axis("right answers", is_share=True, between=(0.0, 1.06)),
        has_legend=False,
    )


def _histogram(report: Report, model: ModelRows, side: str) -> Figure:
    """Right answers above, wrong ones below, each on a scale of its own: wrong ones are few."""
    middles = [(bar + 0.5) / BARS for bar in range(BARS)]
    traces = [
        {
            "type": "bar",
            "name": name,
            "x": middles,
            "y": list(rows),
            "width": 0.9 / BARS,
            "yaxis": place_of,
            "marker": {"color": color, "pattern": {"shape": shape, "size": 5}},
            "hovertemplate": f"%{{y:,}} {name} around %{{x:.1%}}<extra></extra>",
        }
        for name, rows, place_of, color, shape in (
            ("right", model.histogram.right, "y", "--fast", ""),
            ("wrong", model.histogram.wrong, "y2", "--fallback", "/"),
        )
    ]
    found = figure(
        traces,
        xaxis=axis(model.histogram.of, is_share=True, between=(0.0, 1.02)) | {"anchor": "y2"},
        yaxis=_rows_axis("right, rows", model.histogram.right) | {"domain": [0.56, 1.0]},
    )
    below = _rows_axis("wrong, rows", model.histogram.wrong) | {"domain": [0.0, 0.44]}
    found["layout"]["yaxis2"] = below
    if side == "fast":
        found["layout"]["shapes"] = list(_tau_lines(report))
        found["layout"]["annotations"] = [
            {
                "x": report.point.tau,
                "yref": "paper",
                "y": 1.0,
                "text": f"τ {report.point.tau:g}",
                "showarrow": False,
                "xanchor": "right",
                "xshift": -4,
                "yanchor": "top",
                "font": {"color": "--slow", "size": 11},
            }
        ]
    return found


def _rows_axis(name: str, rows: Sequence[int]) -> dict[str, Any]:
    most = max(rows)
    ticks = {"dtick": 1} if most < 4 else {"nticks": 4}
    return axis(name) | {"range": [0, 1.05 * max(1, most)], "tickformat": ",d", **ticks}


def _tau_lines(report: Report) -> Iterator[dict[str, Any]]:
    yield {
        "type": "line",
        "yref": "paper",
        "x0": report.point.tau,
        "x1": report.point.tau,
        "y0": 0,
        "y1": 1,
        "line": {"color": "--slow", "width": 1.5, "dash": "dot"},
    }


def _live(points: Sequence[LivePoint], names: Sequence[str], *, is_log: bool = False) -> Figure:
    traces: list[dict[str, Any]] = []
    symbols = ("circle", "square", "diamond", "triangle-up", "cross", "x")
    for number, name in enumerate(names):
        has_it = [it for it in points if name in it.predicted]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": title(name),
                "x": [it.predicted[name] for it in has_it],
                "y": [it.measured[name] for it in has_it],
                "text": [
                    f"τ {it.tau:g}, Δ {it.delta_ms:,} ms, {it.rate_per_s:g} /s<br>{title(name)}: "
                    f"predicted {named(name, it.predicted[name])}, measured "
                    f"{named(name, it.measured[name])}{', MISSED' if name in it.missed else ''}"
                    for it in has_it
                ],
                "hovertemplate": "%{text}<extra></extra>",
                "marker": {
                    "size": 10,
                    "symbol": symbols[number % len(symbols)],
                    "color": ["--fallback" if name in it.missed else "--fast" for it in has_it],
                },
            }
        )
    drawn = [it for trace in traces for it in (*trace["x"], *trace["y"])]
    if drawn:
        ends = [min(drawn), max(drawn)]
        traces.insert(
            0,
            {
                "type": "scatter",
                "mode": "lines",
                "showlegend": False,
                "x": ends,
                "y": ends,
                "line": {"color": "--quiet", "width": 1, "dash": "dash"},
                "hoverinfo": "skip",
            },
        )
    return figure(
        traces,
        xaxis=axis("predicted", is_log=is_log, is_share=not is_log),
        yaxis=axis("measured (orange: missed)", is_log=is_log, is_share=not is_log),
    )
