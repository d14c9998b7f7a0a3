"""Where the bundled models and topic files lie: in the wheel, or in a checkout beside `app/`."""

from pathlib import Path


def bundled(room: str) -> Path:
    """The folder `models` or `topics` that came with this installation."""
    package = Path(__file__).parent
    in_wheel = package / "bundled" / room
    return in_wheel if in_wheel.is_dir() else package.parents[1] / room
