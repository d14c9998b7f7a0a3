"""Choosing τ and Δ: both models' answers on known data, and what follows from them.

Needs what the extra `calibrate` brings; a command asks for it with `require_extra` before it
imports any module of this room.
"""

import importlib.util

from hunch.errors import ConfigError

INSTALL = "pip install 'hunch-stream[calibrate]'"
EXTRA = ("matplotlib", "plotly", "psutil", "pyarrow", "scipy")


def require_extra() -> None:
    """Raises `ConfigError` where something of the extra is not installed."""
    missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"This command needs {' and '.join(missing)}: {INSTALL}.")
