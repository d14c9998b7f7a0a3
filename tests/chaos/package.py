"""A copy of the package under test: edits meanwhile do not matter, and mutants have their own."""

import shutil
from pathlib import Path

from tests.brokers import ROOT


def copy_app(app: Path, folder: Path) -> Path:
    """A copy of `app` that finds the bundled models and topics beside it."""
    copied = folder / "app"
    shutil.copytree(app, copied, ignore=shutil.ignore_patterns("__pycache__"))
    for room in ("models", "topics"):
        (folder / room).symlink_to(ROOT / room)
    return copied
