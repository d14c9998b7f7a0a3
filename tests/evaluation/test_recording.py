"""`Recorder`: what both models put out, in parts; a stopped one goes on, another's is refused."""

import numpy as np
import orjson
import pytest
from tests.evaluation.recorders import BATCH, Listed, message, record

from hunch.errors import DataError
from hunch.evaluation import recording
from hunch.evaluation.parts import Folder
from hunch.evaluation.records import read, service_times


@pytest.fixture(autouse=True)
def short_parts(monkeypatch):
    """Parts of ten rows: a few dozen messages are several."""
    monkeypatch.setattr(recording, "ROWS_A_PART", 10)


def messages(count):
    """So many, no two alike, every third without a label."""
    return [message([n, 1], [2, n], "yes" if n % 3 else None) for n in range(count)]


def parts(folder):
    """The parts of a record as bytes."""
    return [path.read_bytes() for path in Folder(folder).parts()]


class Stopped(Exception):  # noqa: N818  it is what the test wants
    """The end of a process."""


def stop_at(rows):
    """Progress that ends the recorder once so many rows are recorded."""

    def tell(done, _total):
        if done >= rows:
            raise Stopped

    return tell


async def test_a_record_holds_what_both_models_put_out(tmp_path):
    """Raw scores in each model's own order of labels, labels where there are any, all rows once."""
    folder = await record(tmp_path, Listed(messages(25)))
    found = [Folder(folder).read(path) for path in Folder(folder).parts()]

    assert [10, 10, 5] == [len(part.origins) for part in found]
    assert [str(n) for n in range(25)] == [it for part in found for it in part.origins]
    labels = [label for part in found for label in part.labels]
    assert ["yes" if n % 3 else None for n in range(25)] == labels
    expected = {"fast": [[n, 1] for n in range(25)], "slow": [[2, n] for n in range(25)]}
    for side, scores in expected.items():
        assert scores == np.concatenate([part.scores[side] for part in found]).tolist()
        assert [None] * 25 == [error for part in found for error in part.errors[side]]


async def test_a_record_says_what_it_was_made_of(tmp_path):
    """Models with checksum and labels, data, batch size, machine."""
    folder = await record(tmp_path, Listed(messages(3)))
    said = Folder(folder).description()

    assert (("no", "yes"), ("yes", "no")) == (said.models.fast.labels, said.models.slow.labels)
    assert said.models.fast.sha256 != said.models.slow.sha256
    assert ("listed", BATCH, "label") == (
        said.source.model_dump()["name"],
        said.max_batch_size,
        said.label_field,
    )
    assert {"hunch", "onnxruntime", "machine", "cores"} <= set(said.made_by)
    assert (True, 3) == (said.is_complete, said.rows)


async def test_every_batch_size_is_timed(tmp_path):
    """At least twenty runs of 1, 2, 4 … max_batch_size, of either model, kept as samples."""
    folder = await record(tmp_path, Listed(messages(3)))
    samples = Folder(folder).service()

    counts = {(side, size): 0 for side in ("fast", "slow") for size in (1, 2, 4)}
    for side, size, _ in samples:
        counts[side, size] += 1
    assert {recording.TIMED_RUNS} == set(counts.values())
    assert {"fast": [1, 2, 4], "slow": [1, 2, 4]} == {
        side: list(sizes) for side, sizes in service_times(folder).items()
    }


@pytest.mark.parametrize("rows", [0, 10, 20, 25])
async def test_a_stopped_recorder_goes_on_behind_its_last_part(tmp_path, rows):
    """Nothing is answered twice, and the parts are those of a recorder that was never stopped."""
    (tmp_path / "whole").mkdir()
    whole = await record(tmp_path / "whole", Listed(messages(25)))
    with pytest.raises(Stopped):
        await record(tmp_path, Listed(messages(25)), on_progress=stop_at(rows))
    times = Folder(tmp_path / "record").service()
    source = Listed(messages(25))
    folder = await record(tmp_path, source)

    assert list(range(rows, 25)) == source.read
    assert parts(whole) == parts(folder)
    assert times == Folder(folder).service()
    assert read(whole).sha256 == read(folder).sha256


async def test_a_finished_record_is_left_as_it_is(tmp_path):
    """Recording again reads no row and changes no byte."""
    folder = await record(tmp_path, Listed(messages(25)))
    before = {path: path.read_bytes() for path in folder.iterdir()}
    source = Listed(messages(25))
    await record(tmp_path, source)

    assert [] == source.read
    assert before == {path: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"source": Listed(messages(25), name="x")},
            "a record of other data, listed: name another",
        ),
        ({"temperature": 2.0}, "a record of other models, fast@3 ("),
        ({"version": "4"}, "a record of other models, fast@3 ("),
        ({"label_field": "truth"}, "a record made with another label_field, label: name another"),
    ],
    ids=["data", "temperature", "version", "label field"],
)
async def test_another_record_is_never_continued(tmp_path, changes, said):
    """One sentence says what differs and what to do, and the record stays as it is."""
    with pytest.raises(Stopped):
        await record(tmp_path, Listed(messages(25)), on_progress=stop_at(10))
    before = {path: path.read_bytes() for path in (tmp_path / "record").iterdir()}
    arguments = {"source": Listed(messages(25))} | changes

    with pytest.raises(DataError) as raised:
        await record(tmp_path, **arguments)
    assert said in str(raised.value)
    assert "--out" in str(raised.value)
    assert before == {path: path.read_bytes() for path in (tmp_path / "record").iterdir()}


async def test_the_same_data_under_another_name_is_continued(tmp_path):
    """What counts of a file is its contents."""
    moved = Listed(messages(25))
    with pytest.raises(Stopped):
        await record(tmp_path, Listed(messages(25)), on_progress=stop_at(10))
    description = tmp_path / "record" / "record.json"
    said = orjson.loads(description.read_bytes())
    said["source"]["name"] = "where it was before"
    description.write_bytes(orjson.dumps(said))

    await record(tmp_path, moved)
    assert list(range(10, 25)) == moved.read


async def test_what_a_model_cannot_answer_is_recorded_with_its_reason(tmp_path):
    """No JSON, no value, too few numbers, numbers beyond float32: the others are not spoilt."""
    good = message([1, 2], [3, 4], "yes")
    values = [good, None, b"{", message([1], [3, 4]), message([1, 2], [1e300, 0]), good]
    folder = await record(tmp_path, Listed(values))
    (part,) = (Folder(folder).read(path) for path in Folder(folder).parts())

    gone = {side: np.isnan(scores).all(axis=1).tolist() for side, scores in part.scores.items()}
    assert [False, True, True, True, False, False] == gone["fast"]
    assert [False, True, True, False, True, False] == gone["slow"]
    for side, rows in gone.items():
        assert rows == [error is not None for error in part.errors[side]]
    assert "must be 2 numbers" in str(part.errors["fast"][3])


@pytest.mark.parametrize("stops_at", [None, 0, 10])
@pytest.mark.parametrize("side", ["fast", "slow"])
async def test_a_row_on_which_the_runtime_raises_spoils_no_other(tmp_path, side, stops_at):
    """Nor does it stop the recorder, in the timed batches, in a batch of the record, or again."""
    values = messages(25)
    for row in (1, 13):
        numbers = {"fast": [row, 1], "slow": [2, row]} | {side: [500, 1]}
        values[row] = message(numbers["fast"], numbers["slow"])
    if stops_at is not None:
        with pytest.raises(Stopped):
            await record(tmp_path, Listed(values), raises=100, on_progress=stop_at(stops_at))
    folder = await record(tmp_path, Listed(values), raises=100)
    found = [Folder(folder).read(path) for path in Folder(folder).parts()]

    scores = np.concatenate([part.scores[side] for part in found])
    whole = np.array([[n, 1] if side == "fast" else [2, n] for n in range(25)], np.float32)
    whole[[1, 13]] = np.nan
    assert np.array_equal(whole, scores, equal_nan=True)
    errors = [error for part in found for error in part.errors[side]]
    assert [1, 13] == [row for row, error in enumerate(errors) if error]
    assert "failed on a batch of 1: " in str(errors[13])
    other = "slow" if side == "fast" else "fast"
    assert [None] * 25 == [error for part in found for error in part.errors[other]]
    assert 2 * 3 * recording.TIMED_RUNS == len(Folder(folder).service())


async def test_only_rows_that_work_are_timed(tmp_path):
    """A model that answers none has no times, and the record is made all the same."""
    values = [message([1], [n, 2]) for n in range(3)]
    folder = await record(tmp_path, Listed(values))

    assert {"slow"} == {side for side, _, _ in Folder(folder).service()}
    assert Folder(folder).description().is_complete


async def test_a_folder_is_let_go_of(tmp_path):
    """Whether the recorder was stopped or came to its end."""
    with pytest.raises(Stopped):
        await record(tmp_path, Listed(messages(25)), on_progress=stop_at(10))
    for _ in range(2):
        folder = Folder(await record(tmp_path, Listed(messages(25))))

        assert folder.open() is not None
        folder.close()


async def test_a_label_that_turns_up_unknown_stops_the_recorder(tmp_path):
    """A topic cannot be looked through before: the sentence says which row it is."""
    values = [message([1, 2], [3, 4], "yes"), message([1, 2], [3, 4], "maybe")]

    with pytest.raises(DataError, match="The label 'maybe' in row 1 is unknown"):
        await record(tmp_path, Listed(values))


async def test_an_empty_source_is_one_sentence(tmp_path):
    """There is nothing to time and nothing to record."""
    with pytest.raises(DataError, match="There is no row to record"):
        await record(tmp_path, Listed([]))
