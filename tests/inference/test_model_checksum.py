"""The checksum of a model stands for all that its scores depend on, and for nothing else."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.inference import graphs

from hunch.inference import repository
from hunch.inference.graph_file import outputs_of, weights_of
from hunch.inference.outputs import KINDS


def checksum(folder: Path) -> str:
    """Of the model in a folder."""
    return repository.load(str(folder)).sha256


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": ["yes", "no"]},
        {"inputs": {"x": {"field": "other"}}},
        {"inputs": {"x": {"field": "features", "shape": [2]}}},
        {"output": {"name": "other", "kind": "logits"}},
        {"output": {"name": "logits", "kind": "probabilities"}},
    ],
)
def test_another_description_of_the_same_graph_is_another_model(tmp_path, changes):
    """A τ by column, or one for other inputs, would be wrong for it."""
    folder = graphs.passes_through(tmp_path)
    before = checksum(graphs.described(folder))

    assert before != checksum(graphs.described(folder, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 3.0},
        {"name": "n", "version": "9"},
        {"provenance": "p", "accuracy": {"a": 1}},
    ],
)
def test_what_scores_do_not_depend_on_is_no_part_of_it(tmp_path, changes):
    """A policy replaces the temperature; names and remarks change no answer."""
    folder = graphs.passes_through(tmp_path)
    before = checksum(graphs.described(folder))

    assert before == checksum(graphs.described(folder, **changes))


def test_labels_of_a_config_are_part_of_it(tmp_path):
    """A model without a model.json is held to the same."""
    folder = graphs.passes_through(tmp_path)
    before = checksum(graphs.with_labels(folder))

    assert before == checksum(graphs.with_labels(folder, temperature=3.0))
    assert before != checksum(graphs.with_labels(folder, labels=("yes", "no")))


def test_a_changed_tokenizer_makes_another_model(tmp_path):
    """Other tokens, other answers."""
    folder = graphs.word_lengths(tmp_path)
    before = checksum(folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] |= {"one": 3, "two": 2}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))

    assert before != checksum(folder)


def test_the_graph_and_the_weights_beside_it_are_part_of_it(tmp_path):
    """Weights that lie in a file of their own are the model as much as the graph."""
    one, other = np.array([1, 2], "f4").tobytes(), np.array([1, 3], "f4").tobytes()
    folder = graphs.with_weights_beside(tmp_path / "beside", one)
    before = checksum(folder)

    assert ("model.data",) == weights_of(folder / "model.onnx")
    assert before == checksum(graphs.with_weights_beside(tmp_path / "moved" / "1", one))
    assert before != checksum(graphs.with_weights_beside(tmp_path / "changed", other))
    assert before != checksum(graphs.with_labels(graphs.passes_through(tmp_path / "graph")))


async def test_a_model_with_weights_beside_it_answers(tmp_path):
    """What is hashed is what ONNX Runtime loads."""
    folder = graphs.with_weights_beside(tmp_path, np.array([0, 100], "f4").tobytes())
    found = await graphs.predict(folder, {"x": [3, 1]})

    assert [[0, 1]] == found.probabilities.round(3).tolist()


@pytest.mark.parametrize(
    ("write", "outputs"),
    [
        (graphs.passes_through, ("logits",)),
        (graphs.zip_map, ("output_label", "output_probability")),
        (graphs.word_lengths, ("logits",)),
    ],
)
def test_outputs_are_found_without_loading_the_graph(tmp_path, write, outputs):
    """The kind of what a model puts out is known before it is loaded."""
    folder = graphs.with_labels(write(tmp_path))
    output = repository.load(str(folder)).output

    assert outputs == outputs_of(folder / "model.onnx")
    assert output is not None
    assert KINDS[outputs[-1]] == output.kind


@pytest.mark.parametrize("cut", [0, 1, 10, 50, 100])
def test_a_graph_file_that_is_cut_short_says_nothing_wrong(tmp_path, cut):
    """ONNX Runtime says what is wrong with it; here it has no output and no weights."""
    whole = (graphs.passes_through(tmp_path) / "model.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[:cut])
    (tmp_path / "noise.onnx").write_bytes(bytes(byte ^ 0xA7 for byte in whole))

    for name in ("cut.onnx", "noise.onnx"):
        assert () == outputs_of(tmp_path / name)
        assert () == weights_of(tmp_path / name)
