"""Policies for tests: the bundled pair's, with whatever a test changes."""

from typing import Any

from hunch.assembly import find_pair
from hunch.core.policy import Contents, Policy, named
from hunch.settings import Settings


def contents(**changes: Any) -> Contents:
    """What a policy for the bundled digits says."""
    pair = find_pair(Settings())
    models = {
        side: {"name": model.name, "version": model.version, "sha256": model.sha256}
        for side, model in zip(("fast", "slow"), pair, strict=True)
    }
    fields: dict[str, Any] = {
        "created": "2026-11-25T12:00:00Z",
        "method": "chosen by a test",
        "promise": "Nothing is promised.",
        "goal": {"name": "slow-share", "limit": 0.2, "confidence": 0.95},
        "tau": 0.8,
        "temperatures": {
            side: model.temperature for side, model in zip(("fast", "slow"), pair, strict=True)
        },
        "models": models,
        "data": {"sha256": "0" * 64, "rows": {"fit": 1, "choose": 2, "judge": 3}, "seed": 0},
    }
    return Contents.model_validate(fields | changes)


def policy(**changes: Any) -> Policy:
    """A policy for the bundled digits; `stem` is what its name begins with."""
    stem = changes.pop("stem", "test")
    return named(stem, contents(**changes))
