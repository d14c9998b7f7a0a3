"""`hunch …` as ever, with a slow model that is really slow, and a member that is late to notice.

What is odd stands in the environment variable `CHAOS_ODDITIES`, as JSON:

    notice_ms   how late after a rebalance this process hears that it has lost a partition: until
                then that lane goes on, although it has a successor, and only the fence holds it off
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
    """Hears late of what it has lost."""

    async def on_partitions_assigned(self, assigned: Collection[Any]) -> None:
        """Where a partition is somebody else's by now, goes on for a while as if nothing were."""
        if set(self.terms) - {partition.partition for partition in assigned}:
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
    vars(assembly).update(Member=LateMember, OnnxPredictor=SlowPredictor)
    hunch()
