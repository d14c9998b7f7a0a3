"""Tiny models in folders, each with just what one test is about."""

import hashlib
import json
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from hunch.clock import SystemClock
from hunch.inference import repository
from hunch.inference.onnx import OnnxPredictor

WORDS = ["[PAD]", "[UNK]", "one", "two", "three", "four"]


def write_graph(folder: Path, nodes, inputs, outputs, constants=None) -> Path:
    """Writes model.onnx; inputs and outputs are name → (element type, shape) or a value info."""
    folder.mkdir(parents=True, exist_ok=True)
    takes, gives = (
        [
            helper.make_tensor_value_info(name, *what) if isinstance(what, tuple) else what
            for name, what in group.items()
        ]
        for group in (inputs, outputs)
    )
    initializers = [
        value if isinstance(value, TensorProto) else numpy_helper.from_array(value, name)
        for name, value in (constants or {}).items()
    ]
    graph = helper.make_graph(nodes, "tiny", takes, gives, initializers)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    save(helper.make_model(graph, opset_imports=opsets, ir_version=9), folder / "model.onnx")
    return folder


def passes_through(
    folder: Path,
    *,
    kind=TensorProto.FLOAT,
    shape=("N", 2),
    output="logits",
) -> Path:
    """A model whose logits are its input `x`."""
    nodes = [
        helper.make_node("Cast", ["x"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Identity", ["c"], [output]),
    ]
    return write_graph(
        folder, nodes, {"x": (kind, shape)}, {output: (TensorProto.FLOAT, list(shape))}
    )


def zip_map(folder: Path) -> Path:
    """A model as skl2onnx writes it: a label, and a sequence of maps from label to probability."""
    nodes = [
        helper.make_node("Softmax", ["x"], ["p"], axis=1),
        helper.make_node(
            "ZipMap",
            ["p"],
            ["output_probability"],
            domain="ai.onnx.ml",
            classlabels_strings=["no", "yes"],
        ),
        helper.make_node("ArgMax", ["p"], ["output_label"], axis=1, keepdims=0),
    ]
    value = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    maps = helper.make_sequence_type_proto(helper.make_map_type_proto(TensorProto.STRING, value))
    return write_graph(
        folder,
        nodes,
        {"x": (TensorProto.FLOAT, ["N", 2])},
        {
            "output_label": (TensorProto.INT64, ["N"]),
            "output_probability": helper.make_value_info("output_probability", maps),
        },
    )


def word_lengths(folder: Path, *, padding: bool = True) -> Path:
    """A model for tokens: its logits are the sum of the ids and the mean of the mask."""
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["ids"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["ids", "axes"], ["total"], keepdims=1),
        helper.make_node("ReduceMean", ["mask"], ["share"], axes=[1], keepdims=1),
        helper.make_node("Concat", ["total", "share"], ["logits"], axis=1),
    ]
    ids = (TensorProto.INT64, ["N", "S"])
    write_graph(
        folder,
        nodes,
        {"input_ids": ids, "attention_mask": ids},
        {"logits": (TensorProto.FLOAT, ["N", 2])},
        {"axes": np.array([1])},
    )
    tokenizer = Tokenizer(WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    if padding:
        tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
        tokenizer.enable_truncation(6)
    tokenizer.save(str(folder / "tokenizer.json"))
    return with_labels(folder)


def with_weights_beside(folder: Path, weights: bytes) -> Path:
    """A model that adds two numbers to its input, which lie in a file of their own."""
    two = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2])
    two.data_location = TensorProto.EXTERNAL
    two.external_data.add(key="location", value="model.data")
    nodes = [helper.make_node("Add", ["x", "w"], ["logits"])]
    rows = (TensorProto.FLOAT, ["N", 2])
    write_graph(folder, nodes, {"x": rows}, {"logits": rows}, {"w": two})
    (folder / "model.data").write_bytes(weights)
    return with_labels(folder)


def with_labels(folder: Path, labels=("no", "yes"), **more) -> Path:
    """Adds a config.json."""
    config = {"id2label": {str(i): label for i, label in enumerate(labels)}} | more
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def described(folder: Path, **changes) -> Path:
    """Adds a model.json that fits `passes_through`, with these keys changed."""
    description = {
        "name": "tiny",
        "version": "3",
        "inputs": {"x": {"field": "features"}},
        "labels": ["no", "yes"],
        "output": {"name": "logits", "kind": "logits"},
        "temperature": 1.0,
        "sha256": hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest(),
        "provenance": "a test",
        "licence": "none",
        "accuracy": {},
    } | changes
    (folder / "model.json").write_text(json.dumps(description))
    return folder


def predictor(folder: Path, *, clock=None, max_batch_size=4, **more) -> OnnxPredictor:
    """A predictor of the model in a folder, not yet started."""
    return OnnxPredictor(
        repository.load(str(folder)),
        clock=clock or SystemClock(),
        max_batch_size=max_batch_size,
        **more,
    )


async def predict(folder: Path, *messages, **more):
    """What the model in a folder answers to messages, given as bytes or as values to encode."""
    model = predictor(folder, **more)
    await model.start()
    try:
        return await model.predict([m if isinstance(m, bytes) else encoded(m) for m in messages])
    finally:
        await model.stop()


def encoded(message) -> bytes | None:
    """A message as JSON, NaN and infinity as Python writes them; None stays a tombstone."""
    return None if message is None else json.dumps(message).encode()
