"""`hunch send` and `hunch tail` against the embedded broker, as processes."""

import json

import pytest

from hunch.kafka.embedded import EmbeddedBroker


@pytest.fixture(scope="module")
def broker():
    """An embedded broker for the tests of this file."""
    with EmbeddedBroker() as running:
        yield running


@pytest.fixture
def connection(broker, topic_prefix):
    """Settings of a broker with fresh topics, as environment variables."""
    for name in ("messages", "decisions"):
        broker.create_topic(topic_prefix + name, 4)
    return {"HUNCH_BOOTSTRAP": broker.bootstrap, "HUNCH_TOPIC_PREFIX": topic_prefix}


def tailed(hunch, connection, *arguments):
    """What stands on messages."""
    done = hunch("tail", "messages", "--from-beginning", "--json", *arguments, **connection)
    assert (0, "") == (done.returncode, done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_is_sent_is_tailed_with_keys_and_bytes(hunch, connection, tmp_path):
    """Every message once, its key the field that was named, same key same partition."""
    rows = [{"id": i, "user": f"u{i % 7}"} for i in range(5000)]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    done = hunch("send", "m.jsonl", "--key", "user", "--json", **connection)
    found = tailed(hunch, connection, "--limit", "5000", "--timeout", "20")

    sent = json.loads(done.stdout)
    assert (5000, 5000, 0) == (sent["sent"], sent["acknowledged"], sent["bad_lines"])
    assert rows == sorted((line["value"] for line in found), key=lambda row: row["id"])
    assert all(line["key"] == line["value"]["user"] for line in found)
    homes = {(line["key"], line["partition"]) for line in found}
    assert 7 == len(homes)
    for partition in range(4):
        ids = [line["value"]["id"] for line in found if line["partition"] == partition]
        assert sorted(ids) == ids


def test_messages_without_a_key_go_round_robin(hunch, connection):
    """Partitions get equal shares, also of keyed messages when that is asked for."""
    lines = "".join(f'{{"k": "same", "n": {n}}}\n' for n in range(40))

    hunch("send", "-", stdin=lines, **connection)
    hunch("send", "-", "--key", "k", "--partition-by", "round-robin", stdin=lines, **connection)
    found = tailed(hunch, connection, "--no-follow")

    counts = [len([line for line in found if line["partition"] == p]) for p in range(4)]
    assert [20, 20, 20, 20] == counts


def test_bad_lines_are_told_and_skipped(hunch, connection):
    """The good ones are sent; the sentence has the line number."""
    done = hunch("send", "-", stdin='{"n": 1}\noops\n{"n": 2}\n', **connection)

    assert done.stderr.startswith("hunch: Line 2 of - is no message: it is not JSON")
    assert done.stdout.startswith("2 sent, 2 acknowledged, bad lines: 1, in ")
    assert 0 == done.returncode


def test_strict_stops_at_the_first_bad_line(hunch, connection):
    """--strict is for those who would rather send nothing wrong."""
    done = hunch("send", "-", "--strict", stdin='{"n": 1}\noops\n{"n": 2}\n', **connection)

    assert done.stderr.startswith("hunch: Line 2 of - is no message")
    assert 2 == done.returncode


def test_repeat_and_limit_bound_what_is_sent(hunch, connection, tmp_path):
    """The file is sent again and again until the limit."""
    (tmp_path / "m.csv").write_text("n\n1\n2\n3\n")

    done = hunch("send", "m.csv", "--repeat", "3", "--limit", "7", "--json", **connection)
    found = tailed(hunch, connection, "--no-follow")

    assert 7 == json.loads(done.stdout)["acknowledged"]
    assert [1, 1, 1, 2, 2, 3, 3] == sorted(line["value"]["n"] for line in found)


def test_a_rate_is_kept(hunch, connection, tmp_path):
    """300 messages at 200 a second take one and a half seconds, not less."""
    (tmp_path / "m.jsonl").write_text('{"n": 1}\n' * 300)

    done = hunch("send", "m.jsonl", "--rate", "200", "--json", **connection)

    assert json.loads(done.stdout)["seconds"] >= 299 / 200


def test_a_missing_topic_is_told_and_not_created(hunch, connection):
    """A mistyped topic is a sentence, for the sender and for the reader."""
    sent = hunch("send", "-", "--topic", "mesages", stdin="{}\n", **connection)
    read = hunch("tail", "late-results", **connection)

    assert sent.stderr.startswith("hunch: There is no topic mesages at ")
    assert read.stderr.startswith("hunch: There is no topic ")
    assert (2, 2) == (sent.returncode, read.returncode)


def test_tail_for_people_is_one_line_a_record(hunch, connection):
    """Readable text; in a pipe without colours."""
    hunch(
        "send",
        "-",
        "--topic",
        connection["HUNCH_TOPIC_PREFIX"] + "decisions",
        stdin='{"path": "fast", "reason": "confident", "label": "7", "confidence": 0.5}\n',
        **connection,
    )

    done = hunch("tail", "--from-beginning", "--limit", "1", "--timeout", "20", **connection)

    assert "fast     confident  7 0.50" in done.stdout
    assert "\x1b" not in done.stdout
