"""The predictor on ONNX Runtime: rows, errors, limits."""

import asyncio
import threading

import numpy as np
import pytest
from onnx import TensorProto, helper
from tests.inference import graphs

from hunch.core.envelope import Reason
from hunch.errors import InferenceFailed, InvariantBroken, ModelError, ProcessStuck
from hunch.inference.features import JsonDecoder
from hunch.inference.session import CUDA, has_cuda
from hunch.testing import ManualClock


@pytest.fixture
def tiny(tmp_path):
    """A model of two logits that are its two inputs, fed from the field `features`."""
    return graphs.described(graphs.passes_through(tmp_path / "tiny"))


async def test_bad_rows_spoil_no_other(tiny):
    """Each bad row has its reason and zeros, each good row its answer and id."""
    good = {"id": "g", "features": [0, 2]}
    rows = [good, None, b"{", b"[]", {"id": 7}, {"features": [1]}, good]
    prediction = await graphs.predict(tiny, *rows)

    assert {
        1: Reason.TOMBSTONE,
        2: Reason.UNDECODABLE,
        3: Reason.UNDECODABLE,
        4: Reason.BAD_INPUT,
        5: Reason.BAD_INPUT,
    } == {row: reason for row, (reason, _) in prediction.errors.items()}
    assert ["g", None, None, None, 7, None, "g"] == prediction.ids
    assert [1, 0, 0, 0, 0, 0, 1] == prediction.probabilities.sum(axis=1).round(5).tolist()
    assert prediction.probabilities[0].tolist() == prediction.probabilities[6].tolist()
    assert np.float32 == prediction.probabilities.dtype


@pytest.mark.parametrize("rows", [(), (None,), (b"x", b"y")])
async def test_batch_without_a_good_row_is_no_failure(tiny, rows):
    """An empty batch and one of bad rows alone are answered too."""
    prediction = await graphs.predict(tiny, *rows)

    assert (len(rows), 2) == prediction.probabilities.shape
    assert len(rows) == len(prediction.errors) == len(prediction.ids)


@pytest.mark.parametrize(
    ("own", "echoed"),
    [("x" * 2000, "x" * 1000), (3, 3), (True, None), (1.5, None), ({"a": 1}, None), (None, None)],
)
async def test_id_is_text_or_a_whole_number_of_bounded_size(tiny, own, echoed):
    """The user's id is echoed where it is a string or an integer, and cut."""
    prediction = await graphs.predict(tiny, {"id": own, "features": [0, 0]})

    assert [echoed] == prediction.ids


async def test_answer_without_a_number_is_a_row_error(tmp_path):
    """A row for which the model puts out NaN is an error of that row alone."""
    nodes = [
        helper.make_node("Sqrt", ["x"], ["logits"]),
    ]
    pair = (TensorProto.FLOAT, ["N", 2])
    folder = graphs.write_graph(tmp_path, nodes, {"x": pair}, {"logits": pair})
    prediction = await graphs.predict(
        graphs.with_labels(folder), {"x": [1, 4]}, {"x": [-1, 4]}, {"x": [4, 1]}
    )

    assert {1: Reason.BAD_INPUT} == {row: reason for row, (reason, _) in prediction.errors.items()}
    assert "NaN or infinity" in prediction.errors[1][1]
    assert [1, 0] == prediction.probabilities[[0, 2]].argmax(axis=1).tolist()
    assert [0.0, 0.0] == prediction.probabilities[1].tolist()


async def test_temperature_divides_the_logits(tiny):
    """The probabilities are softmax(logits / T)."""
    graphs.described(tiny, temperature=2.0)
    prediction = await graphs.predict(tiny, {"features": [0, 2]})

    assert 1 / (1 + np.exp(-1.0)) == pytest.approx(prediction.probabilities[0, 1], abs=1e-6)


async def test_zip_map_output_is_read(tmp_path):
    """skl2onnx's default output, a sequence of maps, is read in the order of the labels."""
    folder = graphs.with_labels(graphs.zip_map(tmp_path), labels=("yes", "no"))
    prediction = await graphs.predict(folder, {"x": [0, 2]}, {"x": [1, 1]})

    assert 1 / (1 + np.exp(-2.0)) == pytest.approx(prediction.probabilities[0, 0], abs=1e-6)
    assert 0.5 == pytest.approx(prediction.probabilities[1, 0], abs=1e-6)


async def test_string_tensor_is_fed_from_the_field_of_its_name(tmp_path):
    """A model that takes strings works without a model.json."""
    encoder = helper.make_node(
        "LabelEncoder",
        ["text"],
        ["score"],
        domain="ai.onnx.ml",
        keys_strings=["good", "bad"],
        values_floats=[5.0, -5.0],
        default_float=0.0,
    )
    nodes = [
        encoder,
        helper.make_node("Neg", ["score"], ["minus"]),
        helper.make_node("Concat", ["minus", "score"], ["logits"], axis=1),
    ]
    folder = graphs.write_graph(
        tmp_path,
        nodes,
        {"text": (TensorProto.STRING, ["N", 1])},
        {"logits": (TensorProto.FLOAT, ["N", 2])},
    )
    messages = [{"text": "good"}, {"text": 1}, {"text": "bad"}, {"text": "?"}]
    prediction = await graphs.predict(graphs.with_labels(folder), *messages)

    assert [1] == list(prediction.errors)
    assert [1.0, 0.0, 0.5] == prediction.probabilities[[0, 2, 3], 1].round(3).tolist()


@pytest.mark.parametrize("kind", [TensorProto.DOUBLE, TensorProto.INT64, TensorProto.UINT8])
async def test_numbers_are_fed_in_the_type_that_the_graph_takes(tmp_path, kind):
    """Whole numbers reach tensors of every numeric type."""
    folder = graphs.with_labels(graphs.passes_through(tmp_path, kind=kind))
    prediction = await graphs.predict(folder, {"x": [0, 3]})

    assert {} == prediction.errors
    assert 1 == prediction.probabilities[0].argmax()


async def test_open_shape_needs_a_description(tmp_path):
    """A graph that leaves the shape of a row open is refused until model.json gives it."""
    folder = graphs.passes_through(tmp_path, shape=("N", "K"))
    described = {"field": "features", "shape": [2]}

    with pytest.raises(ModelError, match=r"give the shape of one row as inputs\.x\.shape"):
        await graphs.predict(graphs.described(folder))
    graphs.described(folder, inputs={"x": described})
    assert {} == (await graphs.predict(folder, {"features": [1, 2]})).errors


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"labels": ["a", "b", "c"]}, "3 labels and an output of 2 columns"),
        ({"output": {"name": "answer", "kind": "logits"}}, r"has the outputs \['logits'\]"),
        ({"inputs": {"y": {"field": "y"}}}, r"takes \['x'\] and its model.json feeds \['y'\]"),
        ({"inputs": {"x": {"field": "x", "shape": [3]}}}, r"model.json says \[3\]"),
        ({"inputs": None, "text": {"field": "t"}}, r"takes \['x'\] and not token ids"),
    ],
)
async def test_description_that_does_not_fit_the_graph_is_refused(tiny, changes, says):
    """What model.json says about the graph is checked at start."""
    with pytest.raises(ModelError, match=says):
        await graphs.predict(graphs.described(tiny, **changes))


async def test_output_of_unknown_meaning_is_refused(tmp_path):
    """An output that is named neither logits nor probabilities must be described."""
    folder = graphs.with_labels(graphs.passes_through(tmp_path, output="answer"))

    with pytest.raises(ModelError, match=r"outputs \['answer'\].*logits or probabilities"):
        await graphs.predict(folder)


async def test_width_that_only_a_run_shows_is_refused_at_start(tmp_path):
    """Where the graph does not say how wide its output is, the warm-up finds out."""
    folder = graphs.passes_through(tmp_path, shape=("N", "K"))
    inputs = {"x": {"field": "features", "shape": [3]}}

    with pytest.raises(ModelError, match=r"2 labels and an output of shape \[1, 3\]"):
        await graphs.predict(graphs.described(folder, inputs=inputs))


async def test_unreadable_graph_is_refused(tmp_path):
    """A model.onnx that is none is refused with one sentence."""
    (tmp_path / "model.onnx").write_text("not a model")

    with pytest.raises(ModelError, match=r"^ONNX Runtime cannot load .*Export the model again"):
        await graphs.predict(graphs.with_labels(tmp_path))


async def test_failing_run_is_reported_and_not_retried(tmp_path):
    """A batch that raises in ONNX Runtime raises `InferenceFailed`; the next one works."""
    nodes = [
        helper.make_node("Gather", ["table", "x"], ["logits"]),
    ]
    folder = graphs.write_graph(
        tmp_path,
        nodes,
        {"x": (TensorProto.INT64, ["N"])},
        {"logits": (TensorProto.FLOAT, ["N", 2])},
        {"table": np.array([[0, 5], [5, 0]], np.float32)},
    )
    model = graphs.predictor(graphs.with_labels(folder))
    await model.start()

    with pytest.raises(InferenceFailed, match="failed on a batch of 2"):
        await model.predict([b'{"x": 1}', b'{"x": 9}'])
    prediction = await model.predict([b'{"x": 1}'])
    await model.stop()
    assert 0 == prediction.probabilities[0].argmax()


class Hanging:
    """A decoder that does not come back until it is let go."""

    def __init__(self):
        self.entered = threading.Event()
        self.let_go = threading.Event()

    def __call__(self, value):
        """Waits, then decodes."""
        self.entered.set()
        self.let_go.wait()
        return JsonDecoder()(value)


async def test_hung_inference_ends_in_process_stuck(tiny):
    """A call that does not come back raises `ProcessStuck` at its limit, and the loop runs on."""
    clock, hanging = ManualClock(), Hanging()
    model = graphs.predictor(tiny, clock=clock, decoder=hanging, inference_timeout_ms=5_000)
    await model.start()
    stuck = asyncio.create_task(model.predict([b'{"features": [0, 1]}']))
    await asyncio.to_thread(hanging.entered.wait)

    await clock.advance(4_999)
    assert not stuck.done()
    await clock.advance(1)
    with pytest.raises(ProcessStuck, match=r"tiny@3 did not come back within 5000 ms"):
        await stuck
    hanging.let_go.set()
    await model.stop()


async def test_concurrent_batches_get_their_own_answers(tiny):
    """Batches that are asked for at once are answered one after the other, each with its own."""
    model = graphs.predictor(tiny)
    await model.start()
    batches = [[graphs.encoded({"id": i, "features": [0, i]})] * 3 for i in range(20)]
    predictions = await asyncio.gather(*map(model.predict, batches))
    await model.stop()

    assert [[i] * 3 for i in range(20)] == [prediction.ids for prediction in predictions]


async def test_warm_up_times_the_smallest_and_the_largest_batch(tiny):
    """After the start there is a time for one row and for a full batch, and predict is ready."""
    model = graphs.predictor(tiny, max_batch_size=16)
    await model.start()
    await model.stop()

    assert [1, 16] == sorted(model.service_ms)
    assert all(0 <= ms < 1_000 for ms in model.service_ms.values())


async def test_predict_before_start_is_a_bug(tiny):
    """A model that was not started says so and does not hang."""
    with pytest.raises(InvariantBroken, match="before it was started"):
        await graphs.predictor(tiny).predict([])


async def test_auto_always_finds_a_provider(tiny):
    """With providers = auto the model runs wherever it is, and says on what."""
    model = graphs.predictor(tiny)
    await model.start()
    await model.stop()

    assert "CPUExecutionProvider" == model.providers[-1]
    assert has_cuda() or ("CPUExecutionProvider",) == model.providers


async def test_provider_that_is_not_there_is_refused(tiny):
    """A provider that was asked for by name is never replaced silently."""
    with pytest.raises(
        ModelError, match=r"asks for MagicExecutionProvider .*set providers to auto"
    ):
        await graphs.predict(tiny, providers=["MagicExecutionProvider", "CPUExecutionProvider"])


@pytest.mark.skipif(has_cuda(), reason="this machine has a CUDA device")
async def test_cuda_asked_for_and_absent_is_refused(tiny):
    """Where there is no CUDA device, asking for one is refused with a sentence."""
    why = "(this machine has no CUDA device|this ONNX Runtime has )"
    with pytest.raises(ModelError, match=f"asks for {CUDA} and {why}"):
        await graphs.predict(tiny, providers=[CUDA, "CPUExecutionProvider"])


async def test_runtime_stays_silent(tiny, capfd):
    """Nothing but Hunch writes to the terminal, also where a model cannot be loaded."""
    await graphs.predict(tiny, {"features": [1, 2]})
    (tiny / "model.onnx").write_text("not a model")
    (tiny / "model.json").unlink()
    with pytest.raises(ModelError):
        await graphs.predict(graphs.with_labels(tiny))

    assert ("", "") == capfd.readouterr()
