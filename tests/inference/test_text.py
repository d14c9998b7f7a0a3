"""Text is tokenized, run in batches of similar length, and answered in its own order."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.inference import graphs
from tokenizers import Tokenizer

from hunch.errors import ModelError
from hunch.inference.text import ROWS_A_RUN, TextFeatures, read_tokenizer

texts = st.lists(st.lists(st.sampled_from(graphs.WORDS[2:]), min_size=1, max_size=9), max_size=20)


@pytest.fixture(scope="module")
def tokenizer_json(tmp_path_factory):
    """The text of a tokenizer.json that pads to the longest and truncates at six."""
    folder = graphs.word_lengths(tmp_path_factory.mktemp("words"))
    return (folder / "tokenizer.json").read_text()


def features(text, **padding):
    """Features by a tokenizer.json, with its padding changed."""
    tokenizer = Tokenizer.from_str(text)
    if padding:
        tokenizer.enable_padding(**padding)
    types = dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), np.dtype(np.int64))
    return TextFeatures(tokenizer, "text", types)


@given(texts)
def test_every_row_is_fed_once_with_its_own_tokens(tokenizer_json, sentences):
    """Whatever the order of the runs, each row has the ids of its text, cut at six tokens."""
    batches, errors = features(tokenizer_json).batches([{"text": " ".join(s)} for s in sentences])
    found = {}
    for rows, feeds in batches:
        for row, ids, mask in zip(rows, feeds["input_ids"], feeds["attention_mask"], strict=True):
            assert int(row) not in found
            found[int(row)] = ids[mask == 1].tolist()

    ids = [[graphs.WORDS.index(word) for word in sentence][:6] for sentence in sentences]
    assert {} == errors
    assert dict(enumerate(ids)) == found


@given(texts)
def test_runs_are_small_and_sorted_by_length(tokenizer_json, sentences):
    """No run is over its bound, and none has a longer text than the next."""
    batches, _ = features(tokenizer_json).batches([{"text": " ".join(s)} for s in sentences])
    widths = [feeds["input_ids"].shape[1] for _, feeds in batches]

    assert all(len(rows) <= ROWS_A_RUN for rows, _ in batches)
    assert sorted(widths) == widths


@pytest.mark.parametrize(
    ("padding", "ids"),
    [
        ({}, [[2, 0], [2, 3]]),
        ({"length": 3}, [[2, 0, 0], [2, 3, 0]]),
        ({"pad_to_multiple_of": 4}, [[2, 0, 0, 0], [2, 3, 0, 0]]),
        ({"direction": "left", "pad_id": 5}, [[5, 2], [2, 3]]),
    ],
)
def test_padding_is_what_tokenizer_json_says(tokenizer_json, padding, ids):
    """Length, multiple, side and token of the padding are those of the tokenizer."""
    batches, _ = features(tokenizer_json, **padding).batches([{"text": "one"}, {"text": "one two"}])

    assert [ids] == [feeds["input_ids"].tolist() for _, feeds in batches]


def test_without_padding_only_equal_lengths_run_together(tmp_path):
    """A tokenizer that does not pad gives tensors without padding."""
    folder = graphs.word_lengths(tmp_path, padding=False)
    own = features((folder / "tokenizer.json").read_text())
    batches, _ = own.batches([{"text": t} for t in ("one", "one two", "two")])

    assert [[[2], [3]], [[2, 3]]] == [feeds["input_ids"].tolist() for _, feeds in batches]


def test_truncation_falls_back_to_the_models_own_limit(tmp_path):
    """Where tokenizer.json does not truncate, model_max_length of its config does."""
    folder = graphs.word_lengths(tmp_path, padding=False)
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 2}))

    assert [2, 3] == read_tokenizer(folder / "tokenizer.json").encode("one two three").ids


def test_unreadable_tokenizer_is_refused(tmp_path):
    """A tokenizer.json that is none is refused with a sentence."""
    (tmp_path / "tokenizer.json").write_text("{}")

    with pytest.raises(ModelError, match=r"tokenizer .*tokenizer\.json cannot be read"):
        read_tokenizer(tmp_path / "tokenizer.json")


async def test_answers_come_in_the_order_of_the_messages(tmp_path):
    """The longest text first or last: the answer stands in its own row, bad rows in theirs."""
    folder = graphs.word_lengths(tmp_path)
    longest, shortest = {"text": "four four four four"}, {"text": "one"}
    prediction = await graphs.predict(folder, longest, {}, shortest, {"text": 5}, longest)

    best = prediction.probabilities.max(axis=1)
    assert [1, 3] == sorted(prediction.errors)
    assert best[0] == best[4] > best[2] > 0.5
    assert [0.0, 0.0] == [best[1], best[3]]


async def test_lone_surrogate_in_a_text_is_a_row_error(tmp_path):
    """A half character, which JSON can write and UTF-8 cannot, spoils its own row only."""
    folder = graphs.word_lengths(tmp_path)
    prediction = await graphs.predict(folder, b'{"text": "\\ud800"}', {"text": "one"})

    assert [0] == list(prediction.errors)
