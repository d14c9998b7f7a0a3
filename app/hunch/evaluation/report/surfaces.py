"""What points bring about over τ and Δ, as heat maps.

The rows are τ and the columns Δ of which all pairs were simulated: those that only refining has
looked at would make rows of a single cell. Nothing is interpolated.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from hunch.evaluation.report.numbers import Report
from hunch.evaluation.report.values import OF_POINTS, Figure, categories, figure
from hunch.evaluation.report.written import ms, share
from hunch.evaluation.sweep_file import Point, SweepFile

HEIGHT_OF_A_ROW = 22
Value = Callable[[Point], float]


def surfaces(report: Report) -> dict[str, tuple[str, Figure]]:
    """Name → title and figure."""
    cells = _cells(report.sweep)
    wanted: dict[str, tuple[str, Value, Callable[[float], str]]] = {
        "exits": ("Exit: accepted from the fast model", lambda it: it.accept_rate, share),
        "fallbacks": (
            "Fall back to the fast answer",
            lambda it: it.outcome.rates["fallback"].value,
            share,
        ),
        "right": ("Right answers", lambda it: it.outcome.accuracy.value, share),
        "p95": ("p95 latency, ms", lambda it: it.outcome.latency.p95_ms.value, ms),
    }
    return {
        name: (told, _surface(report, cells, value, written, is_log=name == "p95"))
        for name, (told, value, written) in wanted.items()
    }


def _cells(sweep: SweepFile) -> dict[tuple[float, int], int]:
    """τ and Δ → place of the point; the emptiest row or column goes until none has a hole."""
    found = {(it.tau, it.delta_ms): at for at, it in enumerate(sweep.points) if not it.taus}
    while True:
        taus, deltas = {tau for tau, _ in found}, {delta for _, delta in found}
        if len(found) == len(taus) * len(deltas):
            return found
        rows = Counter(tau for tau, _ in found)
        columns = Counter(delta for _, delta in found)
        tau, delta = min(rows, key=lambda it: rows[it]), min(columns, key=lambda it: columns[it])
        if rows[tau] * len(taus) <= columns[delta] * len(deltas):
            found = {cell: at for cell, at in found.items() if cell[0] != tau}
        else:
            found = {cell: at for cell, at in found.items() if cell[1] != delta}


def _surface(
    report: Report,
    cells: Mapping[tuple[float, int], int],
    value: Value,
    written: Callable[[float], str],
    *,
    is_log: bool,
) -> Figure:
    sweep = report.sweep
    taus = sorted({tau for tau, _ in cells})
    deltas = sorted({delta for _, delta in cells})
    columns: dict[str, list[list[Any]]] = {"z": [], "text": [], "customdata": []}
    for tau in taus:
        places = [cells[tau, delta] for delta in deltas]
        numbers = [value(sweep.points[at]) for at in places]
        columns["z"].append([math.log10(max(it, 1e-3)) if is_log else it for it in numbers])
        columns["text"].append([written(it).removesuffix(" %") for it in numbers])
        columns["customdata"].append([[at] for at in places])
    rows = [f"{tau:g}" for tau in taus]
    heads = [f"{delta:,}" for delta in deltas]
    heat = {
        "type": "heatmap",
        "x": heads,
        "y": rows,
        **columns,
        "meta": OF_POINTS,
        "texttemplate": "%{text}",
        "hovertemplate": "%{hovertext}<extra></extra>",
        "textfont": {"color": "--ink"},
        "colorscale": [[0, "--heat-low"], [1, "--heat-high"]],
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
    }
    found = figure(
        [heat, *_marks(report, cells)],
        xaxis=categories("Δ, ms", heads),
        yaxis=categories("τ", rows),
        height=90 + HEIGHT_OF_A_ROW * len(rows),
        has_legend=False,
    )
    found["layout"]["xaxis"]["tickangle"] = 0
    return found


def _marks(report: Report, cells: Mapping[tuple[float, int], int]) -> list[dict[str, Any]]:
    """A frame around what is recommended and what is today's, where they have a cell."""
    found = []
    for index, color in ((report.recommended, "--slow"), (report.sweep.today, "--fallback")):
        point = report.sweep.points[index]
        if cells.get((point.tau, point.delta_ms)) != index:
            continue
        found.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [f"{point.delta_ms:,}"],
                "y": [f"{point.tau:g}"],
                "hoverinfo": "skip",
                "marker": {
                    "symbol": "square-open",
                    "size": 20,
                    "color": color,
                    "line": {"width": 2.5, "color": color},
                },
            }
        )
    return found
