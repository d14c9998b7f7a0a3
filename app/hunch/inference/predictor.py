"""What a stage asks of a model: `Predictor`. Its ONNX Runtime form lives in `onnx.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The columns of one predicted batch of n messages over k labels.

    Attributes:
        ids: the `id` field of each message (None where absent or undecodable), length n.
        probabilities: float32 [n, k], temperature applied, rows sum to 1; rows in `errors` are 0.
        errors: row → (reason, sentence) for what could not be decoded or fed to the model.
        elapsed_ms: wall time of decoding and inference together.
        energies: float64 [n], `T · log Σ exp(logits / T)`; None where the model gives no logits.
    """

    ids: Sequence[str | int | None]
    probabilities: NDArray[np.float32]
    errors: Mapping[int, tuple[str, str]]
    elapsed_ms: float
    energies: NDArray[np.float64] | None = None


class Predictor(Protocol):
    """A model that answers batches of messages.

    Attributes:
        model: `name@version`, as decisions name it.
        labels: the k labels, in the order of the columns.
    """

    model: str
    labels: tuple[str, ...]

    async def start(self) -> None:
        """Loads and warms the model; afterwards `predict` is fast from the first call."""

    async def predict(
        self, values: Sequence[bytes | None], temperature: float | None = None
    ) -> Prediction:
        """Predicts one batch of raw message values; never blocks the event loop.

        The temperature divides the logits; None is the model's own.
        A bad row is an entry in `errors` and spoils no other row. Raises `InferenceFailed` when the
        whole batch failed, `ProcessStuck` when the model did not come back in time.
        """

    async def stop(self) -> None:
        """Lets go of the model."""


class Observed:
    """A predictor that tells whether it has a batch in hand."""

    def __init__(self, predictor: Predictor) -> None:
        self.model = predictor.model
        self.labels = predictor.labels
        self._predictor = predictor
        self._in_hand = 0

    def is_computing(self) -> bool:
        """Whether a batch is in the model; one that hangs ends the process by itself."""
        return self._in_hand > 0

    async def start(self) -> None:
        """Loads and warms the model."""
        await self._predictor.start()

    async def predict(
        self, values: Sequence[bytes | None], temperature: float | None = None
    ) -> Prediction:
        """Predicts one batch."""
        self._in_hand += 1
        try:
            return await self._predictor.predict(values, temperature)
        finally:
            self._in_hand -= 1

    async def stop(self) -> None:
        """Lets go of the model."""
        await self._predictor.stop()
