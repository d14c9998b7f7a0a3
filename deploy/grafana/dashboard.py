"""Writes the dashboard: `python deploy/grafana/dashboard.py` prints dashboards/hunch.json.

Each row is a question that a person asks, each panel says in its description what is good and what
to do where it is not. The thresholds are those of ../prometheus/alerts.yml. A test keeps the JSON
and this program the same, and promtool reads every expression.
"""

import itertools
import sys

from grafana_foundation_sdk.builders import common as look
from grafana_foundation_sdk.builders import dashboard as board
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="prometheus")
WIDTH = 24
COLOURS = {"fast": "green", "slow": "blue", "fallback": "orange", "error": "red"}
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
SHARE, SECONDS, PER_SECOND, COUNT = "percentunit", "s", "mps", "short"
Panel = stat.Panel | timeseries.Panel | heatmap.Panel | table.Panel
Steps = dict[str, float | None]
Queries = dict[str, str]
"""Legend → expression."""


def rate(series: str, by: str = "") -> str:
    """The rate of a counter, summed, by these labels."""
    return f"sum {f'by ({by}) ' if by else ''}(rate(hunch_{series}[$__rate_interval]))"


def quantile(q: float, name: str, where: str = "") -> str:
    """A quantile of a histogram over all that match."""
    return f"histogram_quantile({q}, {rate(f'{name}_bucket{{{where}}}', 'le')})"


def quantiles(name: str, where: str = "") -> Queries:
    """p50, p95 and p99 of a histogram."""
    return {legend: quantile(q, name, where) for legend, q in QUANTILES.items()}


def share(part: str, whole: str) -> str:
    """A part of a whole that may be nothing: then there is no value, not 0 / 0."""
    return f"({part} or vector(0)) / ({whole} > 0)"


def _query(expression: str, legend: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(expression).legend_format(legend).datasource(SOURCE)


def _steps(steps: Steps) -> board.ThresholdsConfig:
    return (
        board.ThresholdsConfig()
        .mode(dashboard.ThresholdsMode.ABSOLUTE)
        .steps([dashboard.Threshold(value=value, color=name) for name, value in steps.items()])
    )


def number(title: str, unit: str, expression: str, steps: Steps, about: str) -> stat.Panel:
    """One large number with its recent course, coloured by thresholds."""
    return (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .no_value("none")
        .span(4)
        .height(4)
        .graph_mode(common.BigValueGraphMode.AREA)
        .thresholds(_steps(steps))
        .with_target(_query(expression, "").ref_id("A"))
    )


def lines(
    title: str,
    unit: str,
    queries: Queries,
    about: str,
    *,
    limit: float | None = None,
    is_stacked: bool = False,
) -> timeseries.Panel:
    """Curves over time; `limit` draws the line that they should stay below."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .span(8)
        .height(8)
        .fill_opacity(60 if is_stacked else 5)
        .show_points(common.VisibilityMode.NEVER)
        .tooltip(
            look.VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI)
            .sort(common.SortOrder.DESCENDING)
        )
    )
    for place, (legend, expression) in enumerate(queries.items()):
        panel.with_target(_query(expression, legend).ref_id(chr(ord("A") + place)))
    for name, colour in COLOURS.items() if "{{path}}" in queries else ():
        fixed = {"mode": "fixed", "fixedColor": colour}
        panel.override_by_name(name, [dashboard.DynamicConfigValue(id_val="color", value=fixed)])
    if is_stacked:
        panel.max(1).stacking(look.StackingConfig().mode(common.StackingMode.NORMAL))
    if limit is not None:
        panel.thresholds(_steps({"transparent": None, "red": limit})).thresholds_style(
            look.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        )
    return panel


def heat(title: str, unit: str, expression: str, about: str) -> heatmap.Panel:
    """How the values of a histogram are spread, over time."""
    return (
        heatmap.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .span(8)
        .height(8)
        .calculate(calculate=False)
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues"))
        .with_target(_query(expression, "{{le}}").format(PromQueryFormat.HEATMAP).ref_id("A"))
    )


def rows(title: str, expression: str, about: str) -> table.Panel:
    """The labels of what there is, a series a line."""
    query = _query(expression, "").instant().format(PromQueryFormat.TABLE).ref_id("A")
    hidden = {"excludeByName": {"Time": True, "Value": True, "__name__": True, "job": True}}
    return (
        table.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .span(WIDTH // 2)
        .height(7)
        .with_target(query)
        .with_transformation(dashboard.DataTransformerConfig(id_val="organize", options=hidden))
    )


def on_time() -> list[Panel]:
    """The most important row: late is what nobody may have to look for."""
    deadline = {
        f"{what} {legend}": quantile(q, f"{what}_late_seconds")
        for what in ("emitted", "timer")
        for legend, q in (("p50", 0.5), ("p99", 0.99))
    }
    late = share(rate("deadline_misses_total"), rate("emitted_late_seconds_count"))
    return [
        number(
            "Decisions",
            PER_SECOND,
            rate("decisions_total"),
            {"text": None},
            "All paths together, acknowledged by the broker.",
        ),
        number(
            "Fallbacks over 10 ms late",
            SHARE,
            late,
            {"green": None, "orange": 0.01, "red": 0.05},
            "Of the deadline fallbacks. The promise is 1 %; over 5 % HunchDecisionsLate fires.",
        ),
        number(
            "Oldest message waiting",
            SECONDS,
            'max(hunch_lag_age_seconds{stage="fast"})',
            {"green": None, "orange": 1, "red": 10},
            "For the fast model. Where it grows, more comes in than the fast stage takes.",
        ),
        number(
            "Oldest deferral against delta",
            SHARE,
            'max(hunch_lag_age_seconds{stage="slow"}) / (max(hunch_delta_seconds) > 0)',
            {"green": None, "orange": 0.5, "red": 0.8},
            "Near 100 % the slow answers come too late: the slow stage does not keep up.",
        ),
        number(
            "Longest standstill",
            SECONDS,
            "max(hunch_stalled_seconds)",
            {"green": None, "orange": 5, "red": 30},
            "How long any stage has had work and made no progress. The last rows say which.",
        ),
        number(
            "Alerts firing",
            COUNT,
            'count(ALERTS{alertstate="firing", alertname=~"Hunch.*"}) or vector(0)',
            {"green": None, "red": 1},
            "Each says what to do: http://127.0.0.1:9090/alerts.",
        ),
        *(
            lines(
                f"From the message to its decision: {path}",
                SECONDS,
                quantiles("decision_seconds", f'path="{path}"'),
                about,
            )
            for path, about in {
                "fast": "From the record's timestamp, so waiting in Kafka is in it.",
                "slow": "Bounded by delta after the deferral.",
                "fallback": "At the deadline, or earlier where the slow stage shed or failed.",
            }.items()
        ),
        lines(
            "From the deadline to the decision",
            SECONDS,
            deadline,
            "timer: the joiner decides. emitted: the broker has it. Late timers: the joiner has no "
            "processor. Late emission alone: the broker is slow.",
            limit=0.01,
        ),
        lines(
            "Deadline misses",
            PER_SECOND,
            {"over 10 ms late": rate("deadline_misses_total")},
            "Fallbacks emitted more than 10 ms after their deadline.",
        ),
        lines(
            "Delivery to the broker, p99",
            SECONDS,
            {
                "{{stage}}": "histogram_quantile(0.99, "
                f"{rate('delivery_seconds_bucket', 'le, stage')})"
            },
            "From sending a lane's outputs to their acknowledgement or commit.",
        ),
    ]


def by_path() -> list[Panel]:
    """Which way decisions come, and why."""
    decisions, deferrals = "decisions_total", rate("deferrals_total")
    by_fast = rate(f'{decisions}{{stage="fast"}}')
    at_entrance = f"({by_fast} + ({deferrals} or vector(0)))"
    return [
        lines(
            "Share of each path",
            SHARE,
            {"{{path}}": f"{rate(decisions, 'path')} / scalar({rate(decisions)} > 0)"},
            "fast: confident. slow: verified in time. fallback: the fast answer after all.",
            is_stacked=True,
        ),
        lines(
            "Decisions by path",
            PER_SECOND,
            {"{{path}}": rate(decisions, "path")},
            "The same, as messages a second.",
        ),
        lines(
            "Exit and deferral rate",
            SHARE,
            {
                "exit": share(rate(f'{decisions}{{path="fast"}}'), at_entrance),
                "deferral": share(deferrals, at_entrance),
            },
            "What the fast stage does with a message. Raise tau, and more is deferred.",
        ),
        lines(
            "Fallbacks by reason",
            PER_SECOND,
            {"{{reason}}": rate(f'{decisions}{{path="fallback"}}', "reason")},
            "deadline, shed: the slow stage is too slow. slow_error: it fails. overflow: the "
            "joiner is full. stale: older than max_age_ms at the entrance.",
        ),
        lines(
            "Answers of the slow stage",
            PER_SECOND,
            {
                "{{outcome}}": rate("slow_answers_total", "outcome"),
                "expired, skipped": rate("expired_total"),
                "late answer": rate("late_results_total"),
                "late, dropped": rate("late_dropped_total"),
            },
            "Only `answer` helps a message; the others say that delta is short or capacity low.",
        ),
        lines(
            "Errors and dead letters by reason",
            PER_SECOND,
            {
                "decided: {{reason}}": rate(f'{decisions}{{path="error"}}', "reason"),
                "put aside: {{reason}}": rate("dead_letters_total", "reason"),
            },
            "`hunch tail dead-letters --from-beginning` shows them with their origins.",
        ),
    ]


def confidence() -> list[Panel]:
    """How sure the models are, beside what counts as sure."""
    spread = [
        heat(
            f"Confidence of the {stage} model",
            SHARE,
            rate(f'confidence_bucket{{stage="{stage}"}}', "le"),
            about,
        )
        for stage, about in {
            "fast": "What lies at tau and above exits. Where it moves down, the data have changed.",
            "slow": "Of the deferred messages only, which are the hard ones.",
        }.items()
    ]
    return [
        *spread,
        lines(
            "Confidence of the fast model, and tau",
            SHARE,
            {
                "p10": quantile(0.1, "confidence", 'stage="fast"'),
                "p50": quantile(0.5, "confidence", 'stage="fast"'),
                "tau": "max(hunch_tau)",
            },
            "The share of messages below tau is the deferral rate.",
        ),
    ]


def keeping_up() -> list[Panel]:
    """The slow stage: its backlog as age, which is what counts, and what it is busy with."""
    slow = '{stage="slow"}'
    in_time = 'decisions_total{path="slow"}'
    return [
        lines(
            "Age of the oldest deferral, and delta",
            SECONDS,
            {
                "partition {{partition}}": f"max by (partition) (hunch_lag_age_seconds{slow})",
                "delta": "max(hunch_delta_seconds)",
            },
            "Over 80 % of delta HunchSlowStageBehind fires: start more of it, or lower tau.",
        ),
        lines(
            "Deferrals not yet read",
            COUNT,
            {"partition {{partition}}": f"sum by (partition) (hunch_lag_records{slow})"},
            "Between the slow stage's position and the end of `deferrals`.",
        ),
        lines(
            "Deferrals waiting for the slow model",
            COUNT,
            {
                "partition {{partition}}": "max by (partition) (hunch_slow_queue)",
                "max_slow_queue": 'max(hunch_limit{setting="max_slow_queue"})',
            },
            "At max_slow_queue the partition pauses.",
        ),
        lines(
            "Deferred messages answered in time",
            SHARE,
            {
                "in time": share(
                    rate(in_time), rate('decisions_total{path=~"slow|fallback", reason!="stale"}')
                )
            },
            "Below 50 % for ten minutes HunchFallbacksHigh fires.",
        ),
        lines(
            "Batch size",
            COUNT,
            {
                "mean, {{stage}}": f"{rate('batch_size_sum', 'stage')} "
                f"/ {rate('batch_size_count', 'stage')}",
                "p95, slow": quantile(0.95, "batch_size", 'stage="slow"'),
            },
            "Full batches (max_batch_size) and a growing age: raise max_batch_size.",
        ),
        lines(
            "Time of one batch in the model",
            SECONDS,
            {
                f"{stage} {legend}": quantile(q, "inference_seconds", f'stage="{stage}"')
                for stage in ("slow", "fast")
                for legend, q in (("p50", 0.5), ("p99", 0.99))
            },
            "Has to stay well below delta.",
        ),
        lines(
            "Batches",
            "ops",
            {"{{stage}}": rate("batches_total", "stage")},
            "Batches a second that the models ran.",
        ),
    ]


def stuck() -> list[Panel]:
    """Which process and which partition stands still, or will soon."""
    chosen = '{stage=~"$stage"}'
    bounds = {
        "max_pending": "hunch_pending",
        "max_early": "hunch_early_results",
        "max_slow_queue": "hunch_slow_queue",
        "max_inbox_records": "hunch_inbox_records",
    }
    return [
        lines(
            "Standstill with work waiting",
            SECONDS,
            {"{{stage}} {{instance}}": f"max by (stage, instance) (hunch_stalled_seconds{chosen})"},
            "Over 30 s HunchStageStuck fires, and /live fails.",
            limit=30,
        ),
        lines(
            "Age of the oldest record not processed",
            SECONDS,
            {
                "{{stage}} {{partition}}": f"max by (stage, partition) "
                f"(hunch_lag_age_seconds{chosen})"
            },
            "A single partition that grows is stuck; all of a stage that grow are too much work.",
        ),
        lines(
            "Records not read",
            COUNT,
            {
                "{{stage}} {{topic}} {{partition}}": "sum by (stage, topic, partition) "
                f"(hunch_lag_records{chosen})"
            },
            "Position against the end of the log.",
        ),
        lines(
            "Partitions owned and not read",
            COUNT,
            {
                "{{stage}} {{instance}}": f"sum by (stage, instance) (hunch_lanes_owned{chosen}) "
                f"- sum by (stage, instance) (hunch_lanes_open{chosen})"
            },
            "More than 0 for a minute: HunchLaneMissing fires, the log says why.",
        ),
        lines(
            "Takeovers and lanes lost",
            "cpm",
            {
                f"{what}, {{{{stage}}}}": f"60 * {rate(f'{name}_total{chosen}', 'stage')}"
                for what, name in {"opened": "takeovers", "lost": "lanes_lost"}.items()
            },
            "A minute. Takeovers belong to starts and rebalances; lost lanes to errors.",
        ),
        lines(
            "Held, as a share of its bound",
            SHARE,
            {
                f"{setting}, {{{{partition}}}}": f"max by (partition) ({gauge} / on (instance) "
                f'group_left () hunch_limit{{setting="{setting}"}})'
                for setting, gauge in bounds.items()
            },
            "At 80 % HunchNearLimit fires. At the bound fast and slow pause, join falls back.",
            limit=0.8,
        ),
        lines(
            "Refused commits, lost and doubtful records",
            PER_SECOND,
            {
                f"{what}, {{{{stage}}}}": rate(f"{name}_total{chosen}", "stage")
                for what, name in {
                    "commits refused": "commits_failed",
                    "lost": "lost_records",
                    "read again": "duplicates_skipped",
                    "not Hunch's own": "foreign_records",
                }.items()
            }
            | {"deadlines ignored": rate("deadlines_ignored_total")},
            "Lost: retention is shorter than the backlog. Read again: after a takeover, harmless.",
        ),
        lines(
            "Clock skew between fast and join",
            SECONDS,
            {"{{instance}}": "hunch_clock_skew_seconds"},
            "Adds one to one to every deadline. Over 0.1 s HunchClockSkew fires: set NTP right.",
            limit=0.1,
        ),
        lines(
            "Undecided deferrals, early results, read and unprocessed",
            COUNT,
            {
                "undecided": "sum(hunch_pending)",
                "early": "sum(hunch_early_results)",
                "inbox, {{stage}}": f"sum by (stage) (hunch_inbox_records{chosen})",
            },
            "All that the stages hold in memory.",
        ),
    ]


def traces() -> list[Panel]:
    """Whether what Jaeger shows is all there is."""
    return [
        lines(
            "Spans",
            "ops",
            {
                "exported": rate("spans_exported_total"),
                "dropped: {{reason}}": rate("spans_dropped_total", "reason"),
            },
            "Dropped ones make holes in traces. See that the collector answers.",
        ),
        lines(
            "Fallbacks and errors not traced",
            PER_SECOND,
            {"{{reason}}": rate("traces_suppressed_total", "reason")},
            "Beyond trace_paths_per_s of a reason.",
        ),
    ]


def running() -> list[Panel]:
    """Versions and models."""
    return [
        rows("Processes", "hunch_build_info", "Version and delivery promise of each process."),
        rows("Models", "hunch_model_info", "Model and provider of each stage."),
    ]


ROWS = {
    "Is every message decided on time?": on_time,
    "By which path, and why?": by_path,
    "At what confidence?": confidence,
    "Is the slow stage keeping up?": keeping_up,
    "Who is stuck?": stuck,
    "Are the traces complete?": traces,
    "What is running?": running,
}


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
    jaeger = (
        board.DashboardLink("Traces")
        .type(dashboard.DashboardLinkType.LINK)
        .url("http://127.0.0.1:16686")
        .icon("external link")
        .target_blank(target_blank=True)
    )
    alerts = (
        board.AnnotationQuery()
        .name("Alerts")
        .datasource(SOURCE)
        .enable(enable=True)
        .icon_color("red")
        .expr('ALERTS{alertstate="firing", alertname=~"Hunch.*"}')
    )
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
        .link(jaeger)
        .annotation(alerts)
    )
    number_of = itertools.count(1)
    for question, panels in ROWS.items():
        whole.with_row(board.Row(question).id(next(number_of)))
        for panel in panels():
            whole.with_panel(panel.id(next(number_of)))
    return whole.build()


def as_json() -> str:
    """The file's text."""
    return JSONEncoder(sort_keys=True, indent=2).encode(hunch()) + "\n"


if __name__ == "__main__":
    sys.stdout.write(as_json())
