"""`StubPredictor`: answers, row errors, service time and failures as a test asks for them."""

import asyncio

import numpy as np
import pytest

from hunch.errors import InferenceFailed
from hunch.testing import ManualClock, StubPredictor


def by_x(message):
    """Probabilities from the field `x`; refuses a message without it."""
    if "x" not in message:
        raise ValueError("The field x is missing.")
    return [message["x"], 1 - message["x"]]


async def test_rows_are_answered_or_explained():
    """Good rows have probabilities and their id; each bad row has a reason and spoils no other."""
    stub = StubPredictor(by_x)
    await stub.start()

    prediction = await stub.predict(
        [b'{"id": 7, "x": 0.25}', None, b"\xff{", b'{"id": "n"}', b"[1]", b'{"id": true, "x": 1}']
    )

    assert prediction.ids == [7, None, None, "n", None, None]
    assert {row: reason for row, (reason, _) in prediction.errors.items()} == {
        1: "tombstone",
        2: "undecodable",
        3: "bad_input",
        4: "undecodable",
    }
    assert prediction.errors[3][1] == "The field x is missing."
    assert prediction.probabilities.dtype == np.float32
    np.testing.assert_array_equal(
        prediction.probabilities, [[0.25, 0.75], [0, 0], [0, 0], [0, 0], [0, 0], [1, 0]]
    )
    await stub.stop()


async def test_the_service_time_passes_on_the_clock():
    """A batch comes back when its service time has passed, and says how long it took."""
    clock = ManualClock(start_ms=0)
    stub = StubPredictor(by_x, service_ms=40, clock=clock)
    task = asyncio.create_task(stub.predict([b'{"x": 1}']))
    await clock.advance(39)
    assert not task.done()

    await clock.advance(1)

    assert task.result().elapsed_ms == 40
    assert stub.batch_sizes == [1]


async def test_a_service_time_needs_a_clock():
    """A service time without a clock is refused: nothing here waits in real time."""
    with pytest.raises(ValueError, match="clock"):
        StubPredictor(by_x, service_ms=1)


async def test_batches_fail_as_often_as_asked():
    """`fail_next(2)` fails two whole batches; the third is answered."""
    stub = StubPredictor(by_x)
    stub.fail_next(2)

    for _ in range(2):
        with pytest.raises(InferenceFailed):
            await stub.predict([b'{"x": 1}'])

    assert not (await stub.predict([b'{"x": 1}', b'{"x": 0}'])).errors
    assert stub.batch_sizes == [1, 1, 2]


async def test_a_hanging_model_comes_back_after_resume():
    """Between `hang` and `resume` no batch comes back, however much time passes."""
    clock = ManualClock()
    stub = StubPredictor(by_x, service_ms=5, clock=clock)
    stub.hang()
    task = asyncio.create_task(stub.predict([b'{"x": 1}']))
    await clock.advance(60_000)
    assert not task.done()

    stub.resume()
    await clock.advance(5)

    assert task.done()
