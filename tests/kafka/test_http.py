"""The port of real processes on a real Kafka: metrics, ready, alive, stuck, and a busy port.

Processes are asked from outside, again and again within a bound, as an orchestrator asks them.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from prometheus_client.parser import text_string_to_metric_families
from tests.brokers import comes_true
from tests.telemetry.collectors import Received, by_http

SHORT_MS = 3_000
"""A `live_timeout_ms` that a test can wait for."""
BIN = Path(sys.executable).parent


def free_port():
    """A port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


class Port:
    """A process's port, asked from outside."""

    def __init__(self):
        self.number = free_port()

    def ask(self, path):
        """Status and JSON; (0, {}) where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.number}{path}", timeout=5) as got:
                return got.status, json.loads(got.read())
        except urllib.error.HTTPError as refused:
            return refused.code, json.loads(refused.read())
        except OSError:
            return 0, {}

    def is_ready(self):
        """Whether /ready answers 200."""
        return 200 == self.ask("/ready")[0]

    def metrics(self):
        """Values by name and labels, these in the order of their names."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.number}/metrics", timeout=5) as got:
            text = got.read().decode()
        return {
            (sample.name, *[sample.labels[label] for label in sorted(sample.labels)]): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def comes_to(self, wanted):
        """Waits until these values are shown."""
        return comes_true(lambda: wanted.items() <= self.metrics().items(), 20)


@contextlib.asynccontextmanager
async def producer(bootstrap, **options):
    """A producer that is started and stopped."""
    made = AIOKafkaProducer(bootstrap_servers=bootstrap, **options)
    await made.start()
    yield made
    await made.stop()


async def set_largest(bootstrap, topic, size):
    """Sets the largest batch that a topic takes, in bytes."""
    configs = {"max.message.bytes": str(size)}
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=configs)])
    await admin.close()


@pytest.mark.parametrize(
    "command",
    [[BIN / "hunch", "run"], [BIN / "faststream", "run", "hunch.main:app"]],
    ids=["hunch", "faststream"],
)
async def test_one_process_shows_what_all_its_stages_did(
    command, kafka_bootstrap, fresh_topics, digits, tmp_path
):
    """Ready only then; every message is counted by path; on SIGTERM it ends with 0."""
    prefix, port = await fresh_topics(partitions=2), Port()
    environment = os.environ | {
        "HUNCH_BOOTSTRAP": kafka_bootstrap,
        "HUNCH_TOPIC_PREFIX": prefix,
        "HUNCH_HTTP_PORT": str(port.number),
    }
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        is_ready = comes_true(port.is_ready, 30)
        async with producer(kafka_bootstrap) as sender:
            for number, digit in enumerate(digits[:200]):
                await sender.send(f"{prefix}messages", digit, partition=number % 2)
            await sender.flush()

        def decided():
            counted = port.metrics().items()
            return sum(n for name, n in counted if "hunch_decisions_total" == name[0])

        is_decided = comes_true(lambda: 200 == decided(), 20)
        shown = port.metrics()
        page = port.ask("/asyncapi.json")
        process.send_signal(signal.SIGTERM)
        logged = process.stderr.read() if process.stderr is not None else ""
        code = process.wait(20)

    assert is_ready
    assert is_decided
    assert shown["hunch_decisions_total", "fast", "confident", "fast"] > 100
    assert 200 == sum(n for name, n in shown.items() if "hunch_decision_seconds_count" == name[0])
    assert {2.0} == {shown["hunch_lanes_open", stage] for stage in ("fast", "slow", "join")}
    assert (200, f"{prefix}messages") == (page[0], page[1]["channels"]["messages"]["address"])
    assert 0 == code
    assert "uvicorn" not in logged


@pytest.mark.timeout(90, func_only=True)
async def test_an_idle_stage_behind_transaction_markers_is_alive(
    kafka_bootstrap, fresh_topics, topic_prefix, start_stage, digits
):
    """A committed and an aborted transaction leave markers at the end, which are no lag."""
    await fresh_topics(partitions=1)
    port, messages = Port(), f"{topic_prefix}messages"
    stage = start_stage("fast", http_port=port.number, live_timeout_ms=SHORT_MS)
    stage.wait_ready()
    async with producer(kafka_bootstrap, transactional_id=topic_prefix) as sender:
        for is_kept in (True, False):
            await sender.begin_transaction()
            for digit in digits[:10]:
                await sender.send_and_wait(messages, digit, partition=0)
            await (sender.commit_transaction() if is_kept else sender.abort_transaction())

    has_caught_up = port.comes_to({("hunch_lag_records", "0", "fast", messages): 0.0})
    was_stuck = comes_true(lambda: 200 != port.ask("/live")[0], 2.5 * SHORT_MS / 1000)

    shown = port.metrics()
    assert has_caught_up
    assert not was_stuck
    assert 10 == sum(
        n
        for name, n in shown.items()
        if name[0] in {"hunch_decisions_total", "hunch_deferrals_total"}
    )
    assert (0.0, 0.0) == (
        shown["hunch_stalled_seconds", "fast"],
        shown["hunch_lag_age_seconds", "0", "fast"],
    )


@pytest.mark.timeout(120, func_only=True)
async def test_a_stage_that_cannot_deliver_is_stuck_until_it_can(
    kafka_bootstrap, fresh_topics, topic_prefix, start_stage, digits
):
    """The broker refuses every decision as too large: /live fails and names the stage; it mends."""
    await fresh_topics(partitions=1)
    port, decisions = Port(), f"{topic_prefix}decisions"
    stage = start_stage("fast", http_port=port.number, live_timeout_ms=SHORT_MS, tau=0)
    stage.wait_ready()
    await set_largest(kafka_bootstrap, decisions, 200)  # a marker of a transaction still fits
    before = port.ask("/live")
    async with producer(kafka_bootstrap) as sender:
        await sender.send_and_wait(f"{topic_prefix}messages", digits[0], partition=0)

    is_stuck = comes_true(lambda: 503 == port.ask("/live")[0], 20)
    stuck = port.ask("/live")[1]
    shown = port.metrics()
    await set_largest(kafka_bootstrap, decisions, 1_114_124)
    is_alive = comes_true(lambda: 200 == port.ask("/live")[0], 30)

    assert 200 == before[0]
    assert is_stuck
    assert ["fast"] == stuck["stuck"]
    assert "there" == stuck["stages"]["fast"]["broker"]
    assert shown["hunch_stalled_seconds", "fast"] > SHORT_MS / 1000
    assert sum(n for name, n in shown.items() if name[0] == "hunch_lanes_lost_total") >= 1
    assert is_alive
    assert port.comes_to({("hunch_decisions_total", "fast", "confident", "fast"): 1.0})


@pytest.mark.timeout(120, func_only=True)
async def test_a_lost_broker_is_no_reason_to_restart(kafka_broker, fresh_topics, start_stage):
    """Stopped for longer than live_timeout_ms: 200, and said to be away; back, and it goes on."""
    await fresh_topics(partitions=1)
    port = Port()
    stage = start_stage("join", http_port=port.number, live_timeout_ms=1_000)
    stage.wait_ready()
    knows_ends = comes_true(
        lambda: any("hunch_lag_records" == name[0] for name in port.metrics()), 20
    )
    kafka_broker.stop()
    is_away = comes_true(lambda: "away" == port.ask("/live")[1]["stages"]["join"]["broker"], 20)
    was_dead = comes_true(lambda: 200 != port.ask("/live")[0], 4)
    kafka_broker.start()

    assert knows_ends
    assert is_away
    assert not was_dead
    assert comes_true(
        lambda: port.is_ready() and "there" == port.ask("/live")[1]["stages"]["join"]["broker"], 40
    )


def test_a_port_that_is_busy_is_refused(kafka_bootstrap, topic_prefix, tmp_path):
    """One sentence and exit code 2, before anything else is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = {"bootstrap": kafka_bootstrap, "topic_prefix": topic_prefix, "http_port": port}
        ended = subprocess.run(
            [BIN / "hunch", "run", *(f"--set={key}={value}" for key, value in settings.items())],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    assert 2 == ended.returncode
    assert f"http_port = {port} cannot be opened" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_metrics_go_out_by_otlp_where_that_is_asked_for(fresh_topics, start_stage):
    """By the standard variables alone, under the name of the stage; no port is needed for it."""
    await fresh_topics(partitions=1)
    received = Received()
    with by_http(received) as endpoint:
        environment = {
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_METRIC_EXPORT_INTERVAL": "200",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{endpoint}/v1/metrics",
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf",
        }
        stage = start_stage("join", environment)
        stage.wait_ready()
        is_told = comes_true(lambda: bool(received.named("hunch_lanes_open")), 20)
        code = stage.terminate()

    assert is_told
    assert "hunch-join" == received.service()
    assert 0 == code
