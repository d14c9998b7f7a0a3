"""Every setting of Hunch: its default, its meaning, and where its value came from."""

from hunch.settings.kinds import LOGICAL_TOPICS, STAGES
from hunch.settings.loading import (
    COMMAND_LINE,
    CONFIG_FILE,
    DEFAULT,
    Loaded,
    load,
    read_policy,
    suggestion,
)
from hunch.settings.value import MASK, Settings, is_secret

__all__ = [
    "COMMAND_LINE",
    "CONFIG_FILE",
    "DEFAULT",
    "LOGICAL_TOPICS",
    "MASK",
    "STAGES",
    "Loaded",
    "Settings",
    "is_secret",
    "load",
    "read_policy",
    "suggestion",
]
