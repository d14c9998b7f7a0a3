"""`hunch demo` as a person starts it: real processes, the embedded broker or a real one."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from tests.brokers import is_alive, wait_until_gone
from tests.cli.conftest import APP

from hunch.cli.demo_checker import verdict
from hunch.cli.demo_digits import Digits
from hunch.cli.demo_tally import Tally
from hunch.cli.demo_traces import SPANS

SHORT = ("--count", "300", "--rate", "300")
READY = re.compile(r"ready +after")


@pytest.fixture
def demo(hunch, tmp_path):
    """Runs `hunch demo …` to its end; its processes can be told by their temporary folder."""
    return lambda *arguments, **variables: hunch(
        "demo", *SHORT, *arguments, TMPDIR=str(tmp_path), **variables
    )


@pytest.fixture
def started(tmp_path):
    """A demo that is ready and streams for a minute; killed where the test did not end it."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from hunch.cli import main; main()", "demo", "--count", "12000"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(APP), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert any(READY.search(line) for line in process.stdout)
        yield process
        process.kill()


def processes_of(tmp_path):
    """Command → process id of all that runs with this temporary folder in its environment."""
    shown = subprocess.run(
        ["ps", "axeww", "-o", "pid=,command="], capture_output=True, text=True, check=True
    )
    lines = [line.split(maxsplit=1) for line in shown.stdout.splitlines()]
    return {command: int(pid) for pid, command in lines if f"TMPDIR={tmp_path}" in command}


def gone(processes):
    """Whether each of these ends within seconds."""
    return all(wait_until_gone(pid, 10.0) for pid in processes.values())


def assert_exact(figures):
    """One decision each, on paths that add up; how many are slow is up to the machine's load."""
    paths = figures["paths"]
    assert {
        "is_exact": True,
        "sent": 300,
        "decisions": 300,
        "missing": 0,
        "doubled": 0,
        "others": 0,
        "examples": [],
    } == figures["verdict"]
    assert 300 == sum(path["count"] for path in paths.values()) == figures["decided"]
    assert (1, None, 1) == (
        *(paths["error"]["count"], paths["error"]["accuracy"], figures["dead_letters"]),
    )
    assert paths["fast"]["count"] > paths["fallback"]["count"] > 0
    assert paths["fallback"]["p99_ms"] >= figures["delta_ms"]
    assert figures["fast_alone"] < figures["slow_alone"]
    assert figures["fast_alone"] <= figures["cascade"]


def assert_traced(figures, traces, pages):
    """Every path that was taken has a whole trace, and a page of Jaeger's, which has it, too."""
    taken = {path for path, sums in figures["paths"].items() if sums["count"]}
    assert taken == figures["traces"].keys()
    for path, told in figures["traces"].items():
        spans = traces[told["trace_id"]]
        decided = next(span for span in spans if span.name == "decide")
        assert SPANS[path] <= {span.name for span in spans}
        assert (path, told["origin"]) == (
            *(decided.attributes["hunch.path"], decided.attributes["hunch.origin"]),
        )
        assert f"{pages}/trace/{told['trace_id']}" == told["url"]


def test_each_message_has_one_decision_and_the_stall_makes_fallbacks(
    demo, tmp_path, collector, jaeger_pages
):
    """The short demo passes, its figures add up, Jaeger has its traces, and no process is left."""
    done = demo("--json", "--jaeger", jaeger_pages, **collector.environment())

    assert (0, "") == (done.returncode, done.stderr)
    figures = json.loads(done.stdout)
    assert_exact(figures)
    assert_traced(figures, collector.traces, jaeger_pages)
    assert {} == processes_of(tmp_path)


def test_a_dropped_decision_fails_the_demo(demo, tmp_path):
    """--break hides one decision from the checker: it says so in plain lines, and exits with 1."""
    done = demo("--break", "--jaeger", "http://127.0.0.1:1")

    assert 1 == done.returncode
    assert "300 messages, 299 decisions: not one each." in done.stdout
    assert re.fullmatch(
        r"hunch: Of 300 messages 1 has no decision, for example messages-\d-\d+: .+\n", done.stderr
    )
    assert "\x1b" not in done.stdout
    assert {"fast", "fallback", "error"} <= set(re.findall(r"path (\w+), reason", done.stdout))
    assert "A Jaeger at http://localhost:16686 would get these traces" in done.stdout
    assert {} == processes_of(tmp_path)


async def test_a_real_kafka_is_left_as_it_was(demo, kafka_bootstrap):
    """On the user's own broker the demo passes too, and its topics go with it."""
    done = demo("--json", "--bootstrap", kafka_bootstrap)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    try:
        topics = await admin.list_topics()
    finally:
        await admin.close()

    assert (0, "") == (done.returncode, done.stderr)
    assert_exact(json.loads(done.stdout))
    assert [] == [topic for topic in topics if topic.startswith("hunch-demo-")]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_all_processes(started, tmp_path, how):
    """Ctrl-C ends stages, checker and broker with the demo, without a word."""
    processes = processes_of(tmp_path)

    started.send_signal(how)
    _, errors = started.communicate(timeout=10)

    assert (130, "") == (started.returncode, errors)
    assert 6 == len(processes)
    assert not any(is_alive(pid) for pid in processes.values())


def test_a_killed_demo_takes_its_processes_along(started, tmp_path):
    """SIGKILL gives it no time to end them: they notice by themselves."""
    processes = processes_of(tmp_path)

    started.kill()
    started.communicate(timeout=10)

    assert 6 == len(processes)
    assert gone(processes)


def test_a_dead_stage_ends_the_demo_with_a_sentence(started, tmp_path):
    """Which stage it was, and where the log is."""
    processes = processes_of(tmp_path)
    slow = next(pid for command, pid in processes.items() if " run slow" in command)

    os.kill(slow, signal.SIGKILL)
    _, errors = started.communicate(timeout=20)

    assert 1 == started.returncode
    assert errors.startswith("hunch: The slow stage ended with code -9")
    assert 1 == len(errors.splitlines())
    assert gone(processes)


def test_no_broker_is_told(demo):
    """Nobody at the address: one sentence, and the code of the broker."""
    done = demo("--bootstrap", "127.0.0.1:1")

    assert 3 == done.returncode
    assert done.stderr.startswith("hunch: No Kafka broker answers at 127.0.0.1:1 ")
    assert 1 == len(done.stderr.splitlines())


def test_the_figures_count_each_message_once_by_path():
    """Shares, accuracies and latencies: one twice, one not the demo's, one that nobody can know."""
    digits = Digits([b'{"label": "3", "pixels": []}', b'{"label": "5", "pixels": []}'])
    tally = Tally(digits, slow_is_right=(True, False), count=6, spoilt=4)
    tally.on_sent(range(6), 1_000.0)
    answers = [
        ("demo-0", "fast", "3", "3", 1_010.0),
        ("demo-0", "slow", "3", "3", 1_020.0),
        ("demo-1", "fast", "3", "3", 1_030.0),
        ("demo-2", "slow", "3", "8", 1_100.0),
        ("demo-3", "fallback", "5", "5", 1_300.0),
        ("else-5", "fast", "3", "3", 1_400.0),
        ("demo-4", "error", None, None, 1_040.0),
    ]

    for name, path, label, fast, seen_ms in answers:
        decision = {"id": name, "path": path, "label": label, "fast": {"label": fast}}
        tally.on_decision(json.dumps(decision).encode(), seen_ms)
    sums = tally.sums()

    assert (6, 5) == (sums.sent, sums.decided)
    assert (0.5, 0.75, 0.5) == (sums.fast_alone, sums.cascade, sums.slow_alone)
    assert [2, 1, 1, 1] == [path.count for path in sums.paths.values()]
    assert (0.4, 0.5, 20.0) == (
        sums.paths["fast"].share,
        sums.paths["fast"].accuracy,
        sums.paths["fast"].p50_ms,
    )
    assert (0.2, None, 40.0) == (
        sums.paths["error"].share,
        sums.paths["error"].accuracy,
        sums.paths["error"].p99_ms,
    )


def test_a_verdict_counts_what_is_missing_doubled_and_of_others():
    """Decisions of messages that others sent spoil nothing."""
    found = Counter({"m-0-0": 1, "m-0-1": 2, "m-1-9": 1})

    assert {
        "is_exact": False,
        "sent": 3,
        "decisions": 3,
        "missing": 1,
        "doubled": 1,
        "others": 1,
        "examples": ["m-0-2", "m-0-1"],
    } == verdict({"m-0-0", "m-0-1", "m-0-2"}, found)


async def test_the_checker_finds_a_second_decision(embedded_broker, tmp_path):
    """It reads the topic by itself: 20 sent, 21 decisions, one of them twice."""
    embedded_broker.create_topic("decided", 2)
    producer = AIOKafkaProducer(bootstrap_servers=embedded_broker.bootstrap)
    await producer.start()
    origins = [f"messages-{number % 4}-{number}" for number in range(20)]
    for number, origin in enumerate([*origins, origins[7]]):
        value = json.dumps({"origin": origin}).encode()
        await producer.send_and_wait("decided", value, partition=number % 2)
    await producer.stop()

    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "hunch.cli.demo_checker", "decided", "2"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(APP),
            "HUNCH_BOOTSTRAP": embedded_broker.bootstrap,
        },
        input="\n".join(origins),
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )

    found = json.loads(done.stdout)
    assert (20, 21, 0, 1) == tuple(
        found[key] for key in ("sent", "decisions", "missing", "doubled")
    )
    assert [origins[7]] == found["examples"]
