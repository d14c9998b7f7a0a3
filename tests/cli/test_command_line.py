"""The command line from outside: mistakes are one sentence, settings are shown and written."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from hunch import __version__
from hunch.cli.init import as_toml
from hunch.settings import LOGICAL_TOPICS, Settings

APP = Path(__file__).resolve().parents[2] / "app"


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["tial"], 2, "No such command 'tial'. Did you mean 'tail'?"),
        (["frobnicate"], 2, "No such command 'frobnicate'."),
        (["tail", "--jsn"], 2, "No such option: --jsn"),
        (["tail", "decisons"], 2, "Invalid value for 'topic': 'decisons' is not one of"),
        (["tail", "--limit", "0"], 2, "Invalid value for '--limit'"),
        (["send"], 2, "Missing argument 'FILE'."),
        (["send", "nowhere.jsonl"], 2, "There is no file nowhere.jsonl: correct the path"),
        (["send", "-", "--repeat", "2"], 2, "stdin can be read only once"),
        (["run", "fsat"], 2, 'stages = ["fsat"] (command line) is not allowed'),
        (["run", "--tau", "2"], 2, 'tau = "2" (command line) is not allowed'),
        (["run", "--set", "taw=1"], 2, "There is no setting 'taw' (command line): did you mean"),
        (["config", "--set", "tau"], 2, "--set tau has no value: write --set KEY=VALUE."),
        (["--config", "nowhere.toml", "config"], 2, "There is no settings file nowhere.toml"),
        (["config", "--config", "nowhere.toml"], 2, "There is no settings file nowhere.toml"),
        (["tail", "--bootstrap", "kafka"], 2, 'bootstrap = "kafka" (command line) is not allowed'),
        (["tail", "--bootstrap", "embedded"], 2, "The embedded broker lives inside `hunch run`"),
        (["tail", "--bootstrap", "127.0.0.1:1"], 3, "No Kafka broker answers at 127.0.0.1:1"),
        (["init", "no/such/folder/hunch.toml"], 2, "no/such/folder/hunch.toml cannot be written"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, list) else "",
)
def test_a_mistake_is_one_sentence_and_a_code(hunch, arguments, code, sentence):
    """No stack trace, nothing on stdout, one line that says what is wrong."""
    done = hunch(*arguments)

    assert done.stderr.startswith(f"hunch: {sentence}")
    assert 1 == done.stderr.count("\n")
    assert ("", code) == (done.stdout, done.returncode)


def test_a_bad_environment_is_one_sentence(hunch):
    """Variables are checked like everything else."""
    done = hunch("config", HUNCH_TUA="1")

    expected = "hunch: There is no setting 'tua' (HUNCH_TUA): did you mean 'tau'?\n"
    assert (expected, 2) == (done.stderr, done.returncode)


def test_version_and_help_are_there(hunch):
    """Both work without a broker, a model or a settings file."""
    assert f"hunch {__version__}\n" == hunch("--version").stdout
    helped = hunch("--help")
    assert 0 == helped.returncode
    assert all(word in helped.stdout for word in ("run", "send", "tail", "topics", "init"))


def test_config_shows_each_value_and_its_source(hunch, tmp_path):
    """A person sees what is in force and who said so."""
    (tmp_path / "hunch.toml").write_text("delta_ms = 7\n")

    lines = hunch("config", "--set", "partitions=2", HUNCH_TAU="0.5").stdout.splitlines()

    rows = {row[0]: row[1:3] for row in (line.split("\t") for line in lines)}
    assert set(Settings.model_fields) == set(rows)
    assert ["0.5", "HUNCH_TAU"] == rows["tau"]
    assert ["7", "hunch.toml"] == rows["delta_ms"]
    assert ["2", "command line"] == rows["partitions"]
    assert ["off", "default"] == rows["max_age_ms"]


def test_config_as_json_masks_secrets(hunch):
    """A program gets every key; a secret is never in it."""
    done = hunch(
        "config",
        "--json",
        HUNCH_SECURITY_PROTOCOL="SASL_SSL",
        HUNCH_SASL_PLAIN_USERNAME="u",
        HUNCH_SASL_PLAIN_PASSWORD="hunter2",
    )

    shown = json.loads(done.stdout)
    assert {
        "value": "u",
        "source": "HUNCH_SASL_PLAIN_USERNAME",
        "meaning": "User for SASL.",
    } == shown["sasl_plain_username"]
    assert "HUNCH_SASL_PLAIN_PASSWORD" == shown["sasl_plain_password"]["source"]
    assert "hunter2" not in done.stdout


def test_init_writes_a_file_that_changes_nothing(hunch, tmp_path):
    """All lines are comments, so the file is safe to have; a second time needs --force."""
    assert 0 == hunch("init").returncode
    assert {} == tomllib.loads((tmp_path / "hunch.toml").read_text())

    again = hunch("init")
    assert "hunch: hunch.toml exists: add --force to overwrite it.\n" == again.stderr
    assert 0 == hunch("init", "--force").returncode


def test_every_line_of_init_is_a_default_once_it_is_uncommented():
    """The file is a reference: each key stands there with the value that is in force without it."""
    text = re.sub(r"^# (\[topics\]|[\w-]+ = .*)$", r"\1", as_toml(), flags=re.MULTILINE)

    written = tomllib.loads(text)

    assert list(Settings.model_fields) == list(written)
    assert {logical: logical for logical in LOGICAL_TOPICS} == written.pop("topics")
    assert Settings() == Settings(**written)


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    """`hunch config | head -1` says nothing on stderr."""
    command = "from hunch.cli import main; main()"
    piped = f"{sys.executable} -c '{command}' config | true"

    done = subprocess.run(
        piped,
        shell=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(APP), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert "" == done.stderr
