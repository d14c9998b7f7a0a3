"""Makes the dashboard: `python deploy/grafana/dashboard.py` prints dashboards/hunch.json.

What it shows stands in dashboard.yml; here is only how each kind of panel looks. A test keeps the
JSON and these two the same.
"""

import itertools
import string
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from grafana_foundation_sdk.builders import common as look
from grafana_foundation_sdk.builders import dashboard as board
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SHOWN = Path(__file__).with_name("dashboard.yml")
SOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="prometheus")
JAEGER = "http://127.0.0.1:16686"
COLOURS = {"fast": "green", "slow": "blue", "fallback": "orange", "error": "red"}
"""So that a path looks the same everywhere."""
Described = Mapping[str, Any]
"""One panel of dashboard.yml."""
Panel = stat.Panel | timeseries.Panel | heatmap.Panel | table.Panel


def number(described: Described) -> Panel:
    """One large number with its recent course, coloured by thresholds."""
    return (
        stat.Panel()
        .unit(described["unit"])
        .no_value("none")
        .span(4)
        .height(4)
        .graph_mode(common.BigValueGraphMode.AREA)
        .thresholds(_thresholds(described["steps"]))
    )


def lines(described: Described) -> Panel:
    """Curves over time; `limit` draws the line that they should stay below."""
    tooltip = look.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI)
    panel = (
        timeseries.Panel()
        .unit(described["unit"])
        .min(0)
        .span(8)
        .height(8)
        .fill_opacity(5)
        .show_points(common.VisibilityMode.NEVER)
        .tooltip(tooltip.sort(common.SortOrder.DESCENDING))
    )
    for name, colour in COLOURS.items() if "{{path}}" in described["ask"] else ():
        fixed = {"mode": "fixed", "fixedColor": colour}
        panel.override_by_name(name, [dashboard.DynamicConfigValue(id_val="color", value=fixed)])
    if described.get("is_stacked"):
        stacking = look.StackingConfig().mode(common.StackingMode.NORMAL)
        panel.max(1).fill_opacity(60).stacking(stacking)
    if "limit" in described:
        style = look.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        panel.thresholds(_thresholds({"transparent": None, "red": described["limit"]}))
        panel.thresholds_style(style)
    return panel


def heat(described: Described) -> Panel:
    """How the values of a histogram are spread, over time."""
    return (
        heatmap.Panel()
        .span(8)
        .height(8)
        .calculate(calculate=False)
        .y_axis(heatmap.YAxisConfig().unit(described["unit"]))
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues"))
    )


def labels(_: Described) -> Panel:
    """The labels of what there is, a series a line."""
    hidden = {"excludeByName": dict.fromkeys(("Time", "Value", "__name__", "job"), True)}
    organize = dashboard.DataTransformerConfig(id_val="organize", options=hidden)
    return table.Panel().span(12).height(7).with_transformation(organize)


KINDS: dict[str, Callable[[Described], Panel]] = {
    "number": number,
    "lines": lines,
    "heat": heat,
    "labels": labels,
}
FORMATS = {"heat": PromQueryFormat.HEATMAP, "labels": PromQueryFormat.TABLE}


def panel_of(described: Described) -> Panel:
    """The panel that is described."""
    (kind,) = KINDS.keys() & described.keys()
    panel = KINDS[kind](described)
    panel.title(described[kind]).description(described["about"]).datasource(SOURCE)
    asked = described["ask"]
    legends = {"{{le}}" if kind == "heat" else "": asked} if isinstance(asked, str) else asked
    for letter, (legend, expression) in zip(string.ascii_uppercase, legends.items(), strict=False):
        query = prometheus.Dataquery().ref_id(letter).datasource(SOURCE)
        query.expr(expression).legend_format(legend)
        if kind in FORMATS:
            query.format(FORMATS[kind])
        if kind == "labels":
            query.instant()
        panel.with_target(query)
    return panel


def hunch() -> dashboard.Dashboard:
    """The whole dashboard."""
    stages = (
        board.QueryVariable("stage")
        .label("Stage, in “Who is stuck?”")
        .datasource(SOURCE)
        .query("label_values(hunch_lanes_owned, stage)")
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .include_all(include_all=True)
        .all_value(".*")
        .multi(multi=True)
        .current(dashboard.VariableOption(selected=True, text="All", value="$__all"))
    )
    link = board.DashboardLink("Traces").type(dashboard.DashboardLinkType.LINK).url(JAEGER)
    alerts = board.AnnotationQuery().name("Alerts").datasource(SOURCE).enable(enable=True)
    whole = (
        board.Dashboard("Hunch")
        .uid("hunch")
        .tags(["hunch"])
        .readonly()
        .refresh("10s")
        .time("now-15m", "now")
        .timezone("browser")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .with_variable(stages)
        .link(link.icon("external link").target_blank(target_blank=True))
        .annotation(alerts.icon_color("red").expr('ALERTS{alertstate="firing"}'))
    )
    number_of = itertools.count(1)
    for row in yaml.safe_load(SHOWN.read_text("utf-8")):
        whole.with_row(board.Row(row["question"]).id(next(number_of)))
        for described in row["panels"]:
            whole.with_panel(panel_of(described).id(next(number_of)))
    return whole.build()


def as_json() -> str:
    """The file's text."""
    return JSONEncoder(sort_keys=True, indent=2).encode(hunch()) + "\n"


def _thresholds(steps: Mapping[str, float | None]) -> board.ThresholdsConfig:
    values = [dashboard.Threshold(value=value, color=colour) for colour, value in steps.items()]
    return board.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(values)


if __name__ == "__main__":
    sys.stdout.write(as_json())
