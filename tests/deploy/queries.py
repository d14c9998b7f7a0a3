"""The expressions of dashboard and alerts, and the metrics that they name."""

import json
import re

import yaml
from tests.brokers import ROOT

from hunch.telemetry.names import COUNTERS, GAUGES, HISTOGRAMS

ALERTS = ROOT / "deploy/prometheus/alerts.yml"
DASHBOARD = ROOT / "deploy/grafana/dashboards/hunch.json"
_METRIC = re.compile(r"\bhunch_[a-z_]+")
_SELECTOR = re.compile(r"\b(hunch_[a-z_]+)(?:\{([^}]*)\})?")
DESCRIBED = {
    **{f"hunch_{name}_total": described.labels for name, described in COUNTERS.items()},
    **{f"hunch_{name}": described.labels for name, described in GAUGES.items()},
    **{
        f"hunch_{name}_{part}": (*described.labels, *(("le",) if part == "bucket" else ()))
        for name, described in HISTOGRAMS.items()
        for part in ("bucket", "sum", "count")
    },
}
"""Every series that Hunch tells, and its labels."""
_FAMILY = {
    **{f"hunch_{name}_total": f"hunch_{name}" for name in COUNTERS},
    **{
        f"hunch_{name}_{part}": f"hunch_{name}"
        for name in HISTOGRAMS
        for part in ("bucket", "sum", "count")
    },
}


def alert_expressions():
    """Alert → expression."""
    (group,) = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
    return {rule["alert"]: rule["expr"] for rule in group["rules"]}


def panels():
    """All panels that ask for something."""
    return [
        panel for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"] if "targets" in panel
    ]


def panel_expressions():
    """The expressions of all panels, with values for what Grafana would put in."""
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    return [text.replace("$__rate_interval", "1m").replace("$stage", ".*") for text in asked]


def series(*expressions):
    """The series of Hunch that expressions name."""
    return {name for expression in expressions for name in _METRIC.findall(expression)}


def families(*expressions):
    """The metrics that expressions name, as a parser of /metrics calls them."""
    return {_FAMILY.get(name, name) for name in series(*expressions)}


def unknown_labels(expression):
    """Labels that an expression chooses by and that its metric does not have."""
    return {
        (name, label)
        for name, chosen in _SELECTOR.findall(expression)
        for label in re.findall(r"(\w+)\s*(?:=~|!=|=|!~)", chosen)
        if label not in DESCRIBED[name]
    }
