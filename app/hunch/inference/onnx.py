"""Models that ONNX Runtime runs: `OnnxPredictor`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from hunch.clock import Clock
from hunch.core.envelope import Reason
from hunch.errors import InferenceFailed, InvariantBroken, ModelError, ProcessStuck, WireError
from hunch.inference.features import (
    Decoder,
    Document,
    Features,
    JsonDecoder,
    Tensor,
    TensorFeatures,
)
from hunch.inference.outputs import OutputKind, as_scores, calibrated
from hunch.inference.predictor import Prediction
from hunch.inference.repository import DESCRIPTION, Output, StoredModel, TensorInput
from hunch.inference.session import first_line, open_session, row_type
from hunch.inference.text import TOKEN_INPUTS, TextFeatures, read_tokenizer
from hunch.inference.worker import Worker

MAX_ID_CHARACTERS = 1_000
WARM_UPS = 3
"""Runs of each warm-up batch; the last is the one that is timed."""
T = TypeVar("T")
Errors = dict[int, tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What a model puts out for n messages over k labels, as it is.

    Attributes:
        ids: the `id` field of each message (None where absent or undecodable), length n.
        scores: float32 [n, k], logits or probabilities; rows in `errors` are 1 everywhere.
        kind: which of the two.
        errors: row → (reason, sentence) for what could not be decoded, fed or answered.
    """

    ids: Sequence[str | int | None]
    scores: NDArray[np.float32]
    kind: OutputKind
    errors: Mapping[int, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A session, how it is fed, and which output is read as what."""

    session: Any
    features: Features
    output: Output


class OnnxPredictor:
    """A `hunch.inference.predictor.Predictor` on ONNX Runtime, in a thread of its own.

    Args:
        stored: what `repository.load` found.
        clock: times inference and limits it.
        intra_op_threads: threads that one run computes with.
        providers: ONNX Runtime providers in order; `auto` is CUDA where present, then CPU.
        max_batch_size: the largest batch that is warmed.
        inference_timeout_ms: after which a run is taken to hang.
        decoder: from bytes to fields.

    Attributes:
        model: `name@version`.
        labels: in the order of the columns.
        temperature: the model's own, from its description.
        providers: those that compute; empty before `start`.
        service_ms: batch size → time of a warm run in milliseconds; empty before `start`.
    """

    def __init__(
        self,
        stored: StoredModel,
        *,
        clock: Clock,
        intra_op_threads: int = 1,
        providers: Literal["auto"] | Sequence[str] = "auto",
        max_batch_size: int = 32,
        inference_timeout_ms: float = 60_000.0,
        decoder: Decoder | None = None,
    ) -> None:
        self.model = stored.model
        self.labels = stored.labels
        self.temperature = stored.temperature
        self.providers: tuple[str, ...] = ()
        self.service_ms: dict[int, float] = {}
        self._stored = stored
        self._clock = clock
        self._threads = intra_op_threads
        self._wanted = providers
        self._max_batch_size = max_batch_size
        self._timeout_ms = inference_timeout_ms
        self._decode = decoder or JsonDecoder()
        self._worker = Worker(f"hunch-{self.model}")
        self._loaded: _Loaded | None = None

    @property
    def fields(self) -> frozenset[str]:
        """Of a message, those that the model reads; known once it is started."""
        return self._ready().features.fields

    @property
    def kind(self) -> OutputKind:
        """What the model puts out; known once it is started."""
        return self._ready().output.kind

    async def start(self) -> None:
        """Loads the model and warms it with batches of 1 and of `max_batch_size`.

        Raises `ModelError` for a model that does not fit its description, `ProcessStuck` when a
        warm-up does not come back in time.
        """
        self._worker.start()
        self._loaded = loaded = await self._worker.submit(self._load)
        self.providers = tuple(loaded.session.get_providers())
        for size in sorted({1, self._max_batch_size}):
            documents = [loaded.features.sample()] * size
            for _ in range(WARM_UPS):
                self.service_ms[size] = await self._within_limit(
                    partial(self._timed, loaded, documents)
                )

    async def stop(self) -> None:
        """Ends the thread once it is idle."""
        self._worker.stop()

    async def predict(
        self, values: Sequence[bytes | None], temperature: float | None = None
    ) -> Prediction:
        """Predicts one batch of raw message values."""
        call = partial(self._predict, self._ready(), values, temperature or self.temperature)
        return await self._within_limit(call)

    async def score(self, values: Sequence[bytes | None]) -> Scored:
        """What the model itself puts out for a batch, before any temperature."""
        return await self._within_limit(partial(self._score, self._ready(), values))

    def _ready(self) -> _Loaded:
        if self._loaded is None:
            raise InvariantBroken(f"The model {self.model} was asked before it was started.")
        return self._loaded

    async def _within_limit(self, call: Callable[[], T]) -> T:
        try:
            return await self._clock.wait_for(self._worker.submit(call), self._timeout_ms)
        except TimeoutError:
            raise ProcessStuck(
                f"The model {self.model} did not come back within {self._timeout_ms:.0f} ms "
                "(inference_timeout_ms): the process must end."
            ) from None

    def _load(self) -> _Loaded:
        stored = self._stored
        session = open_session(stored.graph, self._wanted, self._threads)
        return _Loaded(session, features_of(stored, session), output_of(stored, session))

    def _timed(self, loaded: _Loaded, documents: Sequence[Document]) -> float:
        start_ms = self._clock.now_ms()
        self._run(loaded, documents)
        return self._clock.now_ms() - start_ms

    def _predict(
        self, loaded: _Loaded, values: Sequence[bytes | None], temperature: float
    ) -> Prediction:
        start_ms = self._clock.now_ms()
        scored = self._score(loaded, values)
        probabilities, energies = calibrated(scored.scores, scored.kind, temperature)
        probabilities[list(scored.errors)] = 0.0
        return Prediction(
            ids=scored.ids,
            probabilities=probabilities,
            errors=scored.errors,
            elapsed_ms=self._clock.now_ms() - start_ms,
            energies=energies,
        )

    def _score(self, loaded: _Loaded, values: Sequence[bytes | None]) -> Scored:
        ids: list[str | int | None] = [None] * len(values)
        errors: Errors = {}
        rows: list[int] = []
        documents: list[Document] = []
        for row, value in enumerate(values):
            if value is None:
                errors[row] = (Reason.TOMBSTONE, "The message has no value.")
                continue
            try:
                document = self._decode(value)
            except WireError as error:
                errors[row] = (Reason.UNDECODABLE, str(error))
                continue
            rows.append(row)
            documents.append(document)
            ids[row] = _id_of(document)
        scores, faults = self._run(loaded, documents)
        for row, sentence in faults.items():
            errors[rows[row]] = (Reason.BAD_INPUT, sentence)
        if len(rows) < len(values):
            whole = np.ones((len(values), len(self.labels)), dtype=np.float32)
            whole[rows] = scores
            scores = whole
        return Scored(ids=ids, scores=scores, kind=loaded.output.kind, errors=errors)

    def _run(
        self, loaded: _Loaded, documents: Sequence[Document]
    ) -> tuple[NDArray[np.float32], dict[int, str]]:
        """Scores of the documents; rows with a fault are 1 everywhere."""
        batches, errors = loaded.features.batches(documents)
        found = np.ones((len(documents), len(self.labels)), dtype=np.float32)
        for rows, feeds in batches:
            try:
                (output,) = loaded.session.run([loaded.output.name], feeds)
            except Exception as error:  # ONNX Runtime's errors have no root of their own
                raise InferenceFailed(
                    f"The model {self.model} failed on a batch of {len(rows)}: {first_line(error)}."
                ) from error
            scores = as_scores(output, self.labels, self.model)
            if len(scores) != len(rows):
                raise ModelError(
                    f"The model {self.model} answers {len(scores)} rows for {len(rows)} messages: "
                    "export it with a dynamic batch dimension."
                )
            found[rows] = scores
        if spoilt := _spoilt(found, loaded.output.kind):
            found[spoilt] = 1.0
            sentence = f"The model {self.model} answers this message with NaN or infinity."
            errors |= dict.fromkeys(spoilt, sentence)
        return found, errors


def _spoilt(scores: NDArray[np.float32], kind: OutputKind) -> list[int]:
    """Rows that no temperature makes probabilities of."""
    sound = np.isfinite(scores).all(axis=1)
    if kind == "probabilities":
        sound = sound & (scores >= 0).all(axis=1) & (scores.sum(axis=1) > 0)
    rows: list[int] = np.flatnonzero(np.logical_not(sound)).tolist()
    return rows


def _id_of(document: Document) -> str | int | None:
    found = document.get("id")
    if type(found) is str:
        return found[:MAX_ID_CHARACTERS]
    return found if type(found) is int else None


def features_of(stored: StoredModel, session: Any) -> Features:
    """How a model is fed; raises `ModelError` where its graph takes something else."""
    nodes = {node.name: node for node in session.get_inputs()}
    if stored.text is not None:
        unknown = sorted(set(nodes) - set(TOKEN_INPUTS))
        if unknown or "input_ids" not in nodes:
            raise ModelError(
                f"The model {stored.model} takes {sorted(nodes)} and not token ids: a model for "
                f"text takes input_ids, and no more than {', '.join(TOKEN_INPUTS)}."
            )
        types = {name: row_type(node, stored.model) for name, node in nodes.items()}
        tokenizer = read_tokenizer(stored.folder / stored.text.tokenizer)
        return TextFeatures(tokenizer, stored.text.field, types)
    inputs = stored.inputs or {name: TensorInput(field=name) for name in nodes}
    if set(inputs) != set(nodes):
        raise ModelError(
            f"The model {stored.model} takes {sorted(nodes)} and its {DESCRIPTION} feeds "
            f"{sorted(inputs)}: name the same in inputs."
        )
    return TensorFeatures(
        [_tensor(nodes[name], inputs[name], stored.model) for name in sorted(nodes)]
    )


def _tensor(node: Any, described: TensorInput, model: str) -> Tensor:
    open_shape = node.shape[1:]
    shape = described.shape or tuple(open_shape)
    if not node.shape or not all(isinstance(size, int) for size in shape):
        raise ModelError(
            f"The input {node.name!r} of the model {model} has the shape {node.shape}: give the "
            f"shape of one row as inputs.{node.name}.shape in its {DESCRIPTION}."
        )
    fits = len(shape) == len(open_shape) and all(
        size == given
        for size, given in zip(open_shape, shape, strict=True)
        if isinstance(size, int)
    )
    if not fits:
        raise ModelError(
            f"The input {node.name!r} of the model {model} has rows of shape {open_shape} and its "
            f"{DESCRIPTION} says {list(shape)}: correct it there."
        )
    return Tensor(node.name, described.field, row_type(node, model), shape)


def output_of(stored: StoredModel, session: Any) -> Output:
    """Which output is read; raises `ModelError` where there is none for these labels."""
    nodes = {node.name: node for node in session.get_outputs()}
    output = stored.output
    if output is None or output.name not in nodes:
        raise ModelError(
            f"The model {stored.model} has the outputs {sorted(nodes)}: name the one with the "
            f"answer, and whether it holds logits or probabilities, as output in its {DESCRIPTION}."
        )
    shape = nodes[output.name].shape
    width = shape[-1] if shape else None
    if isinstance(width, int) and width != len(stored.labels):
        raise ModelError(
            f"The model {stored.model} has {len(stored.labels)} labels and an output of {width} "
            "columns: give each column its label, in their order."
        )
    return output
