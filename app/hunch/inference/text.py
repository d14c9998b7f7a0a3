"""Text for models that read tokens: a Hugging Face `tokenizer.json` makes the tensors.

Truncation and padding are as that file says. Texts are sorted by length and run in small batches
of similar length, because a model computes padding at the price of tokens.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from hunch.errors import ModelError
from hunch.inference.features import (
    SAMPLE_TEXT,
    Batches,
    Document,
    Feeds,
    RowErrors,
    missing,
)

TOKEN_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
ROWS_A_RUN = 4
"""Texts that run together: in a batch of 32, Banking77's int8 MiniLM takes 2.9 ms a text in runs of
1, 2.0 in runs of 4, 2.2 in runs of 8, and 4.7 in one run (one thread)."""


class TextFeatures:
    """Feeds one field of text as token ids, mask and type ids.

    Args:
        tokenizer: with truncation; its padding is applied here, batch by batch.
        field: the field of the message that holds the text.
        inputs: those of `TOKEN_INPUTS` that the model has, with their types.
    """

    def __init__(self, tokenizer: Tokenizer, field: str, inputs: dict[str, np.dtype[Any]]) -> None:
        self._padding: dict[str, Any] | None = tokenizer.padding
        tokenizer.no_padding()
        self.fields = frozenset({field})
        self._tokenizer = tokenizer
        self._field = field
        self._inputs = inputs

    def batches(self, documents: Sequence[Document]) -> tuple[Batches, RowErrors]:
        """Batches from the shortest texts to the longest."""
        errors: RowErrors = {}
        rows: list[int] = []
        encodings: list[Encoding] = []
        for row, document in enumerate(documents):
            text = document.get(self._field)
            if type(text) is str:
                rows.append(row)
                # One by one: encode_batch would use every core of the machine.
                encodings.append(self._tokenizer.encode(text))
            elif self._field in document:
                errors[row] = f"The field {self._field!r} must be a string."
            else:
                errors[row] = missing(self._field)
        lengths = np.array([len(encoding) for encoding in encodings], dtype=np.intp)
        order = np.argsort(lengths, kind="stable")
        numbers = np.array(rows, dtype=np.intp)
        return [
            (numbers[run], self._feeds([encodings[i] for i in run]))
            for run in self._runs(order, lengths)
        ], errors

    def sample(self) -> Document:
        """A sentence of usual length."""
        return {self._field: SAMPLE_TEXT}

    def _runs(self, order: NDArray[np.intp], lengths: NDArray[np.intp]) -> list[NDArray[np.intp]]:
        groups = [order]
        if self._padding is None:
            # Without padding only texts of one length fit into one tensor.
            groups = np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1)
        return [
            group[start : start + ROWS_A_RUN]
            for group in groups
            for start in range(0, len(group), ROWS_A_RUN)
        ]

    def _feeds(self, encodings: list[Encoding]) -> Feeds:
        if self._padding is not None:
            width = self._width(max(len(encoding) for encoding in encodings))
            for encoding in encodings:
                encoding.pad(
                    width,
                    direction=self._padding["direction"],
                    pad_id=self._padding["pad_id"],
                    pad_type_id=self._padding["pad_type_id"],
                    pad_token=self._padding["pad_token"],
                )
        columns = {
            "input_ids": lambda e: e.ids,
            "attention_mask": lambda e: e.attention_mask,
            "token_type_ids": lambda e: e.type_ids,
        }
        return {
            name: np.array([columns[name](encoding) for encoding in encodings], dtype=dtype)
            for name, dtype in self._inputs.items()
        }

    def _width(self, longest: int) -> int:
        padding = self._padding or {}
        width = max(longest, padding["length"] or 0)
        multiple = padding["pad_to_multiple_of"] or 1
        return -(-width // multiple) * multiple


def read_tokenizer(path: Path) -> Tokenizer:
    """A tokenizer that truncates as its file says, else at the length its config names.

    Raises `ModelError` where the file cannot be read.
    """
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing narrower
        raise ModelError(f"The tokenizer {path} cannot be read: {error}.") from error
    config = path.with_name("tokenizer_config.json")
    if tokenizer.truncation is None and config.is_file():
        longest = orjson.loads(config.read_bytes()).get("model_max_length")
        # Tokenizers without a limit carry 1e30.
        if isinstance(longest, int | float) and longest < 1_000_000:
            tokenizer.enable_truncation(int(longest))
    return tokenizer
