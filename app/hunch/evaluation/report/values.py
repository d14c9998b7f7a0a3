"""Figures as plain values, in the manner of the house."""

from collections.abc import Sequence
from typing import Any

Figure = dict[str, Any]
OF_POINTS = "points"
"""`meta` of a trace that the page fills with what is known of the points in its `customdata`."""
FONT = "system-ui, sans-serif"
DECADES = [float(f"1e{power}") for power in range(-3, 8)]
TICKS = [digit * decade for decade in DECADES for digit in (1, 2, 5)]
WIDE = 100.0
"""Over more than this factor a logarithmic axis has a number for each decade only."""


def figure(
    traces: Sequence[dict[str, Any]],
    *,
    xaxis: dict[str, Any],
    yaxis: dict[str, Any],
    height: int = 340,
    has_legend: bool = True,
) -> Figure:
    """Data and layout, without a title: the page has it as a heading."""
    return {
        "data": list(traces),
        "layout": {
            "height": height,
            "paper_bgcolor": "--paper",
            "plot_bgcolor": "--paper",
            "font": {"family": FONT, "size": 12, "color": "--ink"},
            "margin": {"l": 8, "r": 12, "t": 8, "b": 8},
            "hoverlabel": {
                "align": "left",
                "bgcolor": "--paper",
                "bordercolor": "--quiet",
                "font": {"family": FONT, "size": 12, "color": "--ink"},
            },
            "showlegend": has_legend,
            "legend": {
                "orientation": "h",
                "x": 0,
                "xanchor": "left",
                "y": 1.02,
                "yanchor": "bottom",
            },
            "xaxis": xaxis,
            "yaxis": yaxis,
        },
    }


def axis(
    name: str,
    *,
    is_log: bool = False,
    factor: float = 1.0,
    is_share: bool = False,
    between: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """An axis of numbers; shares are in percent.

    Args:
        name: its title.
        is_log: whether it is a logarithmic one.
        factor: that its numbers go over, where it is.
        is_share: whether its numbers are shares.
        between: its ends, where they are not those of the numbers.
    """
    found: dict[str, Any] = {
        "title": {"text": name, "standoff": 8},
        "gridcolor": "--line",
        "linecolor": "--quiet",
        "zeroline": False,
        "automargin": True,
    }
    if is_log:
        ticks = DECADES if factor > WIDE else TICKS
        found |= {"type": "log", "tickvals": ticks, "ticktext": [f"{it:,.9g}" for it in ticks]}
    if is_share:
        found["tickformat"] = ".4~%"
    if between is not None:
        found |= {"range": list(between), "dtick": 0.2}
    return found


def categories(name: str, values: Sequence[str]) -> dict[str, Any]:
    """An axis of words in this order."""
    return {
        "title": {"text": name, "standoff": 8},
        "type": "category",
        "categoryorder": "array",
        "categoryarray": list(values),
        "linecolor": "--quiet",
        "showgrid": False,
        "automargin": True,
    }
