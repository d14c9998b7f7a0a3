"""docker-compose.yml: its schema, what it pins and publishes, our services as it starts them."""

import json
import re
import socket
import subprocess
import urllib.request
from importlib.resources import files

import pytest
import yaml
from jsonschema import Draft202012Validator
from prometheus_client.parser import text_string_to_metric_families
from tests.brokers import ROOT
from tests.deploy.composed import COMPOSE, Here, Service, services
from tests.deploy.queries import alert_expressions, families, panel_expressions
from tests.kafka.processes import HunchProcess, hunch

STAGES = ("fast", "slow", "join")
SENT = 200
SELDOM = {
    *("hunch_commits_failed", "hunch_dead_letters", "hunch_duplicates_skipped"),
    *("hunch_foreign_records", "hunch_lanes_lost", "hunch_lost_records"),
    *("hunch_spans_dropped", "hunch_traces_suppressed"),
}
"""Counted by a label, and only when something goes wrong: described, without a series at first."""
SCHEMA = files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json"


def errors_of(path):
    """What the Compose schema has against a file."""
    schema = json.loads(SCHEMA.read_text("utf-8"))
    found = Draft202012Validator(schema).iter_errors(yaml.safe_load(path.read_text("utf-8")))
    return [error.message for error in found]


@pytest.mark.parametrize("name", ["docker-compose.yml", "deploy/docker-compose.gpu.yml"])
def test_the_file_is_what_compose_reads(name):
    """The files fit the schema of the Compose specification."""
    assert [] == errors_of(ROOT / name)


def test_the_schema_sees_a_wrong_key(tmp_path):
    """The test above can fail."""
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(COMPOSE.read_text("utf-8").replace("    restart:", "    restarts:", 1))

    assert [] != errors_of(wrong)


def test_images_are_pinned_and_kafka_is_the_tested_one():
    """No image is `latest`, and Kafka is the version that the tests run against."""
    images = {name: service["image"] for name, service in services().items()}
    pom = (ROOT / "deploy/local-kafka/pom.xml").read_text("utf-8")
    (tested,) = re.findall(r"<kafka\.version>(.*)</kafka\.version>", pom)

    ours = {"topics", *STAGES}
    assert {"hunch:local"} == {images[name] for name in ours}
    assert f"apache/kafka:{tested}" == images["kafka"]
    for name in images.keys() - ours:
        assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", images[name]), images[name]


def test_every_port_is_on_loopback():
    """Nothing is published to the network that the machine is in."""
    published = [port for service in services().values() for port in service.get("ports", ())]

    assert published
    assert [] == [port for port in published if not port.startswith("127.0.0.1:")]


def test_all_but_the_topics_are_watched_and_started_again():
    """Each service that stays has a health check, and comes back after a crash."""
    staying = {name: service for name, service in services().items() if name != "topics"}

    for name, service in staying.items():
        assert "healthcheck" in service, name
        assert "unless-stopped" == service["restart"], name


def test_the_start_order():
    """Topics wait for a healthy Kafka, the stages for the topics, Grafana for Prometheus."""
    asked = {
        name: {on: how["condition"] for on, how in service["depends_on"].items()}
        for name, service in services().items()
        if "depends_on" in service
    }

    stage = {
        "topics": "service_completed_successfully",
        "kafka": "service_healthy",
        "jaeger": "service_started",
    }
    assert {
        "topics": {"kafka": "service_healthy"},
        **dict.fromkeys(STAGES, stage),
        "grafana": {"prometheus": "service_healthy"},
    } == asked


def test_mounted_files_exist():
    """What a container reads from the checkout is there, and read-only."""
    mounts = [
        volume.split(":")
        for service in services().values()
        for volume in service.get("volumes", ())
        if volume.startswith("./")
    ]

    assert mounts
    for there, _, mode in mounts:
        assert (ROOT / there).exists(), there
        assert "ro" == mode


def free_port():
    """A port of loopback that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def metrics_of(port):
    """The families of a live /metrics, and the names of those that have series."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    found = list(text_string_to_metric_families(text))
    return {family.name for family in found}, {f.name for f in found if f.samples}


@pytest.mark.timeout(120, func_only=True)
def test_the_services_run_as_compose_starts_them(kafka_bootstrap, topic_prefix, digits, tmp_path):
    """With command and environment from the file: topics, three ready stages, decisions, metrics.

    Only addresses are replaced, and a prefix keeps the topics apart. The health checks say so in a
    container's own words, SIGTERM ends each stage in order and in time, and every metric that the
    dashboard and the alerts name is told by a stage.
    """
    ports = {name: free_port() for name in ("topics", *STAGES)}
    prefix = {"HUNCH_TOPIC_PREFIX": topic_prefix}
    elsewhere = {
        "kafka:9092": kafka_bootstrap,
        "jaeger:4317": f"127.0.0.1:{free_port()}",
        "0.0.0.0": "127.0.0.1",
    }
    ours = {
        name: Service.composed(name, Here(elsewhere, port), **prefix)
        for name, port in ports.items()
    }

    def run(*arguments):
        done = subprocess.run(
            hunch(*arguments),
            cwd=tmp_path,
            env=ours["topics"].environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert 0 == done.returncode, done.stderr
        return done.stdout

    assert "created" in run(*ours["topics"].arguments)
    assert not ours["fast"].is_healthy()
    running = {}
    try:
        for name in STAGES:
            service = ours[name]
            running[name] = HunchProcess(name, service.arguments, tmp_path, service.environment)
        for name in STAGES:
            running[name].wait_ready()
            assert ours[name].becomes_healthy(10), name

        (tmp_path / "digits.jsonl").write_bytes(b"\n".join(digits[:SENT]) + b"\n")
        run("send", "digits.jsonl")
        tail = ("tail", "decisions", "--from-beginning", "--timeout", "20", "--limit")
        paths = [
            json.loads(line)["value"]["path"]
            for line in run(*tail, str(SENT), "--json").splitlines()
        ]
        assert SENT == len(paths)
        assert {"fast", "slow"} <= set(paths)

        told, has_series = zip(*(metrics_of(ports[name]) for name in STAGES), strict=True)
        assert 0 == running["slow"].terminate(ours["slow"].grace_s)
        run("send", "digits.jsonl")
        run(*tail, str(2 * SENT))
        _, of_join = metrics_of(ports["join"])
        for name in ("fast", "join"):
            assert 0 == running[name].terminate(ours[name].grace_s), name
    finally:
        for process in running.values():
            process.kill()

    wanted = families(*alert_expressions().values(), *panel_expressions())
    assert wanted
    assert set() == wanted - set().union(*told)
    assert set() == wanted - set().union(*has_series, of_join) - SELDOM
