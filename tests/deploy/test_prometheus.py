"""Prometheus: promtool accepts its configuration, and each alert is tested and says what to do."""

import re
import shutil

import yaml
from tests.brokers import ROOT
from tests.deploy.composed import services
from tests.deploy.queries import ALERTS, DESCRIBED, alert_expressions, series, unknown_labels

FOLDER = ROOT / "deploy/prometheus"
TESTS = yaml.safe_load((FOLDER / "alerts_test.yml").read_text("utf-8"))["tests"]


def rules():
    """All alerts."""
    (group,) = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
    return group["rules"]


def test_promtool_accepts_the_configuration(promtool):
    """Prometheus would start with it, and read the rules that it names."""
    assert "16 rules found" in promtool("check", "config", FOLDER / "prometheus.yml")


def test_alerts_fire_and_are_silent_when_they_should(promtool):
    """The rules pass their own tests."""
    assert "SUCCESS" in promtool("test", "rules", FOLDER / "alerts_test.yml")


def test_an_alert_that_does_not_fire_is_seen(promtool, tmp_path):
    """The test above can fail: with another bound it does."""
    shutil.copy(FOLDER / "alerts_test.yml", tmp_path)
    (tmp_path / "alerts.yml").write_text(ALERTS.read_text("utf-8").replace("> 0.05", "> 0.5"))

    assert "FAILED" in promtool("test", "rules", tmp_path / "alerts_test.yml", code=1)


def test_each_alert_has_a_test_that_fires_and_one_that_does_not():
    """No alert goes untested, in either direction."""
    checks = [check for test in TESTS for check in test["promql_expr_test"]]
    fired = {
        name
        for check in checks
        for sample in check["exp_samples"]
        for name in re.findall(r'alertname="(\w+)"', sample["labels"])
    }
    silent = {
        name
        for check in checks
        if not check["exp_samples"]
        for name in re.findall(r'alertname="(\w+)"', check["expr"]) or [rules()[0]["alert"]]
    }

    alerts = set(alert_expressions())
    assert alerts == fired
    assert alerts == silent


def test_each_alert_says_what_is_and_what_to_do():
    """A severity, a summary that names its case, and a description."""
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}, rule["alert"]
        assert "{{" in rule["annotations"]["summary"], rule["alert"]
        assert len(rule["annotations"]["description"]) > 80, rule["alert"]


def test_alerts_name_metrics_and_labels_that_exist():
    """What an alert asks for is described in telemetry/names.py."""
    assert set() == series(*alert_expressions().values()) - DESCRIBED.keys()
    for alert, expression in alert_expressions().items():
        assert set() == unknown_labels(expression), alert


def test_prometheus_scrapes_the_stages_of_compose():
    """Job, names and port are those of docker-compose.yml, and alerts ask for the same names."""
    (job,) = yaml.safe_load((FOLDER / "prometheus.yml").read_text("utf-8"))["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    stages = [
        name
        for name, service in services().items()
        if "HUNCH_HTTP_PORT" in service.get("environment", ())
    ]

    assert stages == found["names"]
    assert {str(found["port"])} == {
        services()[name]["environment"]["HUNCH_HTTP_PORT"] for name in stages
    }
    down = alert_expressions()["HunchTargetDown"]
    assert stages == re.findall(r'absent\(up\{job="hunch", service="(\w+)"\}\)', down)
