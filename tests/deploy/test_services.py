"""Our services, started with the command and environment that docker-compose.yml gives them.

Only addresses are replaced, and a prefix keeps the topics apart.
"""

import asyncio
import json
import shutil
import socket
import subprocess
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.brokers import delete_topics
from tests.conftest import lack
from tests.deploy.composed import STAGES, Here, Service
from tests.deploy.queries import alert_expressions, families, panel_expressions
from tests.deploy.scraping import WINDOW, Prometheus
from tests.kafka.processes import HunchProcess, hunch

from hunch.settings import LOGICAL_TOPICS

SENT = 120
RATE = 40
WITHOUT_PIXELS = b'{"id": "without pixels"}'
SELDOM = {
    *("hunch_commits_failed", "hunch_duplicates_skipped", "hunch_foreign_records"),
    *("hunch_lanes_lost", "hunch_lost_records", "hunch_traces_suppressed"),
}
"""Counted by a label, and only when something goes wrong: described, without a series at first."""
ABOUT_LOAD = {
    *("HunchDecisionsLate", "HunchFallbacksHigh", "HunchFastStageBehind", "HunchSlowStageBehind"),
    "HunchSpansDropped",  # there is no collector here
}
"""Alerts that may be right on a machine that does other things at the same time."""


def free_port():
    """A port of loopback that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Cascade:
    """Topics and the three stages.

    Attributes:
        ports: service → where its /metrics and health are.
        ours: service → what Compose starts.
    """

    def __init__(self, folder, bootstrap, prefix):
        self.ports = {name: free_port() for name in ("topics", *STAGES)}
        elsewhere = {
            "kafka:9092": bootstrap,
            "jaeger:4317": f"127.0.0.1:{free_port()}",
            "0.0.0.0": "127.0.0.1",
        }
        self.ours = {
            name: Service.composed(name, Here(elsewhere, port), HUNCH_TOPIC_PREFIX=prefix)
            for name, port in self.ports.items()
        }
        self._folder = folder
        self._running = {}

    def run(self, *arguments):
        """Runs a command in the environment of `topics`; it succeeds. Returns what it printed."""
        done = subprocess.run(
            hunch(*arguments),
            cwd=self._folder,
            env=self.ours["topics"].environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert 0 == done.returncode, done.stderr
        return done.stdout

    def start(self):
        """Starts the stages and returns when they are ready."""
        for name in STAGES:
            service = self.ours[name]
            environment, arguments = service.environment, service.arguments
            self._running[name] = HunchProcess(name, arguments, self._folder, environment)
        for process in self._running.values():
            process.wait_ready()

    def send(self, messages, *options):
        """Sends messages and returns when each is acknowledged."""
        (self._folder / "messages.jsonl").write_bytes(b"\n".join(messages) + b"\n")
        self.run("send", "messages.jsonl", *options)

    def decisions(self, count):
        """The first decisions, which come within 20 s."""
        options = ("--from-beginning", "--timeout", "20", "--limit", str(count), "--json")
        lines = self.run("tail", "decisions", *options).splitlines()
        return [json.loads(line)["value"] for line in lines]

    def metrics(self, name):
        """The names of all metrics that a stage tells."""
        url = f"http://127.0.0.1:{self.ports[name]}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return {
                family.name for family in text_string_to_metric_families(answer.read().decode())
            }

    def stop(self, name):
        """SIGTERM; the exit code, which comes within the time that Compose gives it."""
        return self._running[name].terminate(self.ours[name].grace_s)

    def kill(self):
        """Ends what still runs."""
        for process in self._running.values():
            process.kill()


@pytest.fixture
def cascade(kafka_bootstrap, topic_prefix, tmp_path):
    """The services of this test; they end with it."""
    made = Cascade(tmp_path, kafka_bootstrap, topic_prefix)
    yield made
    made.kill()
    asyncio.run(delete_topics(kafka_bootstrap, [topic_prefix + name for name in LOGICAL_TOPICS]))


@pytest.mark.timeout(120, func_only=True)
def test_the_services_run_as_compose_starts_them(cascade, digits):
    """Topics are made, the stages get ready and healthy, messages decided, SIGTERM ends in order.

    The health checks are the file's own commands; before the start and after the end they fail.
    The stages tell every metric that the dashboard and the alerts name.
    """
    assert "created" in cascade.run(*cascade.ours["topics"].arguments)
    assert "All topics exist." in cascade.run(*cascade.ours["topics"].arguments)
    assert [] == [name for name in STAGES if cascade.ours[name].is_healthy()]

    cascade.start()
    assert [] == [name for name in STAGES if not cascade.ours[name].becomes_healthy(10)]
    cascade.send(digits[:SENT])
    paths = [decision["path"] for decision in cascade.decisions(SENT)]
    told = set().union(*(cascade.metrics(name) for name in STAGES))

    assert set() == families(*alert_expressions().values(), *panel_expressions()) - told
    assert SENT == len(paths)
    assert {"fast", "slow"} <= set(paths)
    assert dict.fromkeys(STAGES, 0) == {name: cascade.stop(name) for name in STAGES}
    assert [] == [name for name in STAGES if cascade.ours[name].is_healthy()]


@pytest.fixture
def prometheus(cascade, tmp_path):
    """A real Prometheus that scrapes the services of this test."""
    program = shutil.which("prometheus")
    if program is None:
        lack("The dashboard needs a Prometheus: install it (Debian: apt install prometheus).")
    targets = {name: f"127.0.0.1:{cascade.ports[name]}" for name in STAGES}
    started = Prometheus(program, tmp_path, free_port(), targets)
    yield started
    started.stop()


@pytest.mark.timeout(120, func_only=True)
def test_a_prometheus_answers_what_dashboard_and_alerts_ask(cascade, prometheus, digits):
    """After a little traffic no panel is empty, no alert is wrong, and a dead stage is told.

    What seldom goes wrong has no series yet; that its metrics exist is another test's matter.
    """
    cascade.run(*cascade.ours["topics"].arguments)
    cascade.start()
    prometheus.wait_ready()
    spoilt = [WITHOUT_PIXELS if number % 10 == 5 else text for number, text in enumerate(digits)]
    cascade.send(spoilt[:SENT], "--rate", str(RATE))
    cascade.decisions(SENT)
    prometheus.wait_next()
    asked = {text: text.replace("[1m]", f"[{WINDOW}]") for text in panel_expressions()}
    shown = {text for text, now in asked.items() if prometheus.ask(now)}
    wrong = {name for name, text in alert_expressions().items() if prometheus.ask(text)}
    idle = prometheus.ask("sum(hunch_lag_records) + sum(hunch_lag_age_seconds)")

    cascade.stop("slow")
    cascade.send(digits[:SENT], "--rate", str(RATE))
    cascade.decisions(2 * SENT)
    prometheus.wait_next()
    shown |= {text for text, now in asked.items() if prometheus.ask(now)}
    (down,) = prometheus.ask(alert_expressions()["HunchTargetDown"])

    assert {"HunchDeadLetters"} == wrong - ABOUT_LOAD
    assert ["0"] == [series["value"][1] for series in idle]
    assert "slow" == down["metric"]["service"]
    empty = asked.keys() - shown
    assert [] == sorted(text for text in empty if not families(text) <= SELDOM)
