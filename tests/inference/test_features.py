"""Fields become tensors; a bad row spoils no other row."""

import json
import math

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hunch.errors import WireError
from hunch.inference.features import JsonDecoder, Tensor, TensorFeatures

PAIR = Tensor("x", "x", np.dtype(np.float32), (2,))
ONE = Tensor("x", "x", np.dtype(np.float32), ())
WHOLE = Tensor("x", "x", np.dtype(np.int8), (2,))
TRUTH = Tensor("x", "x", np.dtype(np.bool_), (1,))
STRING = Tensor("x", "x", np.dtype(object), (1,))
STRINGS = Tensor("x", "x", np.dtype(object), (2,))
GRID = Tensor("x", "x", np.dtype(np.float64), (2, 2))
TENSORS = [PAIR, ONE, WHOLE, TRUTH, STRING, STRINGS, GRID]

atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.integers(-200, 200),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3),
)
values = st.one_of(
    atoms,
    st.lists(atoms, max_size=3),
    st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=2),
    st.lists(st.integers(-128, 127), min_size=2, max_size=2),
    st.lists(st.lists(st.integers(-9, 9), min_size=2, max_size=2), min_size=2, max_size=2),
    st.dictionaries(st.text(max_size=2), atoms, max_size=1),
)
documents = st.lists(st.one_of(values.map(lambda v: {"x": v}), st.just({})), max_size=6)


def fed(tensor, rows):
    """What each row is fed as, or None where it is an error."""
    batches, errors = TensorFeatures([tensor]).batches(rows)
    found = dict.fromkeys(errors)
    for numbers, feeds in batches:
        assert feeds["x"].shape == (len(numbers), *tensor.shape)
        assert feeds["x"].dtype == tensor.dtype
        found |= {int(row): value.tolist() for row, value in zip(numbers, feeds["x"], strict=True)}
    return [found[row] for row in range(len(rows))]


@pytest.mark.parametrize("tensor", TENSORS, ids=lambda t: f"{t.dtype}{t.shape}")
@given(rows=documents)
def test_a_row_is_fed_the_same_alone_and_in_company(tensor, rows):
    """What becomes of a row depends on no other row."""
    assert [fed(tensor, [row])[0] for row in rows] == fed(tensor, rows)


@given(rows=st.lists(st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=2)))
def test_finite_numbers_arrive_as_they_were_sent(rows):
    """Every pair of finite numbers reaches the tensor unchanged, any other is an error."""
    expected = [row if all(map(math.isfinite, row)) else None for row in rows]

    assert expected == fed(PAIR, [{"x": row} for row in rows])


@pytest.mark.parametrize(
    ("tensor", "value", "says"),
    [
        (PAIR, [1, 2, 3], "must be 2 numbers, not of shape"),
        (PAIR, [1, [2]], "not lists of different lengths"),
        (PAIR, ["1", "2"], "must be 2 numbers"),
        (PAIR, [1, None], "must be 2 numbers"),
        (PAIR, 7, "must be 2 numbers"),
        (PAIR, [1e39, 0], "has a number that float32 cannot hold"),
        (PAIR, [math.nan, 0], "has a number that float32 cannot hold"),
        (ONE, "1", "must be a number"),
        (WHOLE, [1.5, 2], "must be 2 whole numbers"),
        (WHOLE, [1, 200], "must lie between -128 and 127"),
        (TRUTH, 1, "must be a truth value"),
        (STRING, 5, "must be a string"),
        (STRINGS, ["a", 5], "must hold strings only"),
        (STRINGS, ["a"], "must be a list of 2 strings"),
    ],
)
def test_error_says_what_the_field_must_be(tensor, value, says):
    """The sentence names the field and what belongs into it."""
    _, errors = TensorFeatures([tensor]).batches([{"x": value}])

    assert [0] == list(errors)
    assert errors[0].startswith("The field 'x' ")
    assert says in errors[0]


def test_missing_field_is_named():
    """The sentence names the field that the message lacks."""
    _, errors = TensorFeatures([PAIR]).batches([{"y": [1, 2]}])

    assert {0: "The message has no field 'x', which the model needs."} == errors


@pytest.mark.parametrize("tensor", TENSORS, ids=lambda t: f"{t.dtype}{t.shape}")
def test_sample_can_be_fed(tensor):
    """What a model is warmed up with is a good message."""
    features = TensorFeatures([tensor])

    assert {} == features.batches([features.sample()])[1]


@pytest.mark.parametrize("tensor", [ONE, STRING])
def test_single_value_may_stand_alone_or_in_a_list(tensor):
    """A tensor of one value a row takes the value itself, or a list of one."""
    value = "a" if tensor is STRING else 1.0
    alone, listed = fed(tensor, [{"x": value}, {"x": [value]}])

    assert alone == listed


def test_strings_with_trailing_nul_survive():
    """Strings are fed as Python objects, which cut nothing."""
    assert [["a\0"]] == fed(STRING, [{"x": "a\0"}])


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.integers(-(2**53), 2**53))))
def test_json_objects_are_decoded(document):
    """A JSON object becomes its fields."""
    assert document == JsonDecoder()(orjson.dumps(document))


@pytest.mark.parametrize("value", [b"", b"{", b"\xff", b'{"x": NaN}'])
def test_bytes_that_are_not_json_are_refused(value):
    """What is not JSON is refused with a sentence."""
    with pytest.raises(WireError, match="is not JSON"):
        JsonDecoder()(value)


@pytest.mark.parametrize("value", [[], 1, "x", None])
def test_json_that_is_no_object_is_refused(value):
    """Fields have names: what is not an object is refused."""
    with pytest.raises(WireError, match="not an object"):
        JsonDecoder()(json.dumps(value).encode())
