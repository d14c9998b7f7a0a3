"""The files of a record: what is written is read again, and what is not whole is refused."""

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.evaluation.made import described

from hunch.errors import DataError
from hunch.evaluation.parts import DESCRIPTION, SERVICE, Folder, Part

SCORES = st.floats(width=32, allow_nan=True, allow_infinity=False)


def part(rows=1, **changes):
    """A part with as many rows."""
    scores = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)
    fields: dict[str, Any] = {
        "origins": [str(row) for row in range(rows)],
        "inputs": [bytes([row]) * 16 for row in range(rows)],
        "labels": [None] * rows,
        "scores": {"fast": scores, "slow": -scores},
        "errors": {"fast": [None] * rows, "slow": [None] * rows},
    }
    return Part(**fields | changes)


@pytest.fixture
def folder(tmp_path):
    """An open record without rows."""
    opened = Folder(tmp_path / "record")
    opened.open()
    opened.describe(described())
    opened.close()
    return opened


@settings(max_examples=50, deadline=None)
@given(st.data(), st.integers(1, 5), st.integers(2, 4))
def test_a_part_is_read_as_it_was_written(tmp_path_factory, data, rows, labels):
    """To the last bit of the scores, NaN and None included."""
    opened = Folder(tmp_path_factory.mktemp("record"))
    text = st.lists(st.none() | st.text(), min_size=rows, max_size=rows)
    scores = arrays(np.float32, (rows, labels), elements=SCORES)
    made = part(
        rows,
        labels=data.draw(text),
        scores={side: data.draw(scores) for side in ("fast", "slow")},
        errors={side: data.draw(text) for side in ("fast", "slow")},
    )
    opened.append(made)
    (path,) = opened.parts()
    found = opened.read(path)

    assert (made.origins, made.inputs, made.labels) == (found.origins, found.inputs, found.labels)
    assert made.errors == found.errors
    for side in ("fast", "slow"):
        assert made.scores[side].tobytes() == found.scores[side].tobytes()


def test_parts_stand_in_their_order(folder):
    """Also beyond the tenth."""
    for number in range(12):
        folder.append(part(origins=[str(number)]))

    origins = [folder.read(path).origins[0] for path in folder.parts()]
    assert [str(number) for number in range(12)] == origins


def test_service_times_are_read_as_they_were_written(folder):
    """Side, batch size, milliseconds; none before they are written."""
    samples = [("fast", 1, 0.1), ("slow", 32, 2.5)]

    assert not folder.has_service()
    folder.write_service(samples)
    assert folder.has_service()
    assert samples == folder.service()


def test_what_a_killed_writer_left_is_removed(folder):
    """Files that are not whole never count, and go when the record is opened again."""
    half = folder.path / "part-00000.parquet.tmp"
    half.write_bytes(b"PAR1")

    assert [] == folder.parts()
    assert described() == folder.open()
    assert not half.exists()


def test_a_writer_killed_before_its_description_leaves_an_empty_folder(tmp_path):
    """Half a description is none."""
    (tmp_path / f"{DESCRIPTION}.tmp").write_text("{")

    assert None is Folder(tmp_path).open()
    assert [] == list(tmp_path.iterdir())


def test_a_folder_with_other_things_is_refused_and_left_as_it_is(tmp_path):
    """A record never goes between somebody's files; not even their .tmp is touched."""
    names = {"thesis.doc", "draft.tmp"}
    for name in names:
        (tmp_path / name).write_text("mine")

    with pytest.raises(DataError, match="holds other things than a record"):
        Folder(tmp_path).open()
    assert names == {path.name for path in tmp_path.iterdir()}


def test_opening_makes_no_folder(tmp_path):
    """It is made by the first write: a command that is refused leaves nothing behind."""
    opened = Folder(tmp_path / "deep" / "record")

    assert None is opened.open()
    assert not opened.path.exists()
    opened.describe(described())
    assert described() == opened.open()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    """Its parent is a file, say."""
    (tmp_path / "file").write_text("")

    with pytest.raises(DataError, match="cannot be"):
        Folder(tmp_path / "file" / "record").describe(described())


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    """With the system's own word for it."""
    (tmp_path / "record").write_text("")

    with pytest.raises(DataError, match="cannot be used"):
        Folder(tmp_path / "record").open()


def test_without_a_description_there_is_no_record(tmp_path):
    """Reading says which command makes one."""
    with pytest.raises(DataError, match=r"There is no record in .*: make one with `hunch record`"):
        Folder(tmp_path / "nowhere").description()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ("[]", "not of the format 2"),
        ('{"format": 1}', "not of the format"),
        ('{"format": 2}', "is not as `hunch record` wrote it, models: Field required: record"),
    ],
    ids=["broken", "list", "other format", "nothing in it"],
)
def test_a_description_that_means_nothing_is_one_sentence(folder, text, said):
    """Broken JSON, or what another version wrote."""
    (folder.path / DESCRIPTION).write_text(text)

    with pytest.raises(DataError, match=said):
        folder.description()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda it: it.pop("rows"), "it is complete, but does not say how many rows it has"),
        (lambda it: it.update(rows=-1), "rows: Input should be greater than or equal to 0"),
        (lambda it: it["models"]["slow"].update(kind="luck"), "models.slow.kind: Input should be"),
        (lambda it: it["models"].pop("fast"), "models.fast: Field required"),
        (
            lambda it: it["models"]["fast"].update(labels=["a", "a", "b", "c"]),
            "models.fast: a label stands in it twice",
        ),
        (lambda it: it["models"]["fast"].update(temperature=0), "models.fast.temperature: Input"),
        (lambda it: it["source"].update(kind="luck"), "source: Input tag 'luck' found"),
        (lambda it: it.update(more=1), "more: Extra inputs are not permitted"),
    ],
)
def test_a_description_that_was_changed_is_one_sentence(folder, change, said):
    """It says what is wrong with it, and what to do."""
    path = folder.path / DESCRIPTION
    contents = orjson.loads(path.read_bytes())
    change(contents)
    path.write_bytes(orjson.dumps(contents))

    with pytest.raises(DataError) as raised:
        folder.description()
    assert said in str(raised.value)
    assert str(raised.value).endswith(": record again into another folder.")


def test_one_process_writes_at_a_time(folder):
    """Another one is refused until the first lets go."""
    folder.open()

    with pytest.raises(DataError, match="Another `hunch record` writes to"):
        Folder(folder.path).open()
    folder.close()
    other = Folder(folder.path)
    assert described() == other.open()
    other.close()


def test_one_process_begins_at_a_time(tmp_path):
    """Of two that find no folder the second is refused, whether the first has ended or not."""
    first, second, third = (Folder(tmp_path / "record") for _ in range(3))
    assert [None, None, None] == [it.open() for it in (first, second, third)]
    first.begin(described())

    with pytest.raises(DataError, match="Another `hunch record` writes to"):
        second.begin(described(rows=7))
    first.close()
    with pytest.raises(DataError, match="Another `hunch record` writes to"):
        third.begin(described(rows=7))
    third.close()
    assert described() == first.description()


def test_a_lost_part_is_named(folder):
    """Rows between the others are missing: nothing is guessed."""
    for _ in range(3):
        folder.append(part())
    folder.parts()[1].unlink()

    with pytest.raises(DataError, match=r"part-00001.parquet is missing"):
        folder.parts()


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more", None], ids=["empty", "cut", "other"])
def test_a_spoilt_part_is_one_sentence(folder, content):
    """Cut off, or a Parquet file of something else."""
    folder.append(part())
    folder.write_service([("fast", 1, 0.1)])
    (path,) = folder.parts()
    path.write_bytes((folder.path / SERVICE).read_bytes() if content is None else content)

    with pytest.raises(DataError, match=r"part-00000.parquet is not as `hunch record` wrote it"):
        folder.read(path)
