"""`hunch …` as ever, with a slow model that is really slow, and a member that is late to notice.

What is odd stands in the environment variable `CHAOS_ODDITIES`, as JSON:

    notice_ms   how long after a rebalance this process hears of its outcome: until then its lanes of
                partitions that are somebody else's by now go on, and only the fence holds them off
    seed        of the slow model's delays and failures; 0 lets it be as fast as it is
"""

import asyncio
import json
import os
import random
from collections.abc import Collection, Sequence
from typing import Any

from hunch import assembly
from hunch.cli import main as hunch
from hunch.errors import InferenceFailed
from hunch.inference.onnx import OnnxPredictor
from hunch.inference.predictor import Prediction
from hunch.kafka.member import Member

VARIABLE = "CHAOS_ODDITIES"
SHARE_FAILED = 0.03
SHARE_LONG = 0.04
USUAL_MS = (5.0, 90.0)
LONG_MS = (300.0, 1_600.0)


def program() -> str:
    """The Python that runs this in place of `hunch`."""
    return f"from {__name__} import main; main()"


def _oddities() -> dict[str, Any]:
    told: dict[str, Any] = json.loads(os.environ.get(VARIABLE, "{}"))
    return told


class LateMember(Member):
    """Hears late of what it owns."""

    async def on_partitions_assigned(self, assigned: Collection[Any]) -> None:
        """Goes on for a while as if nothing had changed."""
        await asyncio.sleep(_oddities().get("notice_ms", 0) / 1000)
        await super().on_partitions_assigned(assigned)


class SlowPredictor(OnnxPredictor):
    """The slow model with delays, of which some are longer than Δ, and failures."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        seed = _oddities().get("seed", 0)
        is_odd = bool(seed) and self.model.startswith("digits-slow")
        self._chance = random.Random(f"{seed} {os.getpid()}") if is_odd else None

    async def predict(self, values: Sequence[bytes | None]) -> Prediction:
        """Waits first, and fails now and then."""
        if self._chance is not None:
            is_long = self._chance.random() < SHARE_LONG
            await asyncio.sleep(self._chance.uniform(*(LONG_MS if is_long else USUAL_MS)) / 1000)
            if self._chance.random() < SHARE_FAILED:
                raise InferenceFailed("The chaos harness told this batch to fail.")
        return await super().predict(values)


def main() -> None:
    """Runs `hunch` with what is odd in place."""
    assembly.Member = LateMember  # type: ignore[misc]
    assembly.OnnxPredictor = SlowPredictor  # type: ignore[misc]
    hunch()
