"""The command line in a process of its own, in an empty folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

APP = Path(__file__).resolve().parents[2] / "app"


@pytest.fixture
def hunch(tmp_path):
    """Runs `hunch …` as a user does; answers the finished process."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("HUNCH_")}

    def run(*arguments, stdin=None, **variables):
        return subprocess.run(
            [sys.executable, "-c", "from hunch.cli import main; main()", *arguments],
            cwd=tmp_path,
            env={**clean, "PYTHONPATH": str(APP), **variables},
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )

    return run
