"""What is said of a message of which nothing was found, and how time spans read."""

import io

import pytest
from rich.console import Console

from hunch.cli.inspect_account import account_of, duration
from hunch.cli.inspect_tree import tree_of
from hunch.kafka.client import TopicPartition
from hunch.kafka.log_search import Span
from hunch.kafka.trail import Behind, Origin, Presence, Searched, Trail

UNSEEN = Trail(
    origin=Origin("my-topic", 1, 7),
    presence=Presence.DELETED,
    span=Span(100, 200),
    progress={"fast": Behind(150, 200)},
    searched=[Searched(TopicPartition("decisions", 1), 0, 64, 0, 5_000)],
)


def shown(account) -> str:
    """The tree as a narrow terminal without colours shows it."""
    text = io.StringIO()
    Console(file=text, width=80).print(tree_of(account))
    return text.getvalue()


def test_what_was_searched_is_told_where_it_may_matter():
    """The fast stage is past the message, and nothing is there: these offsets were looked at."""
    account = account_of(UNSEEN, 0.0, records_read=64)

    assert "the fast stage is past it" in account["missing"]["decision"]
    assert "retention has deleted it: my-topic-1 begins at offset 100" in shown(account)
    assert "decisions 1: 0 to 64; it holds 0 to 5,000" in shown(account)


@pytest.mark.parametrize("text", ["a-b-1-7", "a.b_c-1-7", "1-1-7"])
def test_an_origin_is_read_from_its_end(text):
    """Topics may have hyphens and digits in their names."""
    origin = Origin.parse(text)

    assert origin is not None
    assert (1, 7, text) == (origin.partition, origin.offset, str(origin))


@pytest.mark.parametrize("text", ["", "-", "a", "1-2", "-1-2", "a-1", "a-x-2", "a-1-", "a-1--2"])
def test_what_is_no_origin_is_none(text):
    """Neither empty names nor numbers that are none."""
    assert Origin.parse(text) is None


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0 ms"),
        (0.26, "0.3 ms"),
        (54.4, "54 ms"),
        (1_400, "1.4 s"),
        (95_000, "1.6 min"),
        (7_200_000, "2.0 h"),
        (200_000_000, "2.3 days"),
        (20 * 31_557_600_000, "20.0 years"),
    ],
)
def test_time_spans_read_well(ms, text):
    """In the unit that people would use."""
    assert text == duration(ms)
