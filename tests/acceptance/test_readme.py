"""The README keeps its word: its commands run, its JSON fits the schemas, its settings are all.

A fenced block is a kind and perhaps what it is of: `sh` (run), `sh background` (started, and ended
after the last block), `json TOPIC` and `json TOPIC header` (checked by the topic's schema), `toml`
(read as settings) and `text` (what a reader sees). Any other kind, and any command that this test
cannot place, fails.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from tests.brokers import ROOT

from hunch.cli import COMMANDS
from hunch.settings import Settings

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```([^\n]*)\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
PROSE = re.sub(r"^```.*?^```$", "", README, flags=re.DOTALL | re.MULTILINE)
INLINE = [" ".join(text.split()) for text in re.findall(r"`([^`]+)`", PROSE)]
SHELL = ("sh", "sh background")
RUN_HERE = {"hunch", "echo"}
RUN_BY_CI = {"make"}


def lines(*kinds):
    """The lines of all blocks of these kinds, in order."""
    return [line for kind, text in BLOCKS for line in text.splitlines() if kind in kinds and line]


def schema_of(topic, part):
    """The schema of a topic's value, or of the JSON in its `hunch` header."""
    spec = json.loads((ROOT / f"topics/{topic}.json").read_text(encoding="utf-8"))
    return spec["headers"]["hunch"]["schema_of_json"] if part == "header" else spec["value"]


class Reader:
    """Follows the README in one empty folder, from top to bottom."""

    def __init__(self, folder, bootstrap, prefix):
        self.said = ""
        self._folder = folder
        self._environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HUNCH_BOOTSTRAP": bootstrap,
            "HUNCH_TOPIC_PREFIX": prefix,
        }

    def run(self, script):
        """Runs the commands of a block; they succeed."""
        done = subprocess.run(
            ["bash", "-euc", script],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert 0 == done.returncode, f"{script}\n{done.stdout}{done.stderr}"
        self.said = done.stdout

    @contextlib.contextmanager
    def running(self, command):
        """Starts the stages and waits until they are ready; in the end SIGTERM, and code 0."""
        log = self._folder / "stages.log"
        with (
            log.open("w") as written,
            log.open() as read,
            subprocess.Popen(
                command.split(), cwd=self._folder, env=self._environment, stderr=written
            ) as stages,
        ):
            try:
                seen = ""
                while '"ready"' not in seen:
                    seen += read.read()
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        raise AssertionError(f"{command} ended {stages.wait(0.1)}:\n{seen}")
                yield
            finally:
                stages.terminate()
                code = stages.wait(20)
        assert 0 == code, log.read_text()


@pytest.mark.timeout(180, func_only=True)
def test_every_command_of_the_readme_runs(kafka_bootstrap, topic_prefix, tmp_path):
    """Read from top to bottom in an empty folder, each command does what it is there for."""
    (tmp_path / "models").symlink_to(ROOT / "models")
    reader = Reader(tmp_path, kafka_bootstrap, topic_prefix)
    tailed = ""

    with contextlib.ExitStack() as background:
        for kind, text in BLOCKS:
            if kind == "sh background":
                background.enter_context(reader.running(text))
            elif kind == "sh" and text.split()[0] in RUN_HERE:
                reader.run(text)
                tailed = reader.said if "hunch tail" in text else tailed

    decision = json.loads(tailed)["value"]
    assert [] == list(Draft202012Validator(schema_of("decisions", "")).iter_errors(decision))
    assert ("m-1", "1") == (decision["id"], decision["fast"]["label"])
    assert decision["path"] in {"slow", "fallback"}  # a machine under load may take over 500 ms


def test_no_command_of_the_readme_goes_untested():
    """Each command is run above, or by .ci/run; no other block hides one."""
    steps = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    kinds = {kind.split(" ")[0] for kind, _ in BLOCKS}
    assert {"sh", "json", "toml", "text"} == kinds

    for kind, text in BLOCKS:
        first = [line.split()[0] for line in text.splitlines() if line.strip()]
        if kind in SHELL:
            assert set(first) <= RUN_HERE or set(first) <= RUN_BY_CI, text
        else:
            assert not set(first) & {*RUN_HERE, *RUN_BY_CI, "$", "pip", "python", "git"}, text
    for command in lines("sh"):
        if command.split()[0] in RUN_BY_CI:
            assert any(step == command or step.startswith(f"{command} ") for step in steps), command


def test_every_command_in_a_sentence_exists():
    """What the README asks make and hunch for between the blocks, they have."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    asked = [text.split() for text in INLINE if text.startswith(("make ", "hunch "))]
    assert asked
    for word, what, *_ in asked:
        assert what in COMMANDS if word == "hunch" else f"\n{what}:" in makefile, (word, what)


@pytest.mark.parametrize(
    ("kind", "text"), [block for block in BLOCKS if block[0].startswith("json")]
)
def test_json_in_the_readme_follows_its_schema(kind, text):
    """The examples are what is published, or what Hunch reads."""
    _, topic, *part = kind.split(" ")
    validator = Draft202012Validator(schema_of(topic, "".join(part)))

    assert [] == list(validator.iter_errors(json.loads(text)))


def test_settings_in_the_readme_are_settings():
    """The examples of hunch.toml are taken as they stand."""
    examples = [tomllib.loads(text) for kind, text in BLOCKS if kind == "toml"]

    assert examples
    for example in examples:
        assert set(example) == Settings(**example).model_fields_set


def test_the_readme_names_every_setting():
    """The table has each key with its default and meaning, in order, as `hunch init` has them."""
    defaults = Settings().model_dump(mode="json")

    expected = []
    for key, field in Settings.model_fields.items():
        value = "off" if defaults[key] is None else defaults[key]
        shown = value if isinstance(value, str) else json.dumps(value)
        expected.append(f"| `{key}` | {f'`{shown}`' if shown else ''} | {field.description} |")
    _, table = README.split("| key | default | meaning |\n| --- | --- | --- |\n")
    assert expected == table.split("\n\n")[0].splitlines()


def test_every_path_in_the_readme_exists():
    """Files and folders that the README names are there."""
    named = [text for text in INLINE if re.match(r"(app|bench|models/digits|topics|tests)/", text)]

    assert named
    assert [] == [path for path in named if not (ROOT / path).exists()]
