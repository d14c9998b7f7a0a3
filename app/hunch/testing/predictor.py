"""A model whose answers, speed and failures a test chooses."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson

from hunch.clock import Clock
from hunch.core.envelope import Reason
from hunch.errors import InferenceFailed
from hunch.inference.outputs import calibrated
from hunch.inference.predictor import Prediction

Answer = Callable[[dict[str, Any]], Sequence[float]]
"""From a decoded message to one probability a label; `ValueError` spoils the row, not the batch."""


class StubPredictor:
    """A `hunch.inference.predictor.Predictor` that calls a function for each row.

    Args:
        answer: from a message to its k probabilities; a `ValueError` becomes the row's error.
        model: `name@version`, as decisions name it.
        labels: the k labels.
        service_ms: how long one batch takes on `clock`.
        clock: what the service time is waited on; needed when `service_ms` is over 0.

    Attributes:
        batch_sizes: the number of rows of every batch asked for, failed ones too.
        is_started: whether `start` was called, and `stop` not since.
    """

    def __init__(
        self,
        answer: Answer,
        *,
        model: str = "stub@1",
        labels: tuple[str, ...] = ("a", "b"),
        service_ms: float = 0.0,
        clock: Clock | None = None,
    ) -> None:
        if service_ms > 0.0 and clock is None:
            raise ValueError("A service time passes on a clock: give clock=.")
        self.model = model
        self.labels = labels
        self.service_ms = service_ms
        self.batch_sizes: list[int] = []
        self.is_started = False
        self._answer = answer
        self._clock = clock
        self._failures = 0
        self._runs = asyncio.Event()
        self._runs.set()

    async def start(self) -> None:
        """Makes the model ready."""
        self.is_started = True

    async def stop(self) -> None:
        """Ends the model."""
        self.is_started = False

    def fail_next(self, count: int = 1) -> None:
        """Makes the next `count` batches raise `InferenceFailed`, after their service time."""
        self._failures += count

    def hang(self) -> None:
        """Lets no batch come back until `resume`."""
        self._runs.clear()

    def resume(self) -> None:
        """Ends `hang`; the batches that hung come back."""
        self._runs.set()

    async def predict(
        self, values: Sequence[bytes | None], temperature: float | None = None
    ) -> Prediction:
        """Answers one batch; raises `InferenceFailed` when `fail_next` said so."""
        self.batch_sizes.append(len(values))
        fails, self._failures = self._failures > 0, max(0, self._failures - 1)
        await self._runs.wait()
        if self._clock is not None and self.service_ms > 0.0:
            await self._clock.sleep(self.service_ms)
        if fails:
            raise InferenceFailed(f"The stub {self.model} was told to fail this batch.")
        return self._predict(values, temperature or 1.0)

    def _predict(self, values: Sequence[bytes | None], temperature: float) -> Prediction:
        ids: list[str | int | None] = [None] * len(values)
        probabilities = np.zeros((len(values), len(self.labels)), dtype=np.float32)
        errors: dict[int, tuple[str, str]] = {}
        for row, value in enumerate(values):
            if value is None:
                errors[row] = (Reason.TOMBSTONE, "The message has no value.")
                continue
            try:
                message = orjson.loads(value)
            except orjson.JSONDecodeError as error:
                errors[row] = (Reason.UNDECODABLE, f"The value is not JSON: {error}.")
                continue
            if not isinstance(message, dict):
                errors[row] = (Reason.UNDECODABLE, "The value is not a JSON object.")
                continue
            own_id = message.get("id")
            ids[row] = own_id if type(own_id) in {str, int} else None
            try:
                probabilities[row] = self._answer(message)
            except ValueError as error:
                errors[row] = (Reason.BAD_INPUT, str(error))
        if temperature != 1.0:
            probabilities, _ = calibrated(probabilities, "probabilities", temperature)
            probabilities[list(errors)] = 0.0
        return Prediction(
            ids=ids, probabilities=probabilities, errors=errors, elapsed_ms=self.service_ms
        )
