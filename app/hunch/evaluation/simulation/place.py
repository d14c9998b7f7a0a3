"""Where a cascade runs: every number that belongs to a machine and its broker, none to a setting.

Measured at one load, they predict others. What no file says has a default, measured on two cores of
an x86-64 virtual machine with one Kafka 4.1.1; the times of the models come from the record.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Self

import numpy as np
import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hunch.core.policy import first_problem
from hunch.errors import DataError

MOST_MS = 600_000.0
Milliseconds = Annotated[float, Field(ge=0, le=MOST_MS, allow_inf_nan=False)]
ServiceSample = Annotated[float, Field(gt=0, le=MOST_MS, allow_inf_nan=False)]
Samples = dict[
    Annotated[int, Field(ge=1)], Annotated[tuple[ServiceSample, ...], Field(min_length=1)]
]
"""Batch size → the times of a batch of that size."""


class Place(BaseModel):
    """What is measured of a machine and its broker; all times in milliseconds.

    Attributes:
        fast: samples of the fast model's time by batch size.
        slow: the same of the slow model.
        fast_message_ms: what the fast stage takes for a message besides the model.
        slow_message_ms: the same in the slow stage.
        join_message_ms: the same in the joiner, for each deferral, result and timer.
        hop_ms: from the log to a reader.
        write_ms: from a lane's outbox into the log.
        timer_ms: how late a timer fires, on average.
        commit_ms: of a transaction, from its beginning until its records can be read.
        spread: of the times of the broker: the standard deviation of their logarithm.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    fast: Samples
    slow: Samples
    fast_message_ms: Milliseconds = 0.018
    slow_message_ms: Milliseconds = 0.05
    join_message_ms: Milliseconds = 0.08
    hop_ms: Milliseconds = 1.5
    write_ms: Milliseconds = 2.0
    commit_ms: Milliseconds = 8.0
    timer_ms: Milliseconds = 0.5
    spread: Annotated[float, Field(ge=0, le=3, allow_inf_nan=False)] = 0.4

    @model_validator(mode="after")
    def _has_times(self) -> Self:
        for side, samples in (("fast", self.fast), ("slow", self.slow)):
            if not samples:
                raise ValueError(f"there is no service time of the {side} model")
        return self


def read_place(path: Path | None, recorded: Mapping[str, Mapping[int, Sequence[float]]]) -> Place:
    """The place that a JSON file describes; what it leaves open is as recorded, or the default.

    Args:
        path: of the file, None for the defaults.
        recorded: side → batch size → samples of the model's time.

    Raises `DataError` for a file that cannot be used, and where nobody knows a service time.
    """
    where = "the record" if path is None else str(path)
    try:
        given = {} if path is None else orjson.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{where} cannot be read: {error.strerror}.") from error
    except orjson.JSONDecodeError as error:
        raise DataError(f"{where} is not JSON: {error}.") from None
    if not isinstance(given, dict):
        raise DataError(f"{where} must hold one JSON object with what is measured.")
    try:
        return Place.model_validate({**recorded, **given})
    except ValidationError as error:
        raise DataError(f"{where} cannot be used to simulate: {first_problem(error)}.") from None


class ModelTimes:
    """How long a model takes for a batch: medians in between, and how samples lie around them."""

    def __init__(self, samples: Samples) -> None:
        self.median_ms = {size: float(np.median(times)) for size, times in sorted(samples.items())}
        self.ratios = np.concatenate(
            [np.array(times) / self.median_ms[size] for size, times in sorted(samples.items())]
        )

    def table(self, largest: int) -> list[float]:
        """The median time of a batch of 0, 1, … `largest`: linear between the sizes that are known.

        Beyond them it grows in proportion.
        """
        sizes, times = list(self.median_ms), list(self.median_ms.values())
        wanted = np.arange(largest + 1, dtype=np.float64)
        found = np.interp(wanted, sizes, times)
        beyond = wanted > sizes[-1]
        found[beyond] = times[-1] * wanted[beyond] / sizes[-1]
        table: list[float] = found.tolist()
        return table

    def per_second(self, largest: int, processes: int, message_ms: float) -> float:
        """The most messages that so many processes answer, in the batch that suits them best."""
        table = self.table(largest)
        best_ms = min(table[size] / size for size in range(1, largest + 1)) + message_ms
        return processes * 1000.0 / best_ms if best_ms > 0 else math.inf
