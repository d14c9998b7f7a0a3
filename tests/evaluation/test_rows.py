"""Rows of a file: their labels, what is the same input, and what is no message at all."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hunch.errors import DataError
from hunch.evaluation.rows import JsonLines, Labels, fingerprint, raw_fingerprint

LABELS = Labels("label", ["no", "yes", "7"])
INTEGERS = st.integers(-(2**63), 2**63 - 1)
"""Those that a JSON message holds as such; orjson makes floats of larger ones."""
MIXED = [4, 3, 2, 7, 1, 8, 5, 6]
"""The order of eight lines; another one would not continue a record that is begun."""
WORDS = st.lists(st.text("abcXYZ", min_size=1, max_size=5), min_size=1, max_size=5)


def source(folder, text, labels=LABELS):
    """The lines of a file that holds this text."""
    path = folder / "data.jsonl"
    path.write_bytes(text)
    return JsonLines(path, labels)


@given(WORDS, st.sampled_from([" ", "  ", "\t", "\n "]))
def test_case_and_spaces_make_no_other_input(words, space):
    """Texts that differ in letters' case and in spaces are one input."""
    plain = fingerprint({"text": " ".join(words)}, {"text"})
    loud = fingerprint({"text": space + space.join(words).upper() + space}, {"text"})

    assert plain == loud


@given(st.dictionaries(st.sampled_from("abcd"), INTEGERS | st.text()), INTEGERS)
def test_only_what_a_model_reads_makes_the_input(others, number):
    """An id, a label or any other field leaves the fingerprint as it is."""
    assert fingerprint({"x": number}, {"x"}) == fingerprint(others | {"x": number}, {"x"})


@given(st.lists(st.integers(0, 3), max_size=4), st.lists(st.integers(0, 3), max_size=4))
def test_other_numbers_are_another_input(one, other):
    """Lists have the same fingerprint exactly when they are equal."""
    same = fingerprint({"x": one}, {"x"}) == fingerprint({"x": other}, {"x"})

    assert (one == other) == same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, 2], [1.0, 2.0]),
        (0, -0.0),
        (10**17, 1e17),
        (2**63, 2.0**63),
        (0.1, 0.10000000149011612),
        (3, 3.0000000001),
        ([[1, "A  b"]], [[1.0, "a b"]]),
    ],
)
def test_a_number_is_the_same_however_it_is_written(one, other):
    """A file that another program has written again holds the same inputs."""
    assert fingerprint({"x": one}, {"x"}) == fingerprint({"x": other}, {"x"})


@pytest.mark.parametrize(
    ("one", "other"), [(0.1, 0.1001), (2**53, 2**53 + 1), (1, True), (1, "1"), (1e300, 1e301)]
)
def test_what_a_model_tells_apart_is_another_input(one, other):
    """Also where the numbers are large, or are none."""
    assert fingerprint({"x": one}, {"x"}) != fingerprint({"x": other}, {"x"})


def test_what_is_no_message_is_an_input_of_its_own():
    """Bytes that cannot be read are told apart, and from every message."""
    found = {raw_fingerprint(None), raw_fingerprint(b"{"), raw_fingerprint(b"["), b"", b"\0" * 16}

    assert 4 == len(found - {b""})
    assert fingerprint({}, ["x"]) not in found


@pytest.mark.parametrize(
    ("field", "label"), [("yes", "yes"), (7, "7"), (None, None)], ids=["text", "number", "null"]
)
def test_a_label_is_text_or_a_whole_number(field, label):
    """A number stands for the label that is written like it; null is none."""
    assert label == LABELS.of({"label": field}, "row 1")
    assert None is LABELS.of({}, "row 1")


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("maybe", "The label 'maybe' in row 1 is unknown to the models"),
        (True, "The field 'label' in row 1 is no label but true"),
        (0.5, "The field 'label' in row 1 is no label but 0.5"),
        (["yes"] * 50, "The field 'label' in row 1 is no label but [\"yes\""),
    ],
)
def test_another_label_is_one_sentence(field, said):
    """It says where the label stands and which option names the field."""
    with pytest.raises(DataError) as raised:
        LABELS.of({"label": field}, "row 1")

    assert str(raised.value).startswith(said)
    assert "--label-field" in str(raised.value)
    assert len(str(raised.value)) < 250


@given(
    st.lists(st.sampled_from([b'{"label": "yes"}', b"", b"  ", b'{"x": 1}\r'])),
    st.integers(0, 9),
    st.sampled_from([b"", codecs.BOM_UTF8]),
)
async def test_rows_behind_an_origin_are_the_rest(tmp_path_factory, lines, done, mark):
    """Blank lines are no rows, and reading on behind any row gives just those that follow."""
    read = source(tmp_path_factory.mktemp("rows"), mark + b"\n".join([*lines, b"{}"]))
    await read.begin(None)
    whole = [row async for row in read.rows(None)]
    lines = [*lines, b"{}"]
    expected = [(str(i), line.strip()) for i, line in enumerate(lines, 1) if line.strip()]
    done = min(done, len(whole) - 1)
    rest = [row async for row in read.rows(whole[done].origin)]

    assert expected == sorted(whole, key=lambda row: int(row.origin))
    assert whole[done + 1 :] == rest


async def test_the_rows_of_a_file_come_mixed_and_always_in_the_same_order(tmp_path):
    """A file that is sorted by label makes no batches of one class; a record can be continued."""
    text = b"".join(b'{"x": %d}\n' % n for n in range(8))
    found = []
    for _ in range(2):
        read = source(tmp_path, text)
        await read.begin(None)
        found.append([int(row.origin) async for row in read.rows(None)])

    assert found[0] == found[1] == MIXED


async def test_a_file_is_known_by_its_contents(tmp_path):
    """The description counts rows, and its checksum changes with any byte."""
    one = await source(tmp_path, b'{"x": 1}\n\n{"x": 2}').begin(None)
    other = await source(tmp_path, b'{"x": 1}\n\n{"x": 3}').begin(None)

    assert ("file", "data.jsonl", 2) == (one["kind"], one["name"], one["rows"])
    assert one["sha256"] != other["sha256"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "There is no row in"),
        (b"\n \n", "There is no row in"),
        (b'{"x": 1}\n{"x": \n', "There is no message in line 2 of"),
        (b'{"x": 1}\n[1]\n', "it is JSON but not an object"),
        (b'{"x": NaN}\n', "it is not JSON"),
        (b'{"x": 1}\n\n{"label": "maybe"}\n', "The label 'maybe' in line 3 of"),
    ],
    ids=["empty", "blank", "broken", "list", "NaN", "unknown label"],
)
async def test_a_bad_file_is_one_sentence_before_anything_is_recorded(tmp_path, text, said):
    """The whole file is looked through first."""
    with pytest.raises(DataError) as raised:
        await source(tmp_path, text).begin(None)

    assert said in str(raised.value)


async def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path):
    """A folder, say."""
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        await JsonLines(tmp_path, LABELS).begin(None)
