"""The README keeps its word: its commands run, its JSON fits the schemas, its targets exist."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from jsonschema import Draft202012Validator
from tests.brokers import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```([a-z ]*)\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)


def blocks(kind):
    """The fenced blocks of one kind, in order."""
    return [text for found, text in BLOCKS if found == kind]


def test_every_shell_command_of_the_readme_runs(kafka_bootstrap, topic_prefix, tmp_path):
    """Read from top to bottom in an empty folder, each command does what it is there for."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HUNCH_BOOTSTRAP": kafka_bootstrap,
        "HUNCH_TOPIC_PREFIX": topic_prefix,
    }
    (background,) = blocks("sh background")
    before, after = blocks("sh")

    def run(script):
        return subprocess.run(
            ["bash", "-euc", script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    prepared = run(before)
    assert prepared.returncode == 0, prepared.stderr
    with subprocess.Popen(
        background.split(), cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as stages:
        assert stages.stderr is not None
        assert any('"ready"' in line for line in stages.stderr)
        answered = run(after)
        stages.terminate()
        stages.stderr.read()
        code = stages.wait(20)

    assert answered.returncode == 0, answered.stderr
    decision = json.loads(answered.stdout.splitlines()[-1])["value"]
    assert ("m-1", "0") == (decision["id"], decision["label"])
    assert code == 0


def test_no_command_of_the_readme_goes_untested():
    """Every block is of a kind that some test here reads, and `hunch` is run in `sh` ones only."""
    assert {"", "sh", "sh background", "json"} == {kind for kind, _ in BLOCKS}
    assert not [text for text in blocks("") if re.search(r"^hunch ", text, flags=re.MULTILINE)]


def test_every_make_target_of_the_readme_exists():
    """What the README asks make for, make has."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    named = set(re.findall(r"make ([a-z]+)", README))
    assert {"demo", "test", "lint", "kafka"} <= named
    assert not {target for target in named if f"\n{target}:" not in makefile}


def test_the_decision_in_the_readme_follows_its_schema():
    """The example is a decision as it is published."""
    spec = json.loads((ROOT / "topics/decisions.json").read_text(encoding="utf-8"))
    (example,) = blocks("json")

    assert [] == list(Draft202012Validator(spec["value"]).iter_errors(json.loads(example)))


def test_every_path_in_the_readme_exists():
    """Files and folders that the README names are there."""
    named = re.findall(r"`((?:app|models|topics|tests)/[\w./-]*)`", README)

    assert named
    assert not [path for path in named if not (ROOT / path).exists()]
