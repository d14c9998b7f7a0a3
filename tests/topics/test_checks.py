"""What `verify` says about topics as found: one sentence a fault, and nothing about sound ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hunch.kafka.topic_checks import Found, problems
from hunch.kafka.topic_specs import DAY_MS, TopicPlan

PLAN = TopicPlan(bootstrap="b:1", prefix="x.", delta_ms=2.0 * DAY_MS)
CONFIGS = "run `kafka-configs.sh --bootstrap-server b:1 --alter --entity-type topics --entity-name"


def sound(plan=PLAN, partitions=4):
    """All topics as `apply` creates them, with the broker's defaults for the rest."""
    return {
        logical: Found(
            partitions=shape.partitions,
            config={"retention.ms": "604800000", "retention.bytes": "-1", **shape.config},
        )
        for logical, shape in plan.shapes(partitions).items()
    }


def changed(topic, partitions=None, **config):
    """Sound topics but for one."""
    found = sound()
    was = found[topic]
    named = {key.replace("_", "."): value for key, value in config.items()}
    found[topic] = Found(partitions=partitions or was.partitions, config={**was.config, **named})
    return found


def said(found, plan=PLAN):
    """The sentences about some topics."""
    return [problem.sentence for problem in problems(plan, found)]


@given(
    partitions=st.integers(1, 64),
    delta_ms=st.floats(0, 90 * DAY_MS),
    planned=st.integers(1, 64),
)
def test_what_is_planned_is_sound(partitions, delta_ms, planned):
    """Whatever P and Δ are, topics of the planned shape have no problems."""
    plan = TopicPlan(bootstrap="b:1", delta_ms=delta_ms, partitions=planned)

    assert [] == said(sound(plan, partitions), plan)


@given(
    topic=st.sampled_from(["deferrals", "slow-results", "decisions"]),
    delta_ms=st.integers(0, 5 * DAY_MS),
    kept_ms=st.integers(1, 7 * DAY_MS),
)
def test_retention_is_refused_below_delta_and_a_day(topic, delta_ms, kept_ms):
    """A topic that is waited for has a problem exactly where it is kept for less."""
    plan = TopicPlan(bootstrap="b:1", delta_ms=float(delta_ms))
    found = sound(plan)
    found[topic] = Found(partitions=found[topic].partitions, config={"retention.ms": str(kept_ms)})
    least_ms = delta_ms + DAY_MS
    if topic == "decisions":
        least_ms = max(least_ms, int(found["deferrals"].config["retention.ms"]))

    assert (kept_ms < least_ms) == any(
        "keeps records" in sentence for sentence in said(found, plan)
    )


FAULTS = {
    "deferrals too few": (
        changed("deferrals", partitions=2),
        (
            "Topic x.deferrals has 2 partitions and needs 4, as many as x.messages: stop all "
            "stages and run `kafka-topics.sh --bootstrap-server b:1 --alter --topic x.deferrals "
            "--partitions 4`."
        ),
    ),
    "late results too many": (
        changed("late-results", partitions=5),
        (
            "Topic x.late-results has 5 partitions and needs 4, as many as x.messages: give it "
            'another name under [topics] in hunch.toml, as in late-results = "x.late-results-4", '
            "and run `hunch topics apply`."
        ),
    ),
    "decisions": (
        changed("decisions", partitions=4),
        (
            "Topic x.decisions has 4 partitions and needs 8, twice as many as x.messages: give "
            'it another name under [topics] in hunch.toml, as in decisions = "x.decisions-8", '
            "and run `hunch topics apply`."
        ),
    ),
    "dead letters": (
        changed("dead-letters", partitions=4),
        (
            "Topic x.dead-letters has 4 partitions and needs 12, three times as many as "
            "x.messages: give it another name under [topics] in hunch.toml, as in dead-letters = "
            '"x.dead-letters-12", and run `hunch topics apply`.'
        ),
    ),
    "compacted": (
        changed("messages", cleanup_policy="compact,delete"),
        (
            "Topic x.messages is compacted, which drops records that have the same key: "
            f"{CONFIGS} x.messages --add-config cleanup.policy=delete`."
        ),
    ),
    "not compacted": (
        changed("control", cleanup_policy="delete"),
        (
            "Topic x.control is not compacted, so what is in force would be deleted with age: "
            f"{CONFIGS} x.control --add-config cleanup.policy=compact`."
        ),
    ),
    "short": (
        changed("slow-results", retention_ms="5400000"),
        (
            "Topic x.slow-results keeps records for 1.5 h and must keep them for 3 d (Δ and one "
            f"day): {CONFIGS} x.slow-results --add-config retention.ms=259200000`."
        ),
    ),
    "shorter than deferrals": (
        changed("decisions", retention_ms=str(3 * DAY_MS))
        | {"deferrals": changed("deferrals", retention_ms=str(5 * DAY_MS))["deferrals"]},
        (
            "Topic x.decisions keeps records for 3 d and must keep them for 5 d (as long as "
            f"x.deferrals): {CONFIGS} x.decisions --add-config retention.ms=432000000`."
        ),
    ),
    "shorter than for ever": (
        changed("deferrals", retention_ms="-1"),
        (
            "Topic x.decisions keeps records for 7 d and x.deferrals for ever, which must not be "
            f"longer: {CONFIGS} x.decisions --add-config retention.ms=-1`."
        ),
    ),
    "small": (
        changed("dead-letters", max_message_bytes="1048588"),
        (
            "Topic x.dead-letters takes 1048588 bytes a batch and must take 1114124, 64 KiB more "
            f"than x.messages: {CONFIGS} x.dead-letters --add-config max.message.bytes=1114124`."
        ),
    ),
    "missing": (
        {name: found for name, found in sound().items() if name != "control"},
        "Topic x.control does not exist: create it with `hunch topics apply`. "  # noqa: ISC004
        "Until then, and a restart, no policy can be pushed.",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_sentence(fault):
    """Each fault names its topic, what is wrong, and the command or step that mends it."""
    found, sentence = FAULTS[fault]

    assert [sentence] == said(found)


def test_unlimited_retention_is_fine():
    """-1 is longer than anything."""
    found = sound()
    for topic in ("deferrals", "slow-results", "decisions"):
        found[topic] = changed(topic, retention_ms="-1")[topic]

    assert [] == said(found)


def test_retention_by_size_is_a_warning():
    """It cannot be known whether it is long enough, so the start is not refused."""
    (problem,) = problems(PLAN, changed("deferrals", retention_bytes="1000000"))

    assert problem.is_warning
    assert str(problem).startswith("Topic x.deferrals has retention.bytes set")


def test_without_configuration_only_partitions_count():
    """A broker that tells no configuration is judged by its partitions."""
    found = {name: Found(partitions=topic.partitions) for name, topic in sound().items()}
    found["decisions"] = Found(partitions=4)

    assert 1 == len(said(found))
