"""`read`: records as arrays in one order of labels, each input once, or one sentence."""

import math

import numpy as np
import orjson
import pytest
from tests.evaluation.recorders import Listed, message, record

from hunch.errors import DataError
from hunch.evaluation.parts import DESCRIPTION, Folder
from hunch.evaluation.records import NO_LABEL, read


async def test_both_models_stand_in_one_order_of_labels(tmp_path):
    """The slow model's columns are put into the fast one's order."""
    values = [
        message([1, 2], [3, 4], "yes"),
        message([5, 6], [8, 7], "no"),
        message([0, 1], [0, 2]),
    ]
    found = read(await record(tmp_path, Listed(values)))

    assert ("no", "yes") == found.labels
    assert [[1, 2], [5, 6], [0, 1]] == found.fast.scores.tolist()
    assert [[4, 3], [7, 8], [2, 0]] == found.slow.scores.tolist()
    assert [1, 0, NO_LABEL] == found.right.tolist()
    assert [True, True, False] == found.is_labelled.tolist()
    assert [0, 1, 0] == found.slow.best.tolist()
    assert [] == found.left_out()


async def test_each_input_counts_once(tmp_path):
    """Repeats are left out, whatever their id; the first one stays."""
    one, other = ([1, 2], [3, 4]), ([2, 1], [3, 4])
    values = [message(*one, "no"), message(*other), message(*one, "yes", id="again")]
    found = read(await record(tmp_path, Listed(values)))

    assert (2, 1) == (len(found), found.repeats)
    assert [0, NO_LABEL] == found.right.tolist()
    assert 2 == len(set(found.inputs))
    assert ["Left out because each input counts once: 1 of the rows."] == found.left_out()


async def test_rows_without_both_answers_are_left_out_and_counted(tmp_path):
    """Nothing that is NaN is left, and each model's failures have a sentence of their own."""
    values = [message([1, 2], [3, 4]), message([1], [3, 4]), message([1, 3], [1e300, 0]), b"{"]
    found = read(await record(tmp_path, Listed(values)))

    assert (1, {"fast": 2, "slow": 2}) == (len(found), found.failed)
    assert np.isfinite(found.fast.scores).all()
    assert np.isfinite(found.slow.scores).all()
    assert 2 == len(found.left_out())


async def test_models_that_answer_nothing_are_one_sentence(tmp_path):
    """It passes on what the first row without an answer says."""
    folder = await record(tmp_path, Listed([message([1], [2]), message([3], [4])]))

    with pytest.raises(DataError, match=r"No row .* the first says: .*must be 2 numbers"):
        read(folder)


async def test_probabilities_are_those_of_a_stage(tmp_path):
    """With temperature 1 the softmax of the logits, with energies; a hot one flattens them."""
    found = read(await record(tmp_path, Listed([message([0, math.log(3)], [0, 0])])))
    plain, energies = found.fast.probabilities(1.0)
    hot, _ = found.fast.probabilities(1e6)

    assert energies is not None
    assert [0.25, 0.75] == pytest.approx(plain[0].tolist())
    assert math.log(4) == pytest.approx(energies[0])
    assert [0.5, 0.5] == pytest.approx(hot[0].tolist(), abs=1e-5)


async def test_the_checksum_is_of_all_that_was_recorded(tmp_path):
    """Equal for equal records wherever they lie; another label or score makes another one."""
    found = set()
    for name, value in (
        ("one", message([1, 2], [3, 4], "no")),
        ("same", message([1, 2], [3, 4], "no", id=7)),
        ("label", message([1, 2], [3, 4], "yes")),
        ("score", message([1, 2], [3, 5], "no")),
    ):
        (tmp_path / name).mkdir()
        found.add((name == "same", read(await record(tmp_path / name, Listed([value]))).sha256))

    assert 4 == len(found)
    assert 3 == len({checksum for _, checksum in found})


async def changed(folder, change):
    """A record of three messages whose description is changed by hand."""
    made = await record(folder, Listed([message([n, 1], [2, n], "yes") for n in range(3)]))
    said = orjson.loads((made / DESCRIPTION).read_bytes())
    change(said)
    (made / DESCRIPTION).write_bytes(orjson.dumps(said))
    return made


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda said: said.update(is_complete=False),
            "is not finished: run the same `hunch record`",
        ),
        (lambda said: said.update(rows=4), "holds 3 of 4 rows"),
        (lambda said: said["models"]["fast"].update(labels=["a", "b", "c"]), "has 2 columns"),
        (lambda said: said["models"]["slow"].update(labels=["no", "maybe"]), "different labels"),
        (
            lambda said: [it.update(labels=["no", "maybe"]) for it in said["models"].values()],
            "has the label 'yes', which the models do not know",
        ),
    ],
    ids=["unfinished", "rows lost", "columns", "labels differ", "unknown label"],
)
async def test_what_does_not_fit_together_is_one_sentence(tmp_path, change, sentence):
    """Nothing is read halfway."""
    folder = await changed(tmp_path, change)

    with pytest.raises(DataError) as raised:
        read(folder)
    assert sentence in str(raised.value)


async def test_a_lost_last_part_is_noticed(tmp_path):
    """The description knows how many rows there are."""
    folder = await changed(tmp_path, dict)
    Folder(folder).parts()[-1].unlink()

    with pytest.raises(DataError):
        read(folder)
