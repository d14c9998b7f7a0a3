"""Where models lie and what is known of them: `models/<name>/<version>/` with a `model.json`.

A folder without `model.json` will do where a `config.json` names the labels in `id2label`.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hunch.bundled import bundled
from hunch.core.policy import HIGHEST_TEMPERATURE, LOWEST_TEMPERATURE, Temperature
from hunch.errors import ChecksumMismatch, ModelError, ModelNotFound
from hunch.inference.graph_file import outputs_of, weights_of
from hunch.inference.outputs import KINDS, OutputKind

GRAPH, DESCRIPTION, CONFIG, TOKENIZER = (
    "model.onnx",
    "model.json",
    "config.json",
    "tokenizer.json",
)
Text = Annotated[str, Field(min_length=1)]


class _Described(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TensorInput(_Described):
    """Which field feeds a tensor; `shape` (of one row) where the graph leaves it open."""

    field: Text
    shape: tuple[Annotated[int, Field(ge=1)], ...] | None = None


class TextInput(_Described):
    """Which field holds the text, and which file beside the model tokenizes it."""

    field: Text = "text"
    tokenizer: Text = TOKENIZER


class Output(_Described):
    """Which output is read, and what it holds."""

    name: Text
    kind: OutputKind


class Description(_Described):
    """The contents of a `model.json`."""

    name: Text
    version: Text
    inputs: dict[str, TensorInput] | None = None
    text: TextInput | None = None
    labels: Annotated[tuple[Text, ...], Field(min_length=2)]
    output: Output
    temperature: Temperature = 1.0
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    provenance: str
    licence: str
    accuracy: dict[str, float]

    @model_validator(mode="after")
    def _is_whole(self) -> "Description":
        if bool(self.inputs) == (self.text is not None):
            raise ValueError("give either inputs or text")
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("two labels are the same")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel:
    """A model in its folder, checked as far as that goes without loading it.

    Attributes:
        folder: where `model.onnx` lies.
        name: of the model, without its version.
        version: of the model.
        sha256: of all that its scores depend on: graph, weights beside it, tokenizer, and what is
            said of labels, inputs and output. The temperature is no part of it: a policy has its
            own.
        labels: in the order of the output's columns.
        temperature: divides the logits.
        inputs: tensor → the field that feeds it; None feeds each tensor from its namesake.
        text: the text that is tokenized, for models that read tokens.
        output: what is read; None where nothing says it.
        accuracy: data set → share of right answers, as measured when the model was made.
    """

    folder: Path
    name: str
    version: str
    sha256: str
    labels: tuple[str, ...]
    temperature: float = 1.0
    inputs: dict[str, TensorInput] | None = None
    text: TextInput | None = None
    output: Output | None = None
    accuracy: dict[str, float]

    @property
    def model(self) -> str:
        """`name@version`, as decisions name it."""
        return f"{self.name}@{self.version}"

    @property
    def graph(self) -> Path:
        """The ONNX file."""
        return self.folder / GRAPH


def load(setting: str) -> StoredModel:
    """The model that `fast_model` or `slow_model` names.

    Raises `ModelNotFound`, `ChecksumMismatch`, or `ModelError` for a description that is wrong.
    """
    folder = find(setting)
    if (folder / DESCRIPTION).is_file():
        return _described(folder)
    if (folder / CONFIG).is_file():
        return _configured(folder)
    raise ModelError(
        f"The labels of the model in {folder} are unknown: put a {DESCRIPTION} beside it, or a "
        f"{CONFIG} with id2label."
    )


def find(setting: str) -> Path:
    """The folder with the `model.onnx` that a setting means; raises `ModelNotFound`.

    A folder, a folder of versions (the highest is taken), or the name of a bundled model.
    """
    for folder in (Path(setting).expanduser(), bundled("models") / setting):
        if (folder / GRAPH).is_file():
            return folder
        if folder.is_dir():
            versions = [inner for inner in folder.iterdir() if (inner / GRAPH).is_file()]
            if versions:
                return max(versions, key=lambda inner: _rank(inner.name))
    shipped = sorted(path.parents[1].name for path in bundled("models").glob(f"*/*/{GRAPH}"))
    raise ModelNotFound(
        f"There is no model at {setting}: name a folder with a {GRAPH}, a folder of versions, or "
        f"a bundled model ({', '.join(shipped)})."
    )


def match_labels(fast_labels: Sequence[str], slow_labels: Sequence[str]) -> None:
    """Raises `ModelError` unless both models have the same labels, in whatever order."""
    fast, slow = set(fast_labels), set(slow_labels)
    gaps = [
        f"the {side} model lacks {_some(sorted(lacking))}"
        for side, lacking in (("fast", slow - fast), ("slow", fast - slow))
        if lacking
    ]
    if gaps:
        raise ModelError(
            f"The labels of the two models do not match: {' and '.join(gaps)}. Give them the same "
            f"names in their {DESCRIPTION} or {CONFIG}."
        )


def _some(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:5]))
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def _rank(version: str) -> list[tuple[int, int, str]]:
    parts = re.findall(r"\d+|\D+", version)
    return [(1, int(p), "") if p.isdigit() else (0, 0, p) for p in parts]


def _described(folder: Path) -> StoredModel:
    path = folder / DESCRIPTION
    try:
        description = Description.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        what = f"{where}: {first['msg']}" if where else first["msg"]
        raise ModelError(f"{path} is not valid, mend it: {what}.") from None
    if _sha256(folder / GRAPH) != description.sha256:
        raise ChecksumMismatch(
            f"{folder / GRAPH} is not the file that its {DESCRIPTION} describes: its sha256 "
            "differs. Fetch the model again, or correct sha256."
        )
    stored = StoredModel(
        folder=folder,
        name=description.name,
        version=description.version,
        sha256=description.sha256,
        labels=description.labels,
        temperature=description.temperature,
        inputs=description.inputs,
        text=description.text,
        output=description.output,
        accuracy=description.accuracy,
    )
    return replace(stored, sha256=_checksum(stored, description.sha256))


def _configured(folder: Path) -> StoredModel:
    config = _read_config(folder / CONFIG)
    is_version, graph_sha256 = folder.name.isdigit(), _sha256(folder / GRAPH)
    stored = StoredModel(
        folder=folder,
        name=folder.resolve().parent.name if is_version else folder.resolve().name,
        version=folder.name,
        sha256=graph_sha256,
        labels=_labels(config, folder / CONFIG),
        temperature=_temperature(config, folder / CONFIG),
        text=TextInput() if (folder / TOKENIZER).is_file() else None,
        output=_output(folder / GRAPH),
        accuracy={},
    )
    sha256 = _checksum(stored, graph_sha256)
    return replace(stored, sha256=sha256, version=folder.name if is_version else sha256[:8])


def _checksum(stored: StoredModel, graph_sha256: str) -> str:
    """Of the files that scores depend on and of what is said of them; a file not there is none."""
    weights = {name: stored.folder / name for name in weights_of(stored.graph)}
    tokenizer = None if stored.text is None else stored.folder / stored.text.tokenizer
    inputs = stored.inputs or {}
    parts = {
        "graph": graph_sha256,
        "weights": {name: _sha256(it) for name, it in weights.items() if it.is_file()},
        "tokenizer": _sha256(tokenizer) if tokenizer is not None and tokenizer.is_file() else None,
        "text": stored.text and stored.text.field,
        "inputs": {name: (of.field, of.shape) for name, of in inputs.items()},
        "labels": stored.labels,
        "output": stored.output and (stored.output.name, stored.output.kind),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _output(graph: Path) -> Output | None:
    """What an output of a name that is known holds."""
    outputs = outputs_of(graph)
    named = next((name for name in KINDS if name in outputs), None)
    return None if named is None else Output(name=named, kind=KINDS[named])


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise ModelError(f"{path} is not JSON, mend it: {error}.") from None
    if not isinstance(config, dict):
        raise ModelError(f"{path} is not a JSON object, mend it.")
    return config


def _labels(config: dict[str, Any], path: Path) -> tuple[str, ...]:
    names = config.get("id2label")
    if not isinstance(names, dict) or len(names) < 2:
        raise ModelError(f"{path} names no labels: give id2label with two or more of them.")
    if set(names) != {str(i) for i in range(len(names))}:
        raise ModelError(f"id2label in {path} must count from 0 to {len(names) - 1}.")
    labels = tuple(str(names[str(i)]) for i in range(len(names)))
    if len(set(labels)) < len(labels):
        raise ModelError(f"id2label in {path} gives two numbers the same label, mend it.")
    return labels


def _temperature(config: dict[str, Any], path: Path) -> float:
    value = config.get("temperature", 1.0)
    if type(value) not in {int, float} or not (LOWEST_TEMPERATURE <= value <= HIGHEST_TEMPERATURE):
        raise ModelError(
            f"temperature in {path} must be a number from {LOWEST_TEMPERATURE:g} to "
            f"{HIGHEST_TEMPERATURE:g}."
        )
    return float(value)


def _sha256(path: Path) -> str:
    """Of a file of any size: it is read a piece at a time."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
