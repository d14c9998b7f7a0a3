"""`hunch inspect` as a process, on the embedded broker, where records lie as stages write them."""

import json

import pytest
from tests.search.trails import (
    PARTITIONS,
    SIZES,
    TRACE_ID,
    Writer,
    a_dead_letter,
    a_decision,
    a_deferral,
    a_message,
    a_result,
    now_ms,
)

from hunch.core.envelope import Path, Reason
from hunch.kafka.embedded import EmbeddedBroker

P = PARTITIONS
OTHERS = 30
"""Messages before the one in question, so that it has to be found."""
MANY = 4_000


@pytest.fixture(scope="module")
def broker():
    """An embedded broker for the tests of this file."""
    with EmbeddedBroker() as running:
        yield running


@pytest.fixture
def connection(broker, topic_prefix):
    """Settings of a broker with fresh topics, as environment variables."""
    for name, partitions in SIZES.items():
        broker.create_topic(topic_prefix + name, partitions)
    return {"HUNCH_BOOTSTRAP": broker.bootstrap, "HUNCH_TOPIC_PREFIX": topic_prefix}


@pytest.fixture
def writer(broker, topic_prefix, connection):
    """Writes to the topics of this test; there are already some messages with fast decisions."""
    del connection
    writer = Writer(broker.bootstrap, topic_prefix)
    writer.write("messages", 1, [a_message(id=n) for n in range(OTHERS)])
    decided = [
        a_decision(
            f"{topic_prefix}messages-1-{n}",
            Path.FAST,
            Reason.CONFIDENT,
            at_ms=now_ms(),
            id=str(n),
        )
        for n in range(OTHERS)
    ]
    writer.write("decisions", 1, decided)
    return writer


@pytest.fixture
def inspected(hunch, connection):
    """Runs `hunch inspect … --json`; the exit code and what it printed."""

    def run(*arguments):
        done = hunch("inspect", *arguments, "--json", **connection)
        assert "" == done.stderr
        return done.returncode, json.loads(done.stdout)

    return run


def a_new_message(writer, prefix, **fields):
    """Sends one more message and names it."""
    [offset] = writer.write("messages", 1, [a_message(**fields)])
    return f"{prefix}messages-1-{offset}"


def a_new_deferral(writer, origin, *, slack_ms):
    """Defers a message; its offset."""
    at_ms = now_ms()
    [offset] = writer.write(
        "deferrals", 1, [a_deferral(origin, at_ms=at_ms, deadline_ms=at_ms + slack_ms)]
    )
    return offset


def test_a_fast_decision_is_found_and_shown(hunch, connection, writer, topic_prefix):
    """The tree has the message and its decision, in lines that a narrow terminal holds."""
    del writer
    origin = f"{topic_prefix}messages-1-17"

    done = hunch("inspect", origin, COLUMNS="80", **connection)

    assert (0, "") == (done.returncode, done.stderr)
    assert f"{origin}  id 17" == done.stdout.splitlines()[0]
    assert "9 bytes" not in done.stdout
    assert "12 bytes, key key" in done.stdout
    assert "fast, confident: 1 0.73 (digits-fast@1)" in done.stdout
    assert '{"id"' not in done.stdout
    assert "\x1b" not in done.stdout
    assert 80 >= max(len(line) for line in done.stdout.splitlines())


def test_every_hop_of_a_slow_decision_is_found(inspected, writer, topic_prefix):
    """Message, deferral, slow result and decision, with the trace that the deferral names."""
    origin = a_new_message(writer, topic_prefix, id="slow one")
    deferral = a_new_deferral(writer, origin, slack_ms=500)
    writer.write("slow-results", 1, [a_result(origin, deferral)])
    verdict = a_decision(
        origin, Path.SLOW, Reason.VERIFIED, at_ms=now_ms(), deferral=deferral, id="slow one"
    )
    writer.write("decisions", P + 1, [verdict])

    code, account = inspected(origin, "--payload")

    assert (0, {}, []) == (code, account["missing"], account["notes"])
    assert "there" == account["message"]["presence"]
    assert {"id": "slow one"} == account["message"]["payload"]
    assert TRACE_ID == account["trace_id"]
    [deferred], [result], [decision] = (
        account[hop] for hop in ("deferrals", "slow_results", "decisions")
    )
    assert 500 == deferred["slack_ms"]
    assert ("2", 1.7) == (result["answer"]["label"], result["slow_ms"])
    assert ("slow", "verified", P + 1) == tuple(
        decision[name] for name in ("path", "reason", "partition")
    )
    assert 0 <= deferred["after_ms"] <= decision["after_ms"] < 30_000


def test_a_late_answer_and_a_fallback_are_told(hunch, inspected, connection, writer, topic_prefix):
    """The slow answer that came too late stands beside the decision that did not wait for it."""
    origin = a_new_message(writer, topic_prefix)
    deferral = a_new_deferral(writer, origin, slack_ms=0)
    fallback = a_decision(origin, Path.FALLBACK, Reason.DEADLINE, at_ms=now_ms(), deferral=deferral)
    writer.write("decisions", P + 1, [fallback])
    for topic in ("slow-results", "late-results"):
        writer.write(topic, 1, [a_result(origin, deferral)])

    _, account = inspected(origin)
    shown = hunch("inspect", origin, **connection).stdout

    assert ["fallback"] == [decision["path"] for decision in account["decisions"]]
    assert ["2"] == [late["answer"]["label"] for late in account["late_results"]]
    assert "fallback, deadline: 1 0.73 (digits-fast@1)" in shown
    assert "past when it was deferred" in shown
    assert "late result" in shown


def test_an_error_comes_with_its_dead_letter(inspected, writer, topic_prefix):
    """The decision says what was wrong, and so does the letter."""
    origin = a_new_message(writer, topic_prefix)
    letter = a_dead_letter(origin, a_message(), at_ms=now_ms())
    writer.write("dead-letters", 1, [letter])
    error = a_decision(origin, Path.ERROR, Reason.UNDECODABLE, at_ms=now_ms())
    writer.write("decisions", 1, [error])

    code, account = inspected(origin)

    assert 0 == code
    assert [("error", "The value is not JSON.")] == [
        (decision["path"], decision["error"]) for decision in account["decisions"]
    ]
    assert [("fast", "undecodable", origin)] == [
        (letter["stage"], letter["reason"], letter["about"]) for letter in account["dead_letters"]
    ]


def test_what_the_joiner_put_aside_is_found_among_others(inspected, writer, topic_prefix):
    """A slow result that nobody can read: it is shown as such, with its letter and a decision."""
    origin = a_new_message(writer, topic_prefix)
    old = [a_dead_letter(f"{topic_prefix}slow-results-1-{n}", a_message(), at_ms=0) for n in (7, 8)]
    writer.write("dead-letters", P + 1, old * 100, timestamp_ms=now_ms() - 60_000)
    deferral = a_new_deferral(writer, origin, slack_ms=500)
    key, _, headers = a_result(origin, deferral)
    [result] = writer.write("slow-results", 1, [(key, b"oops", headers)])
    about = f"{topic_prefix}slow-results-1-{result}"
    writer.write("dead-letters", P + 1, [a_dead_letter(about, a_message(), at_ms=now_ms())])
    verdict = a_decision(origin, Path.FALLBACK, Reason.DEADLINE, at_ms=now_ms(), deferral=deferral)
    writer.write("decisions", P + 1, [verdict])

    code, account = inspected(origin)

    assert 0 == code
    assert account["slow_results"][0]["unreadable"].startswith("A slow result is not JSON")
    assert [(about, P + 1)] == [
        (letter["about"], letter["partition"]) for letter in account["dead_letters"]
    ]
    assert 150 > account["records_read"]


def test_a_pending_message_says_until_when(inspected, writer, topic_prefix):
    """Deferred and undecided: exit code 1, and the time that its deadline is away."""
    origin = a_new_message(writer, topic_prefix)
    a_new_deferral(writer, origin, slack_ms=60_000)

    code, account = inspected(origin)

    assert (1, False) == (code, account["is_decided"])
    assert account["missing"]["decision"].startswith("pending: its deadline is in ")
    assert account["missing"]["slow_result"].startswith("none found: the deadline had passed, or ")


def many_decisions(prefix, first, *, at_ms):
    """Decisions of the joiner about others, far more than are looked at in any case."""
    return [
        a_decision(
            f"{prefix}messages-1-{first + number % OTHERS}",
            Path.FALLBACK,
            Reason.DEADLINE,
            at_ms=at_ms,
            deferral=100 + number,
        )
        for number in range(MANY)
    ]


@pytest.mark.parametrize("is_behind", [True, False])
def test_a_decision_far_from_its_order_is_found(inspected, writer, topic_prefix, is_behind):
    """The joiner wrote it thousands of records after or before its neighbours in the input."""
    origin = a_new_message(writer, topic_prefix)
    deferral = a_new_deferral(writer, origin, slack_ms=500)
    verdict = a_decision(origin, Path.FALLBACK, Reason.DEADLINE, at_ms=now_ms(), deferral=deferral)
    others = many_decisions(topic_prefix, OTHERS + 1 if is_behind else 0, at_ms=now_ms())
    writer.write("decisions", P + 1, [*others, verdict] if is_behind else [verdict, *others])

    code, account = inspected(origin)

    assert 0 == code
    assert [MANY if is_behind else 0] == [made["offset"] for made in account["decisions"]]


@pytest.mark.parametrize("is_behind", [True, False])
def test_what_was_written_at_another_time_is_not_read(inspected, writer, topic_prefix, is_behind):
    """Long after the deadline, or before the deferral, no decision of it is looked for."""
    origin = a_new_message(writer, topic_prefix)
    a_new_deferral(writer, origin, slack_ms=500)
    others = many_decisions(topic_prefix, OTHERS + 1 if is_behind else 0, at_ms=now_ms())
    far_ms = 120_000 if is_behind else -120_000
    writer.write("decisions", P + 1, others, timestamp_ms=now_ms() + far_ms)

    code, account = inspected(origin)

    assert 1 == code
    assert 1_800 > account["records_read"]


def test_a_decision_that_is_overdue_is_told(inspected, writer, topic_prefix):
    """The deadline is past, and no joiner has ever worked here."""
    origin = a_new_message(writer, topic_prefix)
    a_new_deferral(writer, origin, slack_ms=0)

    code, account = inspected(origin)

    assert 1 == code
    assert account["missing"]["decision"].startswith("overdue: its deadline was ")
    assert account["missing"]["decision"].endswith(" ago, and the joiner has committed nothing")


def test_a_second_decision_is_shown_and_told(inspected, writer, topic_prefix):
    """At-least-once: both are there, in the order of their times, with a sentence."""
    origin = f"{topic_prefix}messages-1-20"
    again = a_decision(origin, Path.FAST, Reason.CONFIDENT, at_ms=now_ms() + 5)
    writer.write("decisions", 1, [again])

    code, account = inspected(origin)

    assert 0 == code
    assert [20, OTHERS] == [decision["offset"] for decision in account["decisions"]]
    assert account["notes"][0].startswith("It was decided 2 times: ")


@pytest.mark.parametrize("years", [-20, 20])
def test_a_wrong_timestamp_does_not_hide_a_message(inspected, writer, topic_prefix, years):
    """Its client's clock is off by decades: all hops are found, and the clock is told."""
    wrong_ms = now_ms() + int(years * 31_557_600_000)
    [offset] = writer.write("messages", 1, [a_message()], timestamp_ms=wrong_ms)
    origin = f"{topic_prefix}messages-1-{offset}"
    deferral = a_new_deferral(writer, origin, slack_ms=500)
    verdict = a_decision(origin, Path.FALLBACK, Reason.DEADLINE, at_ms=now_ms(), deferral=deferral)
    writer.write("decisions", P + 1, [verdict])

    code, account = inspected(origin)

    assert (0, 1, 1) == (code, len(account["deferrals"]), len(account["decisions"]))
    side = "before" if years < 0 else "after"
    assert [
        f"The message's timestamp, its client's, lies 20.0 years {side} its first hop."
    ] == account["notes"]


def test_a_message_that_retention_deleted_still_has_its_decision(inspected, writer, topic_prefix):
    """The log begins after it; what was derived from it is found, with its times."""
    key, _, headers = a_message()
    writer.write("messages", 1, [(key, b"x" * 100_000, headers)] * 60)

    code, account = inspected(f"{topic_prefix}messages-1-3")

    assert (0, "deleted") == (code, account["message"]["presence"])
    assert account["missing"]["message"].startswith("retention has deleted it: ")
    assert [60.0] == [decision["after_ms"] for decision in account["decisions"]]


def test_a_message_that_was_never_written_is_no_message_yet(inspected, writer, topic_prefix):
    """Exit code 1, and where the log ends."""
    del writer

    code, account = inspected(f"{topic_prefix}messages-1-{OTHERS}")

    assert (1, "not written") == (code, account["message"]["presence"])
    assert {
        "message": f"no such message yet: {topic_prefix}messages-1 ends at offset {OTHERS}",
        "decision": "none: there is nothing to decide",
    } == account["missing"]


def test_an_id_finds_the_newest_message_and_names_the_others(inspected, writer, topic_prefix):
    """Decided or not; a number is the same as its digits."""
    old = f"{topic_prefix}messages-1-7"
    new = a_new_message(writer, topic_prefix, id=7)

    code, account = inspected("--id", "7")

    assert (1, new, [old]) == (code, account["origin"], account["others"])


def test_an_id_that_nobody_has_is_told(hunch, inspected, connection, writer):
    """Exit code 1, how far was looked, and how to look further."""
    del writer

    done = hunch("inspect", "--id", "nobody", **connection)
    code, account = inspected("--id", "nobody")

    assert (1, "") == (done.returncode, done.stdout)
    assert (
        "hunch: No message with the id nobody was found among the last 10,000 offsets of each "
        "partition: --window N looks further back.\n"
    ) == done.stderr
    assert (1, None) == (code, account["origin"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["messages-1"], "'messages-1' is no origin: give topic-partition-offset, as in "),
        (["m-1-x"], "'m-1-x' is no origin: "),
        ([""], "'' is no origin: "),
        ([], "Give an origin as messages-1-42, or an id with --id ID, and not both."),
        (["m-1-2", "--id", "3"], "Give an origin as messages-1-42, or an id with --id ID"),
        (["tickets-1-2"], "tickets-1-2 is no message of these settings, whose topic is "),
        (["PREFIXmessages-2-0"], "There is no partition 2 in "),
    ],
)
def test_what_is_no_origin_is_refused_with_a_sentence(
    hunch, connection, topic_prefix, arguments, sentence
):
    """Exit code 2, one line, and an example."""
    given = [argument.replace("PREFIX", topic_prefix) for argument in arguments]

    done = hunch("inspect", *given, **connection)

    assert (2, "", 1) == (done.returncode, done.stdout, len(done.stderr.splitlines()))
    assert done.stderr.startswith(f"hunch: {sentence}")


def test_missing_topics_and_brokers_have_codes_of_their_own(hunch, connection):
    """2 where a topic is missing, 3 where no broker answers."""
    topics = hunch("inspect", "messages-0-0", **connection | {"HUNCH_TOPIC_PREFIX": "no."})
    broker = hunch("inspect", "messages-0-0", HUNCH_BOOTSTRAP="localhost:1")

    assert topics.stderr.startswith("hunch: There is no topic no.messages at ")
    assert broker.stderr.startswith("hunch: No Kafka broker answers at localhost:1 ")
    assert (2, 3) == (topics.returncode, broker.returncode)
