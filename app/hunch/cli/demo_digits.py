"""The bundled test digits: as messages without their labels, and what the slow model says."""

from typing import Self

import orjson

from hunch.bundled import bundled
from hunch.clock import Clock
from hunch.errors import ConfigError
from hunch.inference.onnx import OnnxPredictor
from hunch.inference.repository import load

SLOW_MODEL = "digits-slow"
BATCH = 128
ID_START = "demo-"


class Digits:
    """The digits in the order of the file, again from the first after the last.

    Attributes:
        labels: what each digit really is.
    """

    def __init__(self, lines: list[bytes]) -> None:
        rows = [orjson.loads(line) for line in lines]
        self.labels: tuple[str, ...] = tuple(row["label"] for row in rows)
        self._pixels = [row["pixels"] for row in rows]

    @classmethod
    def bundled(cls) -> Self:
        """Those that came with this installation; raises `ConfigError` where they did not."""
        path = bundled("models") / "digits" / "test.jsonl"
        try:
            return cls(path.read_bytes().splitlines())
        except OSError as error:
            msg = f"The digits of the demo are not at {path}: install hunch-stream again."
            raise ConfigError(msg) from error

    def message(self, number: int) -> bytes:
        """The message of this number; its id tells the number, nothing tells the label."""
        pixels = self._pixels[number % len(self._pixels)]
        return orjson.dumps({"id": f"{ID_START}{number}", "pixels": pixels})

    def spoilt(self, number: int) -> bytes:
        """The same with half of its pixels: no model can read it."""
        pixels = self._pixels[number % len(self._pixels)]
        return orjson.dumps({"id": f"{ID_START}{number}", "pixels": pixels[: len(pixels) // 2]})

    def label(self, number: int) -> str:
        """What the message of this number shows."""
        return self.labels[number % len(self.labels)]

    async def slow_alone(self, clock: Clock) -> tuple[bool, ...]:
        """For each digit whether the slow model is right, asked here and without Kafka."""
        predictor = OnnxPredictor(load(SLOW_MODEL), clock=clock, max_batch_size=BATCH)
        await predictor.start()
        try:
            said: list[str] = []
            for start in range(0, len(self.labels), BATCH):
                stop = min(start + BATCH, len(self.labels))
                values = [self.message(number) for number in range(start, stop)]
                best = (await predictor.predict(values)).probabilities.argmax(axis=1)
                said += [predictor.labels[column] for column in best]
        finally:
            await predictor.stop()
        return tuple(a == b for a, b in zip(said, self.labels, strict=True))


def number_of(message_id: object) -> int | None:
    """The number in a message's id; None for an id that is not the demo's."""
    text = message_id.removeprefix(ID_START) if isinstance(message_id, str) else ""
    return int(text) if text.isascii() and text.isdigit() else None
