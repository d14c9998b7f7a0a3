"""The dashboard: Grafana's schema, expressions that Prometheus reads, metrics that exist."""

import importlib.util
import json
import re

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from tests.brokers import ROOT
from tests.deploy.queries import (
    DASHBOARD,
    DESCRIBED,
    panel_expressions,
    panels,
    series,
    unknown_labels,
)

FOLDER = ROOT / "deploy/grafana"


def back_and_forth(text):
    """A dashboard through Grafana's schema, and as plain values again."""
    register_default_plugins()
    read = Dashboard.from_json(json.loads(text))
    return json.loads(JSONEncoder(sort_keys=True, indent=2).encode(read))


def test_the_file_is_what_the_program_writes():
    """dashboards/hunch.json is dashboard.py's output: change the program, then write the file."""
    spec = importlib.util.spec_from_file_location("dashboard", FOLDER / "dashboard.py")
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)

    assert program.as_json() == DASHBOARD.read_text("utf-8")


def test_nothing_is_lost_in_grafanas_schema():
    """Grafana's own schema knows every key."""
    text = DASHBOARD.read_text("utf-8")

    assert json.loads(text) == back_and_forth(text)


@pytest.mark.parametrize(
    "key", ['"gridPos"', '"legendFormat"', '"fillOpacity"', '"uid"'], ids=lambda key: key.strip('"')
)
def test_an_unknown_key_is_seen(key):
    """The test above can fail, at every depth."""
    wrong = DASHBOARD.read_text("utf-8").replace(key, '"misspelt"', 1)

    assert json.loads(wrong) != back_and_forth(wrong)


def test_prometheus_reads_every_expression(promtool, tmp_path):
    """Each expression is one, with values for Grafana's variables."""
    rules = [
        {"record": f"panel:{number}", "expr": expression}
        for number, expression in enumerate(panel_expressions())
    ]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))

    assert f"{len(rules)} rules found" in promtool("check", "rules", file)


def test_panels_name_metrics_and_labels_that_exist():
    """What a panel asks for is in telemetry/names.py, and its legend's labels are kept."""
    assert set() == series(*panel_expressions()) - DESCRIBED.keys()
    for expression in panel_expressions():
        assert "$" not in expression
        assert set() == unknown_labels(expression), expression
    for panel in panels():
        for target in panel["targets"]:
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                known = re.search(rf"\b(by|without) \([^)]*\b{label}\b", target["expr"])
                assert known or label == "instance", (panel["title"], target["legendFormat"])


def test_every_metric_is_shown():
    """What Hunch tells, the dashboard shows: a metric that nobody looks at is not needed."""
    shown = series(*panel_expressions())
    parts = ("_bucket", "_sum", "_count")
    missing = {name for name in DESCRIBED if not name.endswith(parts)} - shown
    histograms = {name.removesuffix("_bucket") for name in DESCRIBED if name.endswith("_bucket")}

    assert set() == missing
    assert set() == {name for name in histograms if f"{name}_bucket" not in shown}


def test_rows_are_questions_and_panels_are_explained():
    """Each row asks, each panel says what is good."""
    whole = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    questions = [panel["title"] for panel in whole if panel["type"] == "row"]

    assert [] == [title for title in questions if not title.endswith("?")]
    assert [] == [panel["title"] for panel in panels() if not panel["description"]]
    assert len(whole) == len({panel["id"] for panel in whole})


def test_provisioning_leads_to_the_dashboard():
    """The data source that the panels ask is provisioned, and the folder is the mounted one."""
    sources = yaml.safe_load((FOLDER / "provisioning/datasources/hunch.yml").read_text("utf-8"))
    (provider,) = yaml.safe_load((FOLDER / "provisioning/dashboards/hunch.yml").read_text("utf-8"))[
        "providers"
    ]
    mounts = dict(
        volume.split(":")[:2]
        for volume in yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"][
            "grafana"
        ]["volumes"]
    )

    asked = {panel["datasource"]["uid"] for panel in panels()}
    assert asked <= {source["uid"] for source in sources["datasources"]}
    assert provider["options"]["path"] == mounts["./deploy/grafana/dashboards"]
