"""Real text models: a string tensor, an Optimum int8 export, and its batch-invariant twin."""

import json

import numpy as np
import pytest
from tests.inference import graphs

from hunch.inference import repository


@pytest.fixture(scope="module")
def lines(banking77):
    """The 3,080 test messages."""
    return (banking77 / "test.jsonl").read_bytes().splitlines()


async def answers(folder, lines, batch=32):
    """Labels of the best answers, and the probabilities, by batches in the order of the lines."""
    model = graphs.predictor(folder, max_batch_size=batch)
    await model.start()
    predictions = [
        await model.predict(lines[start : start + batch]) for start in range(0, len(lines), batch)
    ]
    await model.stop()
    assert not any(prediction.errors for prediction in predictions)
    probabilities = np.concatenate([prediction.probabilities for prediction in predictions])
    return [model.labels[i] for i in probabilities.argmax(axis=1)], probabilities


def accuracy(labels, lines):
    """The share of right labels."""
    truth = [json.loads(line)["label"] for line in lines]
    return float(np.mean([label == own for label, own in zip(labels, truth, strict=True)]))


async def test_string_tensor_model_reaches_its_accuracy(banking77, lines):
    """The fast model answers 89.61 % rightly, as its makers measured."""
    labels, probabilities = await answers(banking77 / "fast", lines, batch=500)

    assert 0.8961 == pytest.approx(accuracy(labels, lines), abs=5e-5)
    assert probabilities.sum(axis=1) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_optimum_int8_reaches_its_accuracy(banking77, lines):
    """The slow model is within 0.3 points of 93.70 %; its answers depend on batches a little."""
    labels, _ = await answers(banking77 / "slow", lines)

    assert 0.9370 == pytest.approx(accuracy(labels, lines), abs=3e-3)


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_batch_invariant_twin_reaches_its_accuracy(banking77, lines):
    """The batch-invariant slow model answers 93.64 % rightly, as its makers measured."""
    labels, _ = await answers(banking77 / "slow_w8", lines)

    assert 0.9364 == pytest.approx(accuracy(labels, lines), abs=5e-5)


@pytest.mark.slow
async def test_batch_invariant_twin_answers_alike_in_any_batch(banking77, lines):
    """Alone, in batches of 7, or in another order: probabilities differ by less than 4e-6."""
    some = lines[:: len(lines) // 60]
    folder = banking77 / "slow_w8"
    _, alone = await answers(folder, some, batch=1)
    _, sevens = await answers(folder, some, batch=7)
    _, backwards = await answers(folder, some[::-1], batch=32)

    assert alone == pytest.approx(sevens, abs=4e-6)
    assert alone == pytest.approx(backwards[::-1], abs=4e-6)


@pytest.mark.parametrize("slow", ["slow", "slow_w8"])
def test_labels_of_the_pair_match(banking77, slow):
    """The 77 labels of both models are the same names."""
    pair = [repository.load(str(banking77 / name)) for name in ("fast", slow)]

    repository.match_labels(*(stored.labels for stored in pair))
    assert [77, 77] == [len(stored.labels) for stored in pair]
    assert [0.7515, {"slow": 1.3006, "slow_w8": 1.3109}[slow]] == [s.temperature for s in pair]
