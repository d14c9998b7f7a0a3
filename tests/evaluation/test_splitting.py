"""Which rows choose τ and which judge it."""

import numpy as np
import pytest
from tests.evaluation import made

from hunch.errors import DataError
from hunch.evaluation.records import read
from hunch.evaluation.splitting import split


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A record of 400 rows, 100 of which repeat the input of another."""
    given = made.drawn(400)
    numbers = [row if row < 300 else row - 300 for row in range(400)]
    return read(made.record(tmp_path_factory.mktemp("records") / "r", given, inputs=numbers))


def test_every_input_has_exactly_one_part(whole):
    """What fits, what chooses and what judges have no input in common, and together all of them."""
    parts = split(whole, None, seed=3)

    inputs = [it for part in (parts.fit, parts.choose, parts.judge) for it in part.inputs]
    assert 300 == len(inputs) == len(set(inputs))
    assert set(whole.inputs) == set(inputs)
    assert {"fit": 60, "choose": 180, "judge": 60} == parts.rows()


def test_a_split_follows_from_its_seed(whole):
    """The same seed splits the same way, another one otherwise."""
    first, again, other = (split(whole, None, seed=seed).choose.inputs for seed in (3, 3, 4))

    assert first == again
    assert first != other


def test_rows_of_a_part_keep_what_belongs_to_them(whole):
    """Outputs and labels go with their inputs into a part."""
    part = split(whole, None, seed=3).judge

    places = [whole.inputs.index(it) for it in part.inputs]
    assert np.array_equal(whole.right[places], part.right)
    assert np.array_equal(whole.counts[places], part.counts)
    assert {1, 2} == set(part.counts.tolist())
    assert np.array_equal(whole.fast.scores[places], part.fast.scores)
    assert np.array_equal(whole.slow.scores[places], part.slow.scores)


def test_another_record_judges_whole(whole, tmp_path):
    """With rows of its own to judge by, all of the first record fits and chooses."""
    other = read(made.record(tmp_path / "r", made.drawn(60), inputs=range(1000, 1060)))

    parts = split(whole, other, seed=0)

    assert {"fit": 75, "choose": 225, "judge": 60} == parts.rows()
    assert other.inputs == parts.judge.inputs


def test_what_chooses_never_judges(whole, tmp_path):
    """A judging record with inputs of the first one is refused, and the sentence counts them."""
    other = read(made.record(tmp_path / "r", made.drawn(60), inputs=range(290, 350)))

    with pytest.raises(DataError, match=r"^10 of the 60 inputs in .* are in .* too: what chooses"):
        split(whole, other, seed=0)


def test_records_of_different_models_do_not_meet(whole, tmp_path):
    """τ of one pair is not judged by the answers of another."""
    other = read(made.record(tmp_path / "r", made.drawn(60), inputs=range(1000, 1060), marks="2"))

    with pytest.raises(DataError, match="recorded with different fast models"):
        split(whole, other, seed=0)
