"""`read`: records as arrays in one order of labels, each input once, or one sentence."""

import math

import numpy as np
import orjson
import pytest
from tests.evaluation.recorders import FAST, SLOW, Listed, message, models, record

from hunch.errors import DataError
from hunch.evaluation.parts import DESCRIPTION, Folder
from hunch.evaluation.records import NO_ANSWER, read
from hunch.evaluation.repeats import NO_LABEL


async def test_both_models_stand_in_one_order_of_labels(tmp_path):
    """The slow model's labels are told in the fast one's order."""
    values = [
        message([1, 2], [3, 4], "yes"),
        message([5, 6], [8, 7], "no"),
        message([0, 1], [0, 2]),
    ]
    found = read(await record(tmp_path, Listed(values)))

    assert ("no", "yes") == found.labels
    assert [[1, 2], [5, 6], [0, 1]] == found.fast.scores.tolist()
    assert [[3, 4], [8, 7], [0, 2]] == found.slow.scores.tolist()
    assert [[4, 3], [7, 8], [2, 0]] == found.slow.log_scores.tolist()
    assert [1, 0, NO_LABEL] == found.right.tolist()
    assert [True, True, False] == found.is_labelled.tolist()
    assert [0, 1, 0] == found.slow.best(1.0).tolist()
    assert [] == found.left_out()


async def test_each_input_counts_once(tmp_path):
    """Repeats are left out, whatever their id, and counted; the first one stays."""
    one, other = ([1, 2], [3, 4]), ([2, 1], [3, 4])
    values = [message(*one, "no"), message(*other), message(*one, "no", id="again"), b"{", b"{"]
    found = read(await record(tmp_path, Listed(values)))

    assert (2, 1) == (len(found), found.repeats)
    assert [0, NO_LABEL] == found.right.tolist()
    assert 2 == len(set(found.inputs))
    assert [2, 1] == found.counts.tolist()
    assert [
        "Left out because the fast model has no answer: 2 of the rows.",
        "Left out because each input counts once: 1 of the rows.",
    ] == found.left_out()


async def test_of_repeats_a_labelled_one_stays(tmp_path):
    """Rows without a label hide no labels that come later."""
    inputs = [([n, 2], [3, n]) for n in range(6)]
    values = [*(message(*it) for it in inputs), *(message(*it, "yes") for it in inputs)]
    found = read(await record(tmp_path, Listed(values)))

    assert [1] * 6 == found.right.tolist()
    assert ([2] * 6, 6) == (found.counts.tolist(), found.repeats)


@pytest.mark.parametrize(
    ("labels", "right", "pair"),
    [
        (["no", "yes", "yes"], 1, ("0", "1")),
        ([None, "yes", None, "no"], 1, ("1", "3")),
        (["no", "no", "yes"], 0, ("0", "2")),
    ],
    ids=["most", "as many", "most first"],
)
async def test_labels_that_contradict_each_other_are_told(tmp_path, labels, right, pair):
    """The label of most rows counts, of equally many the first; one pair of rows is named."""
    values = [message([1, 2], [3, 4], label) for label in labels]
    found = read(await record(tmp_path, Listed([*values, message([5, 6], [7, 8], "no")])))

    assert [right, 0] == found.right.tolist()
    assert [pair] == found.contradictions
    assert f"in 1 of the inputs, as rows {pair[0]} and {pair[1]} do" in found.left_out()[-1]


async def test_rows_that_the_fast_model_does_not_answer_are_left_out(tmp_path):
    """What only the slow model fails on stays: it is wrong there, and agrees with nobody."""
    values = [
        message([1, 2], [3, 4], "no"),
        message([1], [3, 4], "no"),
        message([3, 1], [1e300, 0], "no"),
        message([4, 1], [1e300, 0]),
        b"{",
    ]
    found = read(await record(tmp_path, Listed(values)))

    assert (3, {"fast": 2, "slow": 3}) == (len(found), found.failed)
    assert [True, True, True] == found.fast.answered.tolist()
    assert [True, False, False] == found.slow.answered.tolist()
    assert [0, NO_ANSWER, NO_ANSWER] == found.slow.best(2.0).tolist()
    assert NO_ANSWER not in {NO_LABEL, *range(2)}
    assert [
        "Left out because the fast model has no answer: 2 of the rows.",
        "The slow model has no answer to 2 of the 3 inputs: they count as wrong answers of it.",
    ] == found.left_out()


@pytest.mark.parametrize("side", ["fast", "slow"])
async def test_a_model_that_answers_nothing_is_one_sentence(tmp_path, side):
    """It passes on what the first row without an answer says."""
    good = {"fast": [1, 2], "slow": [1, 2]}
    folder = await record(tmp_path, Listed([message(**good | {side: [n]}) for n in range(2)]))

    with pytest.raises(DataError, match=rf"No row .* of the {side} model; the first says: .*be 2"):
        read(folder)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 1.3, 7.0])
async def test_the_best_label_is_that_of_a_stage(tmp_path, temperature):
    """Where two are equally likely, or nearly so that a temperature makes them so, too."""
    starts = np.random.default_rng(0).normal(0, 5, 50).astype(np.float32)
    close = [[float(it), float(np.nextafter(it, np.float32(99)))] for it in starts]
    pairs = [[1.0, 1.0], *close, *(pair[::-1] for pair in close)]
    values = [message(pair, pair) for pair in pairs]
    found = read(await record(tmp_path, Listed(values)))
    async with models(tmp_path) as sides:
        given = {
            name: (await side.predictor.predict(values, temperature)).probabilities
            for name, side in sides.items()
        }

    for outputs, labels in ((found.fast, FAST), (found.slow, SLOW)):
        stage = given[outputs.name].argmax(axis=1)
        assert [labels[column] for column in stage] == [
            found.labels[column] for column in outputs.best(temperature)
        ]


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
    made = await record(folder, Listed([message([n, 1], [-2, n], "yes") for n in range(3)]))
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
        (
            lambda said: said["models"]["slow"].update(kind="probabilities"),
            "has numbers below 0 of the slow model, and says that they are probabilities",
        ),
    ],
    ids=["unfinished", "rows lost", "columns", "labels differ", "unknown label", "kind"],
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
