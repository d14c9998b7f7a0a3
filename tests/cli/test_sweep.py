"""`hunch sweep` from outside: tables, one file, a policy, and one sentence for each mistake."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from tests.evaluation import made

from hunch.core.policy import parsed
from hunch.evaluation.sweep_file import read_sweep

QUICK = ("--rate", "200", "--seconds", "1", "--warm-up", "0", "--seeds", "2", "--rounds", "1")
SMALL = (*QUICK, "--grid", "3x2", "--jobs", "1")


@pytest.fixture
def record(tmp_path):
    """The name of a folder with 500 drawn rows."""
    made.record(tmp_path / "r", made.drawn(500))
    return "r"


def test_a_sweep_is_told_and_written(hunch, record, tmp_path):
    """Three tables, the notes on stderr, and a file with the same numbers."""
    done = hunch("sweep", record, *SMALL)

    file = read_sweep(tmp_path / "sweep.json")
    today = file.points[file.today]
    assert 0 == done.returncode
    assert f"today\t0.9\t500\t{today.accept_rate:.1%}\t" in done.stdout
    assert "fast alone\t\t\t\t" in done.stdout
    assert "least-cost\tleast cost within 0.5 points of the slow model\t" in done.stdout
    assert f"sweep.json is written: {len(file.points)} points." in done.stdout
    assert "hunch: Simulated: stages in processes of their own" in done.stderr


def test_a_choice_is_written_as_a_policy(hunch, record, tmp_path):
    """With its Δ; the sentence says that it is an estimate, and the settings take the file."""
    done = hunch("sweep", record, *SMALL, "--choose", "knee", "--out", "p.json")

    policy = parsed((tmp_path / "p.json").read_bytes(), "p.json")
    knee = read_sweep(tmp_path / "sweep.json").choice("knee")
    assert knee is not None
    assert (knee.tau, knee.delta_ms) == (policy.tau, policy.delta_ms)
    assert f"{policy.promise}\np.json is written: {policy.name}." in done.stdout
    assert "An estimate by simulation, not a guarantee" in policy.promise
    again = hunch("config", "--set", "policy_file=p.json")
    assert f"delta_ms\t{policy.delta_ms}\tpolicy {policy.name}" in again.stdout


def test_json_is_the_file(hunch, record, tmp_path):
    """Programs get on stdout what is written."""
    done = hunch("sweep", record, *SMALL, "--json", "--results", "x.json")

    assert json.loads((tmp_path / "x.json").read_bytes()) == json.loads(done.stdout)
    assert (0, "") == (done.returncode, done.stderr)


def test_a_policy_brings_its_measure_and_temperatures(hunch, record, tmp_path):
    """What is held against τ is what the policy says, and today's τ is its own."""
    hunch("calibrate", record, "--goal", "agreement=0.8", "--measure", "margin", "--out", "c.json")
    policy = parsed((tmp_path / "c.json").read_bytes(), "c.json")
    done = hunch("sweep", record, *SMALL, "--policy", "c.json")

    file = read_sweep(tmp_path / "sweep.json")
    assert 0 == done.returncode
    assert ("margin", policy.temperatures, policy.name) == (
        file.measure.name,
        file.temperatures,
        file.policy,
    )
    assert policy.tau == file.points[file.today].tau


def test_without_labels_accuracy_is_agreement(hunch, tmp_path):
    """It is said so."""
    made.record(tmp_path / "r", made.drawn(300), labels=[None] * 300)
    done = hunch("sweep", "r", *SMALL)

    assert "accuracy is agreement with the slow model." in done.stderr
    assert "slow" == read_sweep(tmp_path / "sweep.json").record.right_by


def test_a_choice_that_nothing_meets_writes_no_policy(hunch, tmp_path):
    """With a slow model that is never in time nothing is within ε: code 4 and a sentence."""
    given = made.drawn(400, fast=1.0, slow=9.0)
    made.record(tmp_path / "r", given)
    grid = ("--taus", "0.5,1", "--deltas", "1")
    done = hunch("sweep", "r", *SMALL, *grid, "--set", "delta_ms=1", "--choose", "least-cost")

    sentence = "hunch: No point is within 0.5 points of the slow model. No policy is written.\n"
    assert 4 == done.returncode
    assert done.stderr.endswith(sentence)
    assert not (tmp_path / "policy.json").exists()
    assert (tmp_path / "sweep.json").exists()


def wait_for_a_point(points):
    """Returns once a sweep has kept one, after 40 s in any case."""
    until = time.monotonic() + 40
    while time.monotonic() < until and not (points.exists() and points.stat().st_size):
        time.sleep(0.05)


def test_no_process_outlives_a_sweep_that_is_killed(record, tmp_path):
    """Those that simulate end by themselves where nobody is left to end them."""
    command = [sys.executable, "-c", "from hunch.cli import main; main()", "sweep", record]
    command += ["--rate", "2000", "--seconds", "20", "--rounds", "0", "--jobs", "2"]
    environment = {**os.environ, "PYTHONPATH": str(made.APP)}
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        wait_for_a_point(tmp_path / "sweep.points.jsonl")
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    _, alive = psutil.wait_procs(children, timeout=20)
    for child in alive:
        child.kill()

    assert len(children) >= 2
    assert [] == alive


def test_a_sweep_that_is_stopped_goes_on(record, tmp_path):
    """Ctrl-C ends it with 130 and a sentence; the next run has the points of the first."""
    command = [sys.executable, "-c", "from hunch.cli import main; main()", "sweep", record]
    command += ["--rate", "2000", "--seconds", "4", "--rounds", "0", "--jobs", "2"]
    command += ["--grid", "6x3", "--seeds", "4"]
    environment = {**os.environ, "PYTHONPATH": str(made.APP)}
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        points = tmp_path / "sweep.points.jsonl"
        wait_for_a_point(points)
        os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=40)
    known = len(points.read_bytes().splitlines())
    again = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert 130 == process.returncode
    assert "hunch: What was found is in sweep.points.jsonl: the same command goes on.\n" == told
    assert 1 <= known < 17
    assert again.stderr.startswith(f"hunch: {known} points are in sweep.points.jsonl already.\n")
    assert 17 == len(points.read_bytes().splitlines())


@pytest.mark.usefixtures("record")
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["r", "--rate", "0"], "--rate is 0, but it must be above 0 messages a second."),
        (["r", "--rate", "nan"], "--rate is nan, but it must be above 0 messages a second."),
        (
            ["r", "--rate", "1e9", "--deltas", "100"],
            "13,000,000,000 messages are too many for one run",
        ),
        (
            ["r", "--rate", "2000", "--deltas", "3600000", "--taus", "0.9"],
            "14,424,000 messages are too many for one run, which lasts --warm-up, --seconds and tw",
        ),
        (["r", "--rate", "0.001", "--seconds", "1"], "In one of the runs no message came that"),
        (["r", "--rate", "1", "--results", "."], "--results . is no file: name one, like"),
        (["r", "--rate", "1", "--choose", "knee", "--out", "sweep.json"], "--out sweep.json and"),
        (["nowhere", "--rate", "1"], "There is no record in nowhere: make one with"),
        (["r", "--rate", "1", "--pattern", "tidal"], "There is no pattern 'tidal': use one of"),
        (["r", "--rate", "1", "--pattern", "recorded"], "The pattern recorded needs the"),
        (["r", "--rate", "1", "--arrivals", "none"], "none cannot be read: No such file"),
        (["r", "--rate", "1", "--seconds", "-1"], "--seconds is -1, but it must be above 0"),
        (["r", "--rate", "1", "--epsilon", "5"], "--epsilon is 5, but it must be from 0 to 1"),
        (["r", "--rate", "1", "--deadline-ms", "0"], "--deadline-ms is 0, but it must be above 0"),
        (["r", "--rate", "1", "--processes", "fats=2"], "--processes 'fats=2' cannot be read"),
        (["r", "--rate", "1", "--processes", "slow=9"], "9 slow processes cannot share 4 part"),
        (["r", "--rate", "1", "--price", "slow=1"], "--price slow=1 cannot be read: write one of"),
        (["r", "--rate", "1", "--grid", "1x5"], "--grid 1x5 makes no grid: write NxM with 2 or"),
        (["r", "--rate", "1", "--grid", "ab"], "--grid 'ab' cannot be read: write numbers like"),
        (["r", "--rate", "1", "--grid", "999x99"], "--grid 999x99 makes no grid: write NxM"),
        (["r", "--rate", "1", "--taus", "0.5,2"], "tau is 2, but it must lie between 0 and 1."),
        (["r", "--rate", "1", "--deltas", "x"], "--deltas 'x' cannot be read: write numbers"),
        (["r", "--rate", "1", "--choose", "luck"], "There is no choice 'luck': use one of least"),
        (["r", "--rate", "1", "--place", "none"], "none cannot be read: No such file"),
        (["r", "--rate", "1", "--policy", "none"], "There is no policy file none: correct"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, list) else "",
)
def test_a_mistake_is_one_sentence(hunch, arguments, sentence):
    """Nothing on stdout, one line on stderr, code 2."""
    done = hunch("sweep", *arguments, "--jobs", "1")

    assert done.stderr.startswith(f"hunch: {sentence}")
    assert ("", 1, 2) == (done.stdout, done.stderr.count("\n"), done.returncode)


def test_a_record_that_is_not_finished_is_refused(hunch, record, tmp_path):
    """The sentence says how to go on."""
    description = tmp_path / record / "record.json"
    said = json.loads(description.read_bytes())
    description.write_text(json.dumps(said | {"is_complete": False}))
    done = hunch("sweep", record, *SMALL)

    assert (2, "") == (done.returncode, done.stdout)
    assert "is not finished: run the same `hunch record` again" in done.stderr


def test_a_policy_of_other_models_is_refused(hunch, record, tmp_path):
    """It names both."""
    hunch("calibrate", record, "--goal", "agreement=0.8", "--out", "c.json")
    made.record(tmp_path / "other", made.drawn(300), marks="2")
    done = hunch("sweep", "other", *SMALL, "--policy", "c.json")

    assert 2 == done.returncode
    assert "was made for the fast model the-fast@1 (11111111), and other was rec" in done.stderr
