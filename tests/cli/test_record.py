"""`hunch record` as a process: files, topics, kills, and mistakes in one sentence."""

import codecs
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.brokers import ROOT

from hunch.evaluation.parts import Folder

DYING = Path(__file__).with_name("dying.py")
DIGITS = ROOT / "models/digits"
ROWS = 700
"""More than one part holds."""


@pytest.fixture(scope="module")
def lines():
    """Digits with their labels, one a line."""
    return (DIGITS / "test.jsonl").read_bytes().splitlines(keepends=True)[:ROWS]


@pytest.fixture
def data(tmp_path, lines):
    """The same in a file of the working folder."""
    (tmp_path / "data.jsonl").write_bytes(b"".join(lines))
    return "data.jsonl"


@pytest.fixture
def files(tmp_path, lines, data):
    """The file of the record, and others: in another order, with mistakes, without a row."""
    contents = {
        "other.jsonl": b"".join(lines[::-1]),
        "unknown.jsonl": lines[0] + b'{"pixels": [], "label": "ten"}\n',
        "broken.jsonl": b"label;pixels\n",
        "empty.jsonl": b"\n",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return [data, *contents]


@pytest.fixture
def killed(tmp_path):
    """Runs `hunch record …` up to its n-th write below a folder; answers the exit code."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("HUNCH_")}

    def run(number, folder, *arguments):
        return subprocess.run(
            [sys.executable, DYING, str(number), folder, "record", *arguments, "--out", folder],
            cwd=tmp_path,
            env={**clean, "PYTHONPATH": str(ROOT / "app")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=50,
            check=False,
        ).returncode

    return run


def recorded(folder):
    """What of a record does not depend on when it was made: file → contents."""
    said = json.loads((folder / "record.json").read_bytes())
    parts = {path.name: path.read_bytes() for path in folder.glob("part-*")}
    return parts | {"record.json": said | {"created": None}}


def test_a_file_is_recorded_and_summed_up(hunch, data):
    """Rows, accuracies, agreement and service times, as text and as JSON."""
    done = hunch("record", data, "--out", "made")
    again = hunch("record", data, "--out", "made", "--json")

    assert (0, "") == (done.returncode, done.stderr)
    rows = dict(line.split("\t") for line in done.stdout.splitlines())
    assert "700, 700 with a label" == rows["rows"]
    assert {"fast model right", "slow model right", "models agree"} < set(rows)
    assert "ms for a batch of 1, " in rows["slow service time"]
    told = json.loads(again.stdout)
    assert (700, 700, 0) == (told["rows"], told["labelled"], told["repeats"])
    assert 0.9 < told["accuracy"]["fast"] < told["accuracy"]["slow"]
    assert ["1", "2", "4", "8", "16", "32"] == list(told["service_ms"]["fast"])


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_killed_at_any_write_it_goes_on_to_the_same_record(hunch, killed, data, tmp_path):
    """Kill -9 before every single write, one after another: nothing is lost, doubled or refused."""
    hunch("record", data, "--out", "whole")
    expected = recorded(tmp_path / "whole")

    for number in range(1, 50):
        folder = f"killed-{number}"
        code = killed(number, folder, data)
        done = hunch("record", data, "--out", folder)
        assert (0, number) == (done.returncode, number), done.stderr
        assert expected == recorded(tmp_path / folder)
        if code == 0:
            break
        assert -signal.SIGKILL == code
    else:
        pytest.fail("a record of two parts has more than 50 writes")
    assert number > len(expected) * 2


def test_killed_again_and_again_it_gets_done(hunch, killed, data, tmp_path):
    """Processes that each die at their fifth write finish the record between them."""
    hunch("record", data, "--out", "whole")
    codes: list[int] = []
    while not codes or codes[-1] != 0:
        codes.append(killed(5, "made", data))
        assert len(codes) < 20

    assert {-signal.SIGKILL} == set(codes[:-1])
    assert len(codes) > 1
    assert recorded(tmp_path / "whole") == recorded(tmp_path / "made")


def test_two_do_not_write_to_one_folder(hunch, killed, data, tmp_path):
    """The second is refused as long as the first is there; a kill leaves no lock behind."""
    killed(9, "made", data)
    first = Folder(tmp_path / "made")
    first.open()
    refused = hunch("record", data, "--out", "made")
    first.close()
    done = hunch("record", data, "--out", "made")

    assert (2, 1, "") == (refused.returncode, refused.stderr.count("\n"), refused.stdout)
    assert "Another `hunch record` writes to made: wait until it is done" in refused.stderr
    assert 0 == done.returncode


def test_a_file_may_begin_with_a_mark(hunch, tmp_path, lines):
    """Some editors put one before UTF-8."""
    (tmp_path / "marked.jsonl").write_bytes(codecs.BOM_UTF8 + b"".join(lines[:20]))
    done = hunch("record", "marked.jsonl", "--out", "made")

    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.startswith("rows\t20, 20 with a label\n")


def test_going_on_is_said(hunch, killed, data):
    """How many rows there are already, on stderr, so that a pipe is not disturbed."""
    killed(9, "made", data)
    done = hunch("record", data, "--out", "made")

    assert "hunch: 512 rows are recorded already: going on.\n" == done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("other.jsonl",), "holds a record of other data, data.jsonl: name another one with --out"),
        (
            ("data.jsonl", "--slow-model", "digits-fast"),
            "holds a record of other models, digits-fast@1 (",
        ),
        (("data.jsonl", "--label-field", "truth"), "holds a record made with another label_field"),
        (("data.jsonl", "--set", "max_batch_size=8"), "made with another max_batch_size, 32"),
    ],
    ids=["data", "models", "label field", "batch size"],
)
def test_another_record_is_never_continued(hunch, killed, files, arguments, said):
    """One sentence and code 2, and the unfinished record can still be finished."""
    killed(9, "made", files[0])
    refused = hunch("record", *arguments, "--out", "made")
    done = hunch("record", files[0], "--out", "made")

    assert (2, 1, "") == (refused.returncode, refused.stderr.count("\n"), refused.stdout)
    assert said in refused.stderr
    assert 0 == done.returncode


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Name a JSONL file, or give --topic"),
        (("data.jsonl", "--topic"), "Name a JSONL file, or give --topic"),
        (("nowhere.jsonl",), "There is no file nowhere.jsonl: correct the path"),
        (("data.jsonl", "--limit", "3"), "--limit is for --topic"),
        (("unknown.jsonl",), "The label 'ten' in line 2 of unknown.jsonl is unknown to the models"),
        (("broken.jsonl",), "There is no message in line 1 of broken.jsonl: it is not JSON"),
        (("empty.jsonl",), "There is no row in empty.jsonl"),
        (("data.jsonl", "--label-field", "pixels"), "The field 'pixels' in line 1 of data.jsonl"),
        (("data.jsonl", "--fast-model", "nowhere"), "There is no model at nowhere"),
        (("--topic", "--bootstrap", "127.0.0.1:1"), "No Kafka broker answers at 127.0.0.1:1"),
        (("--topic", "--bootstrap", "embedded"), "The embedded broker lives inside `hunch run`"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, tuple) else "",
)
@pytest.mark.usefixtures("files")
def test_a_mistake_is_one_sentence(hunch, tmp_path, arguments, said):
    """Nothing on stdout, and no folder is left behind."""
    done = hunch("record", *arguments, "--out", "made")

    assert ("", 1) == (done.stdout, done.stderr.count("\n"))
    assert said in done.stderr
    assert done.returncode in {2, 3}
    assert not (tmp_path / "made").exists()


def test_rows_that_no_model_answers_are_one_sentence(hunch, tmp_path):
    """The record is there, but there is nothing to choose tau by, and why."""
    (tmp_path / "data.jsonl").write_text('{"pixels": [1, 2]}\n' * 3)
    done = hunch("record", "data.jsonl", "--out", "made")

    assert (2, 1) == (done.returncode, done.stderr.count("\n"))
    assert "No row in made has an answer of the fast model" in done.stderr


def test_what_is_left_out_is_said(hunch, tmp_path, lines):
    """Repeats, and rows without an answer, on stderr."""
    odd = b"".join([*lines[:20], *lines[:3], b'{"pixels": [1, 2]}\n'])
    (tmp_path / "odd.jsonl").write_bytes(odd)
    done = hunch("record", "odd.jsonl", "--out", "made")

    assert done.stdout.startswith("rows\t20, 20 with a label\n")
    assert "each input counts once: 3 of the rows." in done.stderr
    assert "the fast model has no answer: 1 of the rows" in done.stderr


@pytest.fixture
def connection(embedded_broker, topic_prefix):
    """Settings of a broker with a topic of messages, as environment variables."""
    embedded_broker.create_topic(f"{topic_prefix}messages", 3)
    return {"HUNCH_BOOTSTRAP": embedded_broker.bootstrap, "HUNCH_TOPIC_PREFIX": topic_prefix}


def test_a_topic_is_recorded_like_a_file(hunch, connection, data):
    """The same rows with the same labels and answers, whatever partition they are in."""
    hunch("send", data, **connection)
    file = json.loads(hunch("record", data, "--out", "file", "--json").stdout)
    done = hunch("record", "--topic", "--out", "topic", "--json", **connection)

    assert (0, "") == (done.returncode, done.stderr)
    topic = json.loads(done.stdout)
    assert {key: topic[key] for key in ("rows", "labelled", "repeats", "failed")} == {
        key: file[key] for key in ("rows", "labelled", "repeats", "failed")
    }
    assert file["accuracy"] == topic["accuracy"]
    assert file["agreement"] == topic["agreement"]


def test_a_topic_that_grows_is_recorded_as_it_was_at_the_start(
    hunch, killed, connection, data, tmp_path
):
    """What arrives between a kill and the next start is no part of the record."""
    hunch("send", data, **connection)
    settings = [f"--set={name[6:].lower()}={value}" for name, value in connection.items()]
    code = killed(9, "made", "--topic", *settings)
    hunch("send", data, "--limit", "100", **connection)
    done = hunch("record", "--topic", *settings, "--out", "made", "--json")

    assert -signal.SIGKILL == code
    assert (ROWS, 0) == tuple(json.loads(done.stdout)[key] for key in ("rows", "repeats"))
    said = json.loads((tmp_path / "made/record.json").read_bytes())
    assert ROWS == sum(end - first for first, end in said["source"]["ranges"].values())


def test_a_limit_takes_the_latest_of_every_partition(hunch, connection, data, tmp_path):
    """About so many rows, from the end of each partition."""
    hunch("send", data, **connection)
    done = hunch("record", "--topic", "--limit", "70", "--out", "made", "--json", **connection)

    assert 67 <= json.loads(done.stdout)["rows"] <= 73
    said = json.loads((tmp_path / "made/record.json").read_bytes())
    assert ROWS == sum(end for _, end in said["source"]["ranges"].values())


def test_an_empty_topic_is_one_sentence(hunch, connection):
    """There is nothing to record."""
    done = hunch("record", "--topic", "--out", "made", **connection)

    assert (2, 1) == (done.returncode, done.stderr.count("\n"))
    assert "There is no row to record" in done.stderr


def test_a_topic_that_is_not_there_is_one_sentence(hunch, connection):
    """And none is made by asking for it."""
    done = hunch(
        "record", "--topic", "--out", "made", **connection | {"HUNCH_TOPIC_PREFIX": "other."}
    )

    assert 2 == done.returncode
    assert "There is no topic other.messages" in done.stderr
