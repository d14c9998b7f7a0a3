"""The bundled pair is what its model.json says."""

import hashlib
import json

import numpy as np
import pytest

from hunch.bundled import bundled
from hunch.clock import SystemClock
from hunch.inference import repository
from hunch.inference.onnx import OnnxPredictor

DIGITS = bundled("models") / "digits"


def messages(name):
    """The lines of one of the data files."""
    return (DIGITS / f"{name}.jsonl").read_bytes().splitlines()


@pytest.mark.parametrize("name", ["digits-fast", "digits-slow"])
@pytest.mark.parametrize("data", ["valid", "test"])
async def test_accuracy_is_the_one_described(name, data):
    """Each model answers the bundled messages as often rightly as its model.json says."""
    stored = repository.load(name)
    model = OnnxPredictor(stored, clock=SystemClock())
    await model.start()
    lines = messages(data)
    prediction = await model.predict(lines)
    await model.stop()

    best = [model.labels[i] for i in prediction.probabilities.argmax(axis=1)]
    right = [label == json.loads(line)["label"] for label, line in zip(best, lines, strict=True)]
    assert {} == prediction.errors
    assert stored.accuracy[data] == round(float(np.mean(right)), 4)


@pytest.mark.parametrize("name", ["digits-fast", "digits-slow"])
def test_description_fits_the_file(name):
    """The checksum is the file's, the labels are the ten digits, and the file is small."""
    folder = repository.find(name)
    description = json.loads((folder / "model.json").read_bytes())
    graph = (folder / "model.onnx").read_bytes()

    assert hashlib.sha256(graph).hexdigest() == description["sha256"]
    assert [str(digit) for digit in range(10)] == description["labels"]
    assert len(graph) < 3_000_000


def test_no_image_is_in_two_data_files():
    """The messages for test and for validation have different ids and different images."""
    valid, test = ([json.loads(line) for line in messages(name)] for name in ("valid", "test"))
    ids = [message["id"] for message in valid + test]
    images = {tuple(message["pixels"]) for message in valid + test}

    assert (225, 899) == (len(valid), len(test))
    assert len(ids) == len(set(ids)) == len(images)
