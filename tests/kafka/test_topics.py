"""Topics on a real broker: plan, apply and verify agree, and wrong shapes are refused."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from hunch.clock import SystemClock
from hunch.errors import BrokerError, TopicMismatch
from hunch.kafka import topics
from hunch.kafka.topic_specs import DAY_MS
from hunch.settings import Settings


def wanted_of(bootstrap, prefix, **changes):
    """A plan for P = 3."""
    values = {"bootstrap": bootstrap, "prefix": prefix, "partitions": 3, **changes}
    return topics.TopicPlan(**values)


async def create(bootstrap, name, partitions, **config):
    """Creates a topic as somebody else would, some time before."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        named = {key.replace("_", "."): value for key, value in config.items()}
        await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=named)])
        while name not in await admin.list_topics():
            pass
    finally:
        await admin.close()


@pytest.fixture
async def admin(kafka_bootstrap):
    """A topic admin of the real broker."""
    async with topics.TopicAdmin(kafka_bootstrap, SystemClock()) as started:
        yield started


async def test_what_apply_creates_verifies(kafka_bootstrap, topic_prefix, admin):
    """After `apply` nothing is wrong, nothing differs, and a second `apply` creates nothing."""
    wanted = wanted_of(kafka_bootstrap, topic_prefix, delta_ms=5.0 * DAY_MS)
    missing = [topic.exists for topic in await topics.plan(wanted, admin)]
    created = await topics.apply(wanted, admin)
    planned = await topics.plan(wanted, admin)

    assert [False] * 7 == missing
    assert {
        f"{topic_prefix}messages": 3,
        f"{topic_prefix}deferrals": 3,
        f"{topic_prefix}slow-results": 3,
        f"{topic_prefix}late-results": 3,
        f"{topic_prefix}decisions": 6,
        f"{topic_prefix}dead-letters": 9,
        f"{topic_prefix}control": 1,
    } == {shape.name: shape.partitions for shape in created}
    assert [(True, ())] * 7 == [(topic.exists, topic.differences) for topic in planned]
    assert [] == await topics.verify(wanted, admin)
    assert [] == await topics.apply(wanted, admin)


async def test_new_topics_can_be_written_at_once(fresh_topics, kafka_bootstrap, caplog):
    """A producer sees a leader for every partition as soon as `apply` returns."""
    prefix = await fresh_topics(partitions=4)
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap) as producer:
        for partition in range(8):
            await producer.send_and_wait(f"{prefix}decisions", b"{}", partition=partition)
    async with AIOKafkaConsumer(bootstrap_servers=kafka_bootstrap) as consumer:
        partitions = [TopicPartition(f"{prefix}decisions", number) for number in range(8)]
        ends = await consumer.end_offsets(partitions)

    assert [1] * 8 == list(ends.values())
    assert [] == [record.message for record in caplog.records if "NotLeader" in record.message]


async def test_an_existing_input_decides_about_partitions(kafka_bootstrap, topic_prefix, admin):
    """P and the size limit come from the `messages` topic where it exists, under its own name."""
    name = f"{topic_prefix}orders"
    await create(kafka_bootstrap, name, 2, max_message_bytes="2000000")
    wanted = wanted_of(kafka_bootstrap, topic_prefix, overrides={"messages": name})
    created = {shape.logical: shape for shape in await topics.apply(wanted, admin)}

    assert "messages" not in created
    assert (2, 4, 6) == tuple(
        created[logical].partitions for logical in ("deferrals", "decisions", "dead-letters")
    )
    assert "2065536" == created["deferrals"].config["max.message.bytes"]
    assert [] == await topics.verify(wanted, admin)


async def test_only_what_was_missing_counts_as_created(kafka_bootstrap, topic_prefix, admin):
    """Of two that create the same topics, each topic has one creator, and neither fails."""
    wanted = wanted_of(kafka_bootstrap, topic_prefix)
    both = await asyncio.gather(topics.apply(wanted, admin), topics.apply(wanted, admin))

    assert 7 == sum(len(created) for created in both)
    assert [] == await topics.verify(wanted, admin)


async def test_wrong_shapes_are_refused_with_sentences(kafka_bootstrap, topic_prefix, admin):
    """Each wrong topic is named, with the command that mends it; `apply` leaves it as it is."""
    await create(kafka_bootstrap, f"{topic_prefix}deferrals", 2, retention_ms="3600000")
    await create(kafka_bootstrap, f"{topic_prefix}decisions", 3, cleanup_policy="compact")
    await create(kafka_bootstrap, f"{topic_prefix}slow-results", 3, retention_bytes="1000")
    wanted = wanted_of(kafka_bootstrap, topic_prefix)
    await topics.apply(wanted, admin)
    found = [problem.sentence for problem in await topics.verify(wanted, admin)]

    to, own = f"--bootstrap-server {kafka_bootstrap} --alter", topic_prefix
    configs = f"kafka-configs.sh {to} --entity-type topics --entity-name {own}deferrals"
    expected = [
        (
            f"deferrals has 2 partitions and needs 3, as many as {own}messages: stop all stages "
            f"and run `kafka-topics.sh {to} --topic {own}deferrals --partitions 3`."
        ),
        (
            "deferrals keeps records for 1 h and must keep them for 1 d (Δ and one day): run "
            f"`{configs} --add-config retention.ms=86400000`."
        ),
        (
            "deferrals takes 1048588 bytes a batch and must take 1114124, 64 KiB more than "
            f"{own}messages: run `{configs} --add-config max.message.bytes=1114124`."
        ),
        "slow-results takes 1048588 bytes",
        (
            f"decisions has 3 partitions and needs 6, twice as many as {own}messages: give it "
            f'another name under [topics] in hunch.toml, as in decisions = "{own}decisions-6", '
            "and run `hunch topics apply`."
        ),
        "decisions is compacted, which drops records that have the same key",
        "decisions takes 1048588 bytes",
        "slow-results has retention.bytes set",
    ]
    starts = [f"Topic {own}{start}" for start in expected]

    assert starts == [text[: len(start)] for text, start in zip(found, starts, strict=True)]


async def test_a_start_without_topics_is_refused_in_one_sentence(
    kafka_bootstrap, fresh_topics, topic_prefix
):
    """A stage does not start without its topics, and learns P where they serve."""
    settings = Settings(bootstrap=kafka_bootstrap, topic_prefix=topic_prefix)

    with pytest.raises(TopicMismatch, match="hunch topics apply") as refused:
        await topics.require_verified(kafka_bootstrap, settings, SystemClock())

    assert 1 == len(str(refused.value).splitlines())
    await fresh_topics(partitions=5)
    serving = await topics.require_verified(kafka_bootstrap, settings, SystemClock())
    assert (5, True) == (serving.partitions, serving.has_control)
    assert settings.max_record_bytes < serving.record_bytes


async def test_a_refusal_of_the_broker_names_the_topic(kafka_bootstrap, admin):
    """A topic that the broker does not want becomes one sentence."""
    wanted = wanted_of(kafka_bootstrap, "not/allowed.")

    with pytest.raises(BrokerError, match="does not create topic not/allowed"):
        await topics.apply(wanted, admin)
