"""Fixtures of the tests on what stands in deploy/: promtool, and the bundled digits."""

import shutil
import subprocess

import pytest
from tests.brokers import ROOT
from tests.conftest import lack


@pytest.fixture
def promtool():
    """A function that runs promtool and returns what it said; fails for another exit code."""
    program = shutil.which("promtool")
    if program is None:
        lack("The alerts need promtool: install Prometheus (Debian: apt install prometheus).")

    def run(*arguments, code=0):
        done = subprocess.run(
            [program, *map(str, arguments)], capture_output=True, text=True, timeout=30, check=False
        )
        said = done.stdout + done.stderr
        assert code == done.returncode, said
        return said

    return run


@pytest.fixture(scope="session")
def digits():
    """The bundled test digits, as messages."""
    return (ROOT / "models/digits/test.jsonl").read_bytes().splitlines()
