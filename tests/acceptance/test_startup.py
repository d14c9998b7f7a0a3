"""Starting and stopping real processes: mistakes are one sentence, never a stack trace."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from hunch.bundled import bundled
from hunch.testing import OtlpReceiver

HUNCH = str(Path(sys.executable).parent / "hunch")
FASTSTREAM = str(Path(sys.executable).parent / "faststream")
NOBODY = "127.0.0.1:1"


def environment(**settings):
    """This process's environment with these settings of Hunch."""
    return os.environ | {f"HUNCH_{key.upper()}": str(value) for key, value in settings.items()}


def run_to_its_end(command, folder, **settings):
    """Exit code, events on stderr, and all that was printed."""
    ended = subprocess.run(
        command,
        cwd=folder,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    printed = ended.stdout + ended.stderr
    events = [json.loads(line) for line in ended.stderr.splitlines() if line.startswith("{")]
    return ended.returncode, events, printed


def wait_for(process, event):
    """Reads the log until an event comes; the test's time-out bounds it."""
    for line in process.stderr:
        told = json.loads(line)
        if told["event"] == event:
            return told
    raise AssertionError(f"the process ended before it said {event}")


@pytest.fixture
def other_labels(tmp_path):
    """A model with other labels than the bundled ones."""
    folder = tmp_path / "other"
    shutil.copytree(bundled("models") / "digits-slow" / "1", folder)
    described = json.loads((folder / "model.json").read_text())
    described["labels"] = [f"digit {label}" for label in described["labels"]]
    (folder / "model.json").write_text(json.dumps(described))
    return folder


@pytest.fixture
def damaged(tmp_path):
    """A model whose file is not the one that its description means."""
    folder = tmp_path / "damaged"
    shutil.copytree(bundled("models") / "digits-slow" / "1", folder)
    graph = folder / "model.onnx"
    graph.write_bytes(graph.read_bytes() + b"\0")
    return folder


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("missing", "There is no model at"),
        ("other_labels", "labels of the two models do not match"),
        ("damaged", "sha256"),
    ],
)
def test_a_model_that_cannot_serve_is_refused(model, said, tmp_path, request):
    """A missing file, a wrong checksum, labels that do not match: one sentence and exit code 2."""
    folder = tmp_path / "nothing" if model == "missing" else request.getfixturevalue(model)
    code, events, printed = run_to_its_end(
        [HUNCH, "run"], tmp_path, slow_model=folder, bootstrap=NOBODY
    )

    assert code == 2
    assert said in events[-1]["message"]
    assert "error" == events[-1]["event"]
    assert "Traceback" not in printed


def test_no_broker_is_waited_for_then_refused(tmp_path):
    """Nobody answers: a clear line while waiting, and exit code 3 at the limit."""
    code, events, printed = run_to_its_end(
        [HUNCH, "run"], tmp_path, bootstrap=NOBODY, startup_timeout_ms=5000
    )

    assert code == 3
    assert "waiting_for_broker" in [event["event"] for event in events]
    assert "No Kafka broker answers at 127.0.0.1:1" in events[-1]["message"]
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    "command", [[HUNCH, "run"], [FASTSTREAM, "run", "hunch.main:app"]], ids=["hunch", "faststream"]
)
def test_an_unknown_setting_is_refused_with_a_suggestion(command, tmp_path):
    """A mistyped key stops the start and names the nearest one."""
    code, _, printed = run_to_its_end(command, tmp_path, deltams=5)

    assert code == 2
    assert "did you mean 'delta_ms'" in printed
    assert "Traceback" not in printed


def test_missing_topics_are_refused(kafka_bootstrap, topic_prefix, tmp_path):
    """Without its topics Hunch does not start, and says which command makes them."""
    code, events, printed = run_to_its_end(
        [HUNCH, "run"], tmp_path, bootstrap=kafka_bootstrap, topic_prefix=topic_prefix
    )

    assert code == 2
    assert "hunch topics apply" in events[-1]["message"]
    assert "Traceback" not in printed


async def test_a_session_that_the_broker_does_not_allow_is_refused(
    kafka_bootstrap, fresh_topics, tmp_path
):
    """A session time-out outside the broker's bounds is one sentence, not a crash."""
    prefix = await fresh_topics(partitions=1)
    code, events, printed = run_to_its_end(
        [HUNCH, "run", "join"],
        tmp_path,
        bootstrap=kafka_bootstrap,
        topic_prefix=prefix,
        session_timeout_ms=400,
        heartbeat_interval_ms=100,
    )

    assert code == 2
    assert "session_timeout_ms = 400" in " ".join(str(event.get("message")) for event in events)
    assert "Traceback" not in printed


def test_sigterm_ends_a_process_that_waits_for_its_broker(tmp_path):
    """Asked to stop before anything runs, a process ends at once, with 0."""
    with subprocess.Popen(
        [HUNCH, "run"],
        cwd=tmp_path,
        env=environment(bootstrap=NOBODY, startup_timeout_ms=600_000),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_for(process, "waiting_for_broker")
        process.send_signal(signal.SIGTERM)
        wait_for(process, "stopped")
        assert process.wait(10) == 0


def test_a_start_that_fails_says_why_with_traces_asked_for_too(tmp_path):
    """Tracing that has not begun is no obstacle to the one sentence."""
    code, events, printed = run_to_its_end(
        [HUNCH, "run"], tmp_path, slow_model=tmp_path / "nothing", bootstrap=NOBODY, trace_ratio=1
    )

    assert code == 2
    assert "There is no model at" in events[-1]["message"]
    assert "bug" not in printed


async def test_a_collector_that_hangs_does_not_spoil_the_end(tmp_path):
    """Spans and metrics wait for their collector side by side, after the groups are left: code 0.

    The port of `http_port` is held open by somebody who never finishes asking, too.
    """
    with OtlpReceiver(protocols=["http/protobuf"]) as collector, socket.socket() as free:
        collector.stall()
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        variables = collector.environment("http/protobuf") | {
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_METRIC_EXPORT_INTERVAL": "100",
            "OTEL_BSP_SCHEDULE_DELAY": "1",
        }
        settings = environment(bootstrap="embedded", trace_ratio=1, http_port=port)
        with subprocess.Popen(
            [HUNCH, "run"],
            cwd=tmp_path,
            env=settings | variables,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            ready = wait_for(process, "ready")
            async with AIOKafkaProducer(bootstrap_servers=ready["bootstrap"]) as producer:
                await producer.send_and_wait("messages", b"no JSON")
            await asyncio.to_thread(
                collector.wait_for, lambda seen: seen.requests >= 2, timeout_s=10
            )
            with socket.create_connection(("127.0.0.1", port)) as asking:
                asking.sendall(b"GET /live HTTP/1.1\r\n")
                process.send_signal(signal.SIGTERM)
                _, written = process.communicate(timeout=20)

    rest = [json.loads(line) for line in written.splitlines()]

    assert "drain_cut_short" not in [line["event"] for line in rest]
    assert "stopped" == rest[-1]["event"]
    assert rest[-1]["counts"]["spans_dropped{reason=stopped}"] >= 1
    assert process.returncode == 0


@pytest.mark.parametrize(
    "command", [[HUNCH, "run"], [FASTSTREAM, "run", "hunch.main:app"]], ids=["hunch", "faststream"]
)
async def test_sigterm_drains_and_ends_with_zero(command, kafka_bootstrap, fresh_topics, tmp_path):
    """Both ways to start it come to ready with all lanes, drain on SIGTERM, and end with 0."""
    prefix = await fresh_topics(partitions=2)
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment(bootstrap=kafka_bootstrap, topic_prefix=prefix),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        ready = wait_for(process, "ready")
        process.send_signal(signal.SIGTERM)
        wait_for(process, "draining")
        wait_for(process, "stopped")
        code = process.wait(10)

    assert {"fast": [0, 1], "slow": [0, 1], "join": [0, 1]} == ready["partitions"]
    assert code == 0
