"""`hunch what-if` from outside, on decisions that stand on a topic."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from tests.evaluation.test_what_if import SENT

from hunch.cli.what_if import since_all_are_there
from hunch.kafka.client import Header

NOTE = "hunch: Asked about: 10 messages that the policy p (tau 0.8, delta_ms 300) has decided."


@dataclass
class Timed:
    """A record of which only the time counts."""

    partition: int
    timestamp: int
    topic: str = "decisions"
    offset: int = 0
    key: bytes | None = None
    value: bytes | None = None
    headers: Sequence[Header] = ()


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        ({0, 4}, [30, 30, 35]),
        ({4}, [30, 20, 30, 35, 25]),
        (set(), [30, 20, 30, 35, 10, 25]),
    ],
    ids=["two", "one", "none"],
)
def test_no_partition_is_asked_about_over_a_longer_time(cut, expected):
    """From when on the last of those begins that lack earlier ones; of the others all is there."""
    records = [Timed(0, 30), Timed(4, 20), Timed(4, 30), Timed(4, 35), Timed(1, 10), Timed(1, 25)]

    assert expected == [it.timestamp for it in since_all_are_there(records, cut)]


@pytest.fixture
def connection(embedded_broker, topic_prefix):
    """Settings of a broker with fresh topics, as environment variables."""
    for name in ("decisions", "late-results"):
        embedded_broker.create_topic(topic_prefix + name, 4)
    return {"HUNCH_BOOTSTRAP": embedded_broker.bootstrap, "HUNCH_TOPIC_PREFIX": topic_prefix}


def test_it_says_what_would_have_been_and_what_nobody_knows(hunch, connection):
    """A line for what was, one for each pair; ranges where the slow model was not asked."""
    topic = connection["HUNCH_TOPIC_PREFIX"] + "decisions"
    sent = hunch(
        "send", "-", "--topic", topic, stdin="\n".join(map(bytes.decode, SENT)), **connection
    )
    done = hunch("what-if", "--tau", "0.6,0.9", **connection)
    again = hunch("what-if", "--delta-ms", "250", "--json", **connection)

    assert (0, 0) == (sent.returncode, done.returncode), done.stderr
    today, lower, higher = (line.split("\t") for line in done.stdout.splitlines())
    assert ["0.8", "300", "50.0%", "30.00%", "20.00%", "0.00%"] == today[:6]
    assert ["0.6", "300", "70.0%", "10.00%", "20.00%", "10.00%"] == lower[:6]
    assert ["0.9", "300", "40.0%", "30.00% to 40.00%"] == higher[:4]
    assert done.stderr.startswith(NOTE)
    assert "nobody knows what the slow model would have said" in done.stderr
    shorter = json.loads(again.stdout)["points"][1]
    assert (250, {"low": 0.2, "high": 0.2}) == (shorter["delta_ms"], shorter["slow"])


def test_without_decisions_it_says_so(hunch, connection):
    """One sentence, code 2."""
    done = hunch("what-if", "--tau", "0.5", **connection)

    assert "hunch: There are no decisions to ask about: send messages first.\n" == done.stderr
    assert ("", 2) == (done.stdout, done.returncode)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Name what to ask about with --tau or --delta-ms, like --tau 0.8,0.95."),
        (["--tau", "2"], "tau is 2, but it must lie between 0 and 1."),
        (["--tau", "x"], "--tau 'x' cannot be read: write numbers like 1,2,3."),
        (["--delta-ms", "-1"], "delta_ms is -1, but it must lie between 0 and 3,600,000."),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, list) else "",
)
def test_a_mistake_is_one_sentence(hunch, arguments, sentence):
    """Before a broker is asked."""
    done = hunch("what-if", *arguments)

    assert (f"hunch: {sentence}\n", "", 2) == (done.stderr, done.stdout, done.returncode)
