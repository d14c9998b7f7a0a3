"""`hunch calibrate` from outside: a policy that stages take, or one sentence and no policy."""

import json

import pytest
from tests.evaluation import made

from hunch.core.policy import parsed


@pytest.fixture
def record(tmp_path):
    """The name of a folder with 2,000 drawn rows."""
    made.record(tmp_path / "r", made.drawn(2000))
    return "r"


def test_a_policy_is_written_and_explained(hunch, record, tmp_path):
    """The table has τ, the sentences say what it will do and what is promised."""
    done = hunch("calibrate", record, "--goal", "selective-risk=0.1", "--plots", "p")

    policy = parsed((tmp_path / "policy.json").read_bytes(), "policy.json")
    assert (0, "hunch: Drawn: ") == (done.returncode, done.stderr[:14])
    assert f"tau\t{policy.tau:.6g}\n" in done.stdout
    assert "Of 1,000 messages about" in done.stdout
    assert policy.promise in done.stdout
    assert "Not promised:" in done.stdout
    assert f"policy.json is written: {policy.name}." in done.stdout
    assert 3 == len(list((tmp_path / "p").glob("*.svg")))


def test_json_says_the_same(hunch, record, tmp_path):
    """Programs get numbers, the promise and the sentences in one document."""
    done = hunch("calibrate", record, "--goal", "agreement=0.8", "--json", "--out", "x.json")

    said, policy = json.loads(done.stdout), parsed((tmp_path / "x.json").read_bytes(), "x.json")
    assert (True, policy.name, policy.tau) == (said["is_certified"], said["policy"], said["tau"])
    assert policy.judged == said["judged"]
    assert policy.promise in said["explanation"]


def test_what_cannot_be_guaranteed_writes_no_policy(hunch, record, tmp_path):
    """Code 4, one sentence, what was found all the same, and no file."""
    done = hunch("calibrate", record, "--goal", "selective-risk=0.0001", "--json")

    assert 4 == done.returncode
    assert "selective-risk 0.0001 cannot be guaranteed" in done.stderr
    assert done.stderr.endswith("No policy is written.\n")
    assert not json.loads(done.stdout)["is_certified"]
    assert not (tmp_path / "policy.json").exists()


def test_rows_that_contradict_the_promise_write_no_policy(hunch, record, tmp_path):
    """Judged by rows on which the fast model is always wrong: code 4, a sentence and no file."""
    given = made.drawn(300)
    other = given._replace(right=(given.fast.argmax(axis=1) + 1) % 4)
    made.record(tmp_path / "other", other, inputs=range(5000, 5300))

    done = hunch("calibrate", record, "--goal", "selective-risk=0.1", "--judge", "other")

    assert 4 == done.returncode
    assert "is 100 %, above 10 %, against what the rows that chose tau promise" in done.stderr
    assert not (tmp_path / "policy.json").exists()


@pytest.mark.usefixtures("record")
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere", "--goal", "agreement=0.9"], "There is no record in nowhere: make one with"),
        (["r", "--goal", "agreement"], "--goal agreement has no limit: write NAME=NUMBER"),
        (["r", "--goal", "agreement=much"], "--goal agreement=much is no number: write NAME="),
        (["r", "--goal", "luck=0.9"], "There is no goal 'luck': use one of accuracy-within"),
        (["r", "--goal", "agreement=95"], "The goal agreement is 95.0, but must lie from 0 to 1."),
        (["r", "--goal", "agreement=0.8", "--confidence", "1"], "The confidence is 1.0, but must"),
        (["r", "--goal", "agreement=0.8", "--judge", "r"], "2,000 of the 2,000 inputs in r are in"),
        (["r", "--goal", "agreement=0.8", "--out", "no/p.json"], "no/p.json cannot be written"),
        (["r", "--goal", "agreement=0.8", "--plots", "r/record.json"], "r/record.json cannot be"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, list) else "",
)
def test_a_mistake_is_one_sentence(hunch, arguments, sentence):
    """Nothing on stdout, one line on stderr, code 2."""
    done = hunch("calibrate", *arguments)

    assert done.stderr.startswith(f"hunch: {sentence}")
    assert ("", 1, 2) == (done.stdout, done.stderr.count("\n"), done.returncode)


def test_without_the_extra_both_commands_say_what_to_install(hunch, record, tmp_path):
    """Where pyarrow is not installed the answer is a sentence with the command that installs it."""
    hidden = tmp_path / "sitecustomize.py"
    hidden.write_text(
        "import sys, importlib.util as u\n"
        "found = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'pyarrow' else found(name, *more)\n"
    )
    for arguments in (["record", "x.jsonl", "--out", "o"], ["calibrate", record, "--goal", "a=1"]):
        done = hunch(*arguments, PYTHONPATH=f"{tmp_path}:{made.APP}")

        sentence = "hunch: This command needs pyarrow: pip install 'hunch-stream[calibrate]'.\n"
        assert (sentence, 2) == (done.stderr, done.returncode)
