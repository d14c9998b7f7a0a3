"""Records made in a test's own process, of tiny models whose logits are what they are fed."""

from contextlib import asynccontextmanager

import numpy as np
import orjson
from onnx import TensorProto, helper
from tests.inference import graphs

from hunch.evaluation.parts import Folder
from hunch.evaluation.recording import Recorder, Side
from hunch.evaluation.rows import Labels, Row
from hunch.inference import repository
from hunch.testing import ManualClock

FAST, SLOW = ("no", "yes"), ("yes", "no")
"""Labels by column; the two models have them in different orders."""
BATCH = 4


class Listed:
    """A source of messages that stand in a list; their origin is their index."""

    def __init__(self, values, name="listed"):
        self.read = []
        self._values = values
        self._name = name

    async def begin(self, earlier):  # noqa: ARG002
        """A checksum would tell the same as this name."""
        return {"kind": "file", "name": self._name, "sha256": self._name, "rows": len(self._values)}

    async def rows(self, after):
        """Notes each row that it gives away."""
        for index in range(0 if after is None else int(after) + 1, len(self._values)):
            self.read.append(index)
            yield Row(str(index), self._values[index])


def message(fast, slow, label=None, **more):
    """A message: two logits for each model, in the order of its own labels."""
    fields = {"fast": fast, "slow": slow, **more}
    return orjson.dumps(fields if label is None else fields | {"label": label})


def raises_from(folder, size):
    """A model whose logits are its input, and that raises for a batch with a number that large."""
    nodes = [
        helper.make_node("Cast", ["x"], ["place"], to=TensorProto.INT64),
        helper.make_node("Gather", ["numbers", "place"], ["logits"]),
    ]
    shape = (TensorProto.FLOAT, ["N", 2])
    numbers = np.arange(size, dtype=np.float32)
    return graphs.write_graph(folder, nodes, {"x": shape}, {"logits": shape}, {"numbers": numbers})


def model(folder, side, labels, *, raises=None, **changes):
    """A folder with a model that puts out the message's field of its name."""
    if not folder.exists():
        inputs = {"x": {"field": side}}
        if raises is None:
            graphs.passes_through(folder)
        else:
            raises_from(folder, raises)
        graphs.described(folder, name=side, inputs=inputs, labels=list(labels), **changes)
    return folder


@asynccontextmanager
async def models(folder, *, raises=None, **changes):
    """Both models, started; `changes` are of the slow one's description.

    `raises` is the size of the numbers from which on they raise.
    """
    folders = {
        "fast": model(folder / "fast", "fast", FAST, raises=raises),
        "slow": model(folder / f"slow{len(changes)}", "slow", SLOW, raises=raises, **changes),
    }
    sides = {
        name: Side(repository.load(str(path)), graphs.predictor(path, max_batch_size=BATCH))
        for name, path in folders.items()
    }
    for side in sides.values():
        await side.predictor.start()
    try:
        yield sides
    finally:
        for side in sides.values():
            await side.predictor.stop()


async def record(folder, source, *, label_field="label", on_progress=None, **changes):
    """Records a source into `folder / "record"`, and returns that path."""
    async with models(folder, **changes) as sides:
        recorder = Recorder(
            Folder(folder / "record"),
            source,
            sides,
            labels=Labels(label_field, FAST),
            max_batch_size=BATCH,
            clock=ManualClock(),
            on_progress=on_progress or (lambda _done, _total: None),
        )
        await recorder.run()
    return folder / "record"
