"""docker-compose.yml: its schema, what it pins and publishes, in which order it starts."""

import json
import os
import re
import subprocess
from importlib.resources import files

import pytest
import yaml
from jsonschema import Draft202012Validator
from tests.brokers import ROOT, kafka_tool
from tests.deploy.composed import COMPOSE, STAGES, services

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


def test_the_image_is_built_once():
    """One service builds the image, and those that share it wait for that one and pull nothing."""
    building = [name for name, service in services().items() if "build" in service]
    assert ["topics"] == building

    for name in STAGES:
        assert "never" == services()[name]["pull_policy"]
        assert "topics" in services()[name]["depends_on"]
    built = services()["topics"]["build"]
    assert (ROOT / built["context"] / built["dockerfile"]).is_file()
    assert {"ONNXRUNTIME": "${ONNXRUNTIME:-cpu}"} == built["args"]


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


@pytest.mark.parametrize("target", ["up", "down"])
def test_without_compose_make_says_what_to_do(tmp_path, target):
    """Where Docker has no compose plugin, a sentence says what to install, and nothing is tried."""
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\nexit 1\n")
    docker.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    done = subprocess.run(
        ["make", target],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert 2 == done.returncode
    assert "This needs Docker with its compose plugin" in done.stderr


def properties_of(environment, folder):
    """What the image makes of its environment, with the names of this machine."""
    settings = {
        key.removeprefix("KAFKA_").lower().replace("_", "."): value
        for key, value in environment.items()
        if key.startswith("KAFKA_") and key != "KAFKA_HEAP_OPTS"
    }
    settings["log.dirs"] = str(folder / "data")
    return "".join(f"{key}={value}\n" for key, value in settings.items())


@pytest.mark.usefixtures("kafka_broker")
@pytest.mark.parametrize(
    ("left_out", "said"),
    [("", "Formatting"), ("INSIDE://:9092,", "requirement failed: advertised.listeners")],
    ids=["as it is", "with a listener less"],
)
def test_kafka_accepts_its_environment(tmp_path, left_out, said):
    """Kafka itself finds its listeners and roles in order, and sees a missing listener."""
    environment = services()["kafka"]["environment"]
    file = tmp_path / "server.properties"
    file.write_text(properties_of(environment, tmp_path).replace(left_out, ""))

    cluster = environment["CLUSTER_ID"]
    asked = ("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(file))
    assert said in kafka_tool(*asked)
