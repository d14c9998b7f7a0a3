"""Records as lines: readable for people, complete for programs."""

import json
import re

import pytest

from hunch.cli.lines import as_json, as_text, printable
from hunch.core.envelope import Answer, Deferral, Path, Reason, SlowResult
from hunch.kafka.codec import (
    DeadLetter,
    encode_dead_letter,
    encode_decision,
    encode_deferral,
    encode_result,
)
from hunch.testing import MemoryRecord

FAST = Answer(label="lost_card", confidence=0.41, model="f@1")
SLOW = Answer(label="card_arrival", confidence=0.98, model="s@1")


def a_record(topic, key=None, value=None, headers=()):
    """A record as a consumer gets it."""
    return MemoryRecord(
        topic=topic,
        partition=2,
        offset=17,
        timestamp=1_700_000_000_123,
        key=key,
        value=value,
        headers=tuple(headers),
    )


def a_decision(path, said, slow=None, reason=Reason.VERIFIED):
    """A record on decisions."""
    key, value, headers = encode_decision(
        key=b"k",
        traceparent=None,
        origin="messages-2-9",
        id="u1",
        said=said,
        path=path,
        reason=reason,
        fast=FAST,
        slow=slow,
        tau=0.9,
        delta_ms=500,
        policy="p",
        at_ms=1.0,
        times={},
    )
    return a_record("decisions", key, value, headers)


def text_of(record, logical):
    """The readable line without colours and without the time, which depends on the zone."""
    return re.sub(r"\x1b\[\d+m", "", as_text(record, logical)).split(maxsplit=1)[1]


def test_a_decision_reads_as_path_reason_answer_and_names():
    """What a person asks first stands first."""
    assert (
        "2/17 slow     verified   card_arrival 0.98 (fast said lost_card 0.41) messages-2-9 id=u1"
        == text_of(a_decision(Path.SLOW, SLOW, SLOW), "decisions")
    )
    assert "2/17 fallback deadline   lost_card 0.41 messages-2-9 id=u1" == text_of(
        a_decision(Path.FALLBACK, FAST, reason=Reason.DEADLINE), "decisions"
    )


def test_a_deferral_reads_as_fast_answer_and_deadline():
    """The payload is not the point of a deferral."""
    deferral = Deferral(
        origin="messages-2-9",
        id=None,
        fast=FAST,
        tau=0.9,
        delta_ms=500,
        policy="p",
        ingest_ms=0,
        wait_ms=1,
        fast_ms=1,
        deferred_ms=1000.0,
    )
    record = a_record("deferrals", None, b"{}", encode_deferral(deferral, 1500, None))

    assert "2/17 fast says lost_card 0.41, deadline in 500 ms messages-2-9" == text_of(
        record, "deferrals"
    )


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        ({"answer": SLOW}, "2/17 card_arrival 0.98 messages-2-9"),
        ({"shed": True}, "2/17 shed messages-2-9"),
        ({"error": "no answer"}, "2/17 error no answer messages-2-9"),
    ],
)
def test_a_slow_result_reads_as_its_outcome(outcome, expected):
    """An answer, an error or shed."""
    result = SlowResult(origin="messages-2-9", deferral=3, model="s@1", **outcome)
    value, headers = encode_result(result)

    assert expected == text_of(a_record("slow-results", None, value, headers), "slow-results")


def test_a_dead_letter_reads_as_reason_stage_and_sentence():
    """What is wrong with it, not its bytes."""
    letter = DeadLetter("messages-2-9", "fast", Reason.UNDECODABLE, "It is no JSON.", 1.0)
    key, value, headers = encode_dead_letter(letter, a_record("messages", b"k", b"\xff"))

    assert "2/17 undecodable in fast: It is no JSON. messages-2-9" == text_of(
        a_record("dead-letters", key, value, headers), "dead-letters"
    )


@pytest.mark.parametrize("logical", ["decisions", "deferrals", "slow-results", "dead-letters"])
@pytest.mark.parametrize("value", [None, b"", b"\xff\x00", b"[]", b"{}", b'{"path": 3}'])
def test_foreign_records_are_lines_too(logical, value):
    """Whatever somebody writes there, tail goes on, one line a record."""
    line = as_text(a_record(logical, None, value, [("hunch", b"?")]), logical)

    assert "2/17" in line
    assert "\n" not in line


def test_the_json_line_has_everything():
    """A program gets place, time, key, headers and value."""
    record = a_record("decisions", b"k", b'{"path":"fast"}', [("hunch-path", b"fast")])

    assert {
        "topic": "decisions",
        "partition": 2,
        "offset": 17,
        "timestamp": 1_700_000_000_123,
        "key": "k",
        "headers": {"hunch-path": "fast"},
        "value": {"path": "fast"},
    } == json.loads(as_json(record))


def test_bytes_that_are_no_text_are_base64():
    """JSON cannot carry them, and nothing may be lost."""
    line = json.loads(as_json(a_record("messages", b"\xff", b"\xfe", [("h", b"\xfd")])))

    assert ("/w==", "/g==") == (line["key_base64"], line["value_base64"])
    assert {"h": "base64:/Q=="} == line["headers"]


@pytest.mark.parametrize(
    "text", ["a\x1b]0;title\x07", "x\n└── decision    forged", "\x9b31m", "\r"]
)
def test_nothing_in_a_record_steers_the_terminal(text):
    """Escape sequences and new lines are shown, not obeyed; what is printable stays."""
    shown = printable({"id": text, "label": ["é 東", {"τ": text}], "n": 1})

    assert shown["id"].isprintable()
    assert {"label": ["é 東", {"τ": shown["id"]}], "n": 1} == {k: shown[k] for k in ("label", "n")}
