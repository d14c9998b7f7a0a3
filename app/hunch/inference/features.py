"""From the bytes of a message to the named tensors that a model takes.

A bad row is reported by its number and spoils no other row. A whole batch is tried in one numpy
call; only when that fails are its rows looked at one by one, by the same rules.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from hunch.errors import WireError

Document = Mapping[str, Any]
Feeds = dict[str, NDArray[Any]]
Batches = list[tuple[NDArray[np.intp], Feeds]]
"""Row numbers, and what the model is fed for them; one entry for each run of the model."""
RowErrors = dict[int, str]
SAMPLE_TEXT = "I ordered a new card two weeks ago and it has still not arrived, what can I do?"
"""A message of usual length, to warm models up that read text."""


class Decoder(Protocol):
    """From the bytes of one message to its fields."""

    def __call__(self, value: bytes) -> Document:
        """Raises `WireError` with one sentence for bytes that mean nothing."""


class JsonDecoder:
    """Messages that are JSON objects."""

    def __call__(self, value: bytes) -> Document:
        """The fields of one object; raises `WireError` for anything else."""
        try:
            document = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise WireError(f"The message is not JSON: {error}.") from None
        if type(document) is not dict:
            raise WireError("The message is JSON but not an object: send {...} with named fields.")
        return document


class Features(Protocol):
    """Builds what one model is fed.

    Attributes:
        fields: of a message, those that are read.
    """

    fields: frozenset[str]

    def batches(self, documents: Sequence[Document]) -> tuple[Batches, RowErrors]:
        """Every row is in exactly one of the batches or in the errors."""

    def sample(self) -> Document:
        """A document that can be fed, of usual size."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input of a model.

    Attributes:
        name: the input in the graph.
        field: the field of the message that feeds it.
        dtype: of the numbers; `object` for strings.
        shape: of one row, without the batch dimension.
    """

    name: str
    field: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def column(self, values: Sequence[Any]) -> NDArray[Any]:
        """Values of n rows as one array [n, *shape]; raises `ValueError` with a sentence."""
        if self.shape in {(), (1,)}:
            values = [v[0] if type(v) is list and len(v) == 1 else v for v in values]
            shape: tuple[int, ...] = (len(values),)
        else:
            shape = (len(values), *self.shape)
        array = self._strings(values) if self.dtype == object else self._numbers(values, shape)
        return array.reshape(len(values), *self.shape)

    def sample(self) -> Any:
        """A value that fits."""
        if self.dtype == object:
            return np.full(self.shape, SAMPLE_TEXT, dtype=object).tolist()
        return np.zeros(self.shape, self.dtype).tolist()

    def _strings(self, values: Sequence[Any]) -> NDArray[Any]:
        if self.shape in {(), (1,)}:
            items: Sequence[Any] = values
        elif all(type(v) is list and len(v) == self.shape[0] for v in values):
            items = [item for value in values for item in value]
        else:
            raise ValueError(f"must be a list of {self.shape[0]} strings")
        if not all(type(item) is str for item in items):
            raise ValueError("must be a string" if items is values else "must hold strings only")
        array = np.empty(len(items), dtype=object)
        array[:] = items
        return array

    def _numbers(self, values: Sequence[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        try:
            array = np.array(values)
        except (ValueError, OverflowError):
            raise ValueError(f"must be {self._wanted()}, not lists of different lengths") from None
        kinds = {"f": "biuf", "b": "b"}.get(self.dtype.kind, "iu")
        if array.shape != shape:
            raise ValueError(f"must be {self._wanted()}, not of shape {list(array.shape[1:])}")
        if array.dtype.kind not in kinds:
            raise ValueError(f"must be {self._wanted()}")
        if self.dtype.kind in "iu":
            limits = np.iinfo(self.dtype)
            if array.size and (array.min() < limits.min or array.max() > limits.max):
                raise ValueError(f"must lie between {limits.min} and {limits.max}")
        with np.errstate(over="ignore"):
            cast = array.astype(self.dtype)
        if self.dtype.kind == "f" and not np.isfinite(cast).all():
            raise ValueError(f"has a number that {self.dtype} cannot hold")
        return cast

    def _wanted(self) -> str:
        kind = {"f": "number", "b": "truth value"}.get(self.dtype.kind, "whole number")
        if self.shape in {(), (1,)}:
            return f"a {kind}"
        return f"{' x '.join(map(str, self.shape))} {kind}s"


class TensorFeatures:
    """Feeds fields of numbers and strings to the tensors of their names; one run a batch."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.fields = frozenset(tensor.field for tensor in tensors)
        self._tensors = tuple(tensors)

    def batches(self, documents: Sequence[Document]) -> tuple[Batches, RowErrors]:
        """All good rows in one batch, in their order."""
        if not documents:
            return [], {}
        try:
            feeds = self._feeds(documents)
        except (KeyError, ValueError):
            return self._row_by_row(documents)
        return [(np.arange(len(documents)), feeds)], {}

    def sample(self) -> Document:
        """Zeros and a sentence."""
        return {tensor.field: tensor.sample() for tensor in self._tensors}

    def _feeds(self, documents: Sequence[Document]) -> Feeds:
        return {
            tensor.name: tensor.column([document[tensor.field] for document in documents])
            for tensor in self._tensors
        }

    def _row_by_row(self, documents: Sequence[Document]) -> tuple[Batches, RowErrors]:
        parts: list[Feeds] = []
        good: list[int] = []
        errors: RowErrors = {}
        for row, document in enumerate(documents):
            part: Feeds = {}
            for tensor in self._tensors:
                try:
                    part[tensor.name] = tensor.column([document[tensor.field]])
                except KeyError:
                    errors[row] = missing(tensor.field)
                    break
                except ValueError as error:
                    errors[row] = f"The field {tensor.field!r} {error}."
                    break
            else:
                good.append(row)
                parts.append(part)
        if not good:
            return [], errors
        feeds = {t.name: np.concatenate([part[t.name] for part in parts]) for t in self._tensors}
        return [(np.array(good), feeds)], errors


def missing(field: str) -> str:
    """The sentence for a message that lacks a field."""
    return f"The message has no field {field!r}, which the model needs."
