"""`hunch …` as ever, with a slow model that is really slow, and a few other things that are odd.

What is odd stands in the environment variable `CHAOS_ODDITIES`, as JSON:

    notice_ms   how late after a rebalance this process hears that it has lost a partition: until
                then that lane goes on, although it has a successor, and only the fence holds it off
    forgets     the share of answers about committed offsets that are empty, as a coordinator's are
                while it loads: on a young broker that takes no time, and would not be met
    seed        of all chances, and of the slow model's delays and failures; 0 leaves the model be
"""

import asyncio
import json
import os
import random
from collections.abc import Collection, Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient

from hunch import assembly
from hunch.cli import main as hunch
from hunch.errors import InferenceFailed
from hunch.inference.onnx import OnnxPredictor
from hunch.inference.predictor import Prediction
from hunch.kafka import aio
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


CHANCE = random.Random(f"{_oddities().get('seed')} {os.getpid()}")


class LateMember(Member):
    """Hears late of what it has lost."""

    async def on_partitions_assigned(self, assigned: Collection[Any]) -> None:
        """Where a partition is somebody else's by now, goes on for a while as if nothing were."""
        if set(self.terms) - {partition.partition for partition in assigned}:
            await asyncio.sleep(_oddities().get("notice_ms", 0) / 1000)
        await super().on_partitions_assigned(assigned)


class ForgetfulAdmin(AIOKafkaAdminClient):  # type: ignore[misc]  # aiokafka is untyped
    """Answers now and then as if its coordinator were loading."""

    async def list_consumer_group_offsets(self, *arguments: Any, **named: Any) -> Any:
        """The committed offsets, or nothing."""
        found = await super().list_consumer_group_offsets(*arguments, **named)
        return {} if CHANCE.random() < _oddities().get("forgets", 0.0) else found


class SlowPredictor(OnnxPredictor):
    """The slow model with delays, of which some are longer than Δ, and failures."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._is_odd = bool(_oddities().get("seed")) and self.model.startswith("digits-slow")

    async def predict(
        self, values: Sequence[bytes | None], temperature: float | None = None
    ) -> Prediction:
        """Waits first, and fails now and then."""
        if self._is_odd:
            is_long = CHANCE.random() < SHARE_LONG
            await asyncio.sleep(CHANCE.uniform(*(LONG_MS if is_long else USUAL_MS)) / 1000)
            if CHANCE.random() < SHARE_FAILED:
                raise InferenceFailed("The chaos harness told this batch to fail.")
        return await super().predict(values, temperature)


def main() -> None:
    """Runs `hunch` with what is odd in place."""
    vars(assembly).update(Member=LateMember, OnnxPredictor=SlowPredictor)
    vars(aio).update(AIOKafkaAdminClient=ForgetfulAdmin)
    hunch()
