"""`hunch topics`: a plan without a broker; plan, apply and verify on a real one."""

import json

import pytest

from hunch.settings import LOGICAL_TOPICS


def test_plan_needs_no_broker(hunch):
    """What would be created is shown, with a line that says that nobody answered."""
    done = hunch("topics", "plan", "--json", "--bootstrap", "127.0.0.1:1", "--set", "partitions=3")

    shapes = {topic["logical"]: topic["partitions"] for topic in json.loads(done.stdout)}
    assert set(LOGICAL_TOPICS) == set(shapes)
    assert (3, 6, 9) == (shapes["messages"], shapes["decisions"], shapes["dead-letters"])
    assert done.stderr.startswith("hunch: No broker answers at 127.0.0.1:1: ")
    assert 0 == done.returncode


def test_plan_in_a_pipe_is_a_line_a_topic(hunch):
    """Names have the prefix; columns are separated by tabs."""
    done = hunch("topics", "plan", "--bootstrap", "embedded", "--set", "topic_prefix=x.")

    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert {f"x.{logical}" for logical in LOGICAL_TOPICS} == {row[0] for row in rows}
    assert {"to be created"} == {row[3] for row in rows}


@pytest.mark.parametrize("command", ["apply", "verify"])
def test_others_need_a_broker(hunch, command):
    """Without one they say so, and the exit code is the broker's."""
    done = hunch("topics", command, "--bootstrap", "127.0.0.1:1")

    assert done.stderr.startswith("hunch: No Kafka broker answers at 127.0.0.1:1")
    assert ("", 3) == (done.stdout, done.returncode)


def test_apply_creates_what_verify_accepts(hunch, kafka_bootstrap, topic_prefix):
    """From nothing: verify lists every topic, apply creates them, and all is well twice."""
    connection = {"HUNCH_BOOTSTRAP": kafka_bootstrap, "HUNCH_TOPIC_PREFIX": topic_prefix}

    before = hunch("topics", "verify", **connection)
    applied = hunch("topics", "apply", "--json", **connection)
    again = hunch("topics", "apply", **connection)
    after = hunch("topics", "verify", **connection)
    planned = hunch("topics", "plan", "--json", **connection)

    assert (2, len(LOGICAL_TOPICS)) == (before.returncode, before.stderr.count("does not exist"))
    shown = json.loads(applied.stdout)
    assert {topic_prefix + name for name in LOGICAL_TOPICS} == set(shown["created"])
    assert shown["serves"] is True
    assert (0, "All topics exist.\n") == (again.returncode, again.stdout)
    assert (0, "All topics are as Hunch needs them.\n") == (after.returncode, after.stdout)
    assert all(t["exists"] and not t["differences"] for t in json.loads(planned.stdout))


def test_verify_says_what_is_wrong(hunch, kafka_bootstrap, topic_prefix):
    """A topic of the wrong shape is a sentence on stderr and exit code 2."""
    connection = {"HUNCH_BOOTSTRAP": kafka_bootstrap, "HUNCH_TOPIC_PREFIX": topic_prefix}
    hunch("topics", "apply", **connection)

    topics = json.dumps({"deferrals": f"{topic_prefix}decisions", "decisions": "other"})
    done = hunch("topics", "verify", "--json", HUNCH_TOPICS=topics, **connection)

    sentences = [problem["sentence"] for problem in json.loads(done.stdout)["problems"]]
    assert any(
        sentence.startswith(f"Topic {topic_prefix}decisions has 8 partitions and needs 4")
        for sentence in sentences
    )
    assert 2 == done.returncode
