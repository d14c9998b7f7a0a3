"""`hunch sweep --live` from outside: real stages, the embedded broker or a real one."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from tests.brokers import ROOT, wait_until_gone
from tests.cli.conftest import APP
from tests.evaluation import made

from hunch.evaluation.live.comparing import NAMES
from hunch.evaluation.simulation.place import read_place
from hunch.evaluation.sweep_file import read_sweep

ROWS = 200
COMMAND = [sys.executable, "-c", "from hunch.cli import main; main()"]
LIVE = ("--live", "--data", "digits.jsonl")
QUICK = ("--rate", "60", "--seconds", "2", "--warm-up", "0.5", "--seeds", "1", "--jobs", "1")
GRID = ("--rounds", "0", "--taus", "0.9,1", "--deltas", "250")


@pytest.fixture
def record(hunch, tmp_path):
    """The name of a record of 200 digits, which lie beside it."""
    lines = (ROOT / "models/digits/test.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "digits.jsonl").write_bytes(b"".join(lines[:ROWS]))
    assert 0 == hunch("record", "digits.jsonl", "--out", "r").returncode
    return "r"


async def topics_of(bootstrap):
    """The names of a live sweep's topics on that broker."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        return [name for name in await admin.list_topics() if name.startswith("hunch-sweep-")]
    finally:
        await admin.close()


def processes_of(tmp_path):
    """The processes with this temporary folder in their environment, by what they run."""
    shown = subprocess.run(
        ["ps", "axeww", "-o", "pid=,command="], capture_output=True, text=True, check=True
    )
    lines = [line.split(maxsplit=1) for line in shown.stdout.splitlines()]
    return [(int(pid), command) for pid, command in lines if f"TMPDIR={tmp_path} " in f"{command} "]


@pytest.mark.timeout(120, func_only=True)
async def test_points_are_held_against_a_real_kafka(hunch, record, tmp_path, kafka_bootstrap):
    """A place is measured and written, two points are compared, and no topic is left."""
    done = hunch(
        "sweep",
        record,
        *(*QUICK, *GRID, *LIVE),
        *("--bootstrap", kafka_bootstrap),
        *("--measure-at", "0.97,1500,80", "--place-out", "place.json"),
        TMPDIR=str(tmp_path),
    )

    assert 0 == done.returncode, done.stderr
    file = read_sweep(tmp_path / "sweep.json")
    assert 2 == len(file.live)
    sure, never = file.live
    assert [(0.9, 250, 60.0), (1.0, 250, 60.0)] == [
        (it.tau, it.delta_ms, it.rate_per_s) for it in file.live
    ]
    assert all(list(NAMES) == list(it.measured) for it in file.live)
    assert sure.predicted["fast"] == pytest.approx(sure.measured["fast"], abs=0.02)
    assert all(it.busy is not None and 0 < it.busy <= 1 for it in file.live)
    assert (0.0, 0.0) == (never.predicted["fast"], never.measured["fast"])
    assert file.place == read_place(tmp_path / "place.json", {})
    assert "0.9\t250\t60\tsimulated\t" in done.stdout
    assert re.search(r"Live: \d of 2 points are as simulated", done.stdout)
    assert "are measured at tau 0.97, delta_ms 1500 and 80 messages a second" in done.stderr
    assert [] == await topics_of(kafka_bootstrap)
    assert [] == processes_of(tmp_path)


@pytest.mark.timeout(120, func_only=True)
async def test_ctrl_c_ends_the_stages_and_removes_the_topics(record, tmp_path, kafka_bootstrap):
    """In the middle of a trial: code 130, no process and no topic is left."""
    command = [*COMMAND, "sweep", record, *QUICK, *GRID, *LIVE, "--bootstrap", kafka_bootstrap]
    command += ["--seconds", "60"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(APP), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        await asyncio.to_thread(until_pushed, tmp_path)
        found = [pid for pid, _ in processes_of(tmp_path)]
        created = await topics_of(kafka_bootstrap)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)

    assert (130, "") == (process.returncode, told)
    assert (4, 7) == (len(found), len(created))
    assert all(wait_until_gone(pid, 10.0) for pid in found)
    assert [] == await topics_of(kafka_bootstrap)


def until_pushed(tmp_path):
    """Returns once a stage has said that a policy is in force."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        logs = [log.read_bytes() for log in tmp_path.glob("hunch-sweep-*/stages.log")]
        if any(b'"policy_in_force"' in log for log in logs):
            return
        time.sleep(0.1)


@pytest.mark.timeout(120, func_only=True)
def test_a_place_that_is_given_is_not_measured(hunch, record, tmp_path):
    """Without --bootstrap the sweep brings its broker; JSON is what is written."""
    (tmp_path / "p.json").write_text('{"fast": {"1": [0.2]}, "slow": {"1": [1.0]}, "hop_ms": 9}')
    done = hunch(
        "sweep", record, *QUICK, *GRID, *LIVE, "--place", "p.json", "--json", TMPDIR=str(tmp_path)
    )

    file = read_sweep(tmp_path / "sweep.json")
    assert (0, "") == (done.returncode, done.stderr)
    assert json.loads((tmp_path / "sweep.json").read_bytes()) == json.loads(done.stdout)
    assert (2, 9.0, False) == (len(file.live), file.place.hop_ms, file.deployment.is_exactly_once)
    assert [] == processes_of(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data", "x.jsonl"], "--data is for --live: add it, or leave this out."),
        (["--place-out", "p.json"], "--place-out is for --live: add it, or leave this out."),
        (["--measure-at", "1,2,3"], "--measure-at is for --live: add it, or leave this out."),
        (["--bootstrap", "h:1"], "--bootstrap is for --live: add it, or leave this out."),
        (["--rate", "2"], "More than one --rate is for --live: add it, or leave this out."),
        (["--live"], "--live sends the messages that were recorded: name their file with --data"),
        (["--live", "--data", "none"], "There is no file none: correct --data."),
        ([*LIVE, "--place", "p", "--measure-at", "1,2,3"], "With --place nothing is measured: lea"),
        ([*LIVE, "--measure-at", "1,2"], "--measure-at '1,2' cannot be read: write numbers like"),
        ([*LIVE, "--measure-at", "2,2,3"], "--measure-at 2,2,3 cannot be: write tau, delta_ms and"),
        ([*LIVE, "--processes", "slow=2"], "On the embedded broker a stage has one process: name"),
        ([*LIVE, "--taus", "7"], "tau is 7, but it must lie between 0 and 1."),
        (LIVE, "The policy live-0-"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, list | tuple) else "",
)
def test_a_mistake_is_one_sentence(hunch, tmp_path, arguments, sentence):
    """Before anything is started; a record of other models than the settings name is one, too."""
    made.record(tmp_path / "r", made.drawn(100))
    (tmp_path / "digits.jsonl").write_text("{}\n")
    done = hunch("sweep", "r", "--rate", "1", *arguments)

    assert done.stderr.startswith(f"hunch: {sentence}")
    assert ("", 1, 2) == (done.stdout, done.stderr.count("\n"), done.returncode)
