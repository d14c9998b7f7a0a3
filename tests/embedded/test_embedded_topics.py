"""Hunch's topics on the embedded broker: created by its owner, judged by their partitions."""

import pytest

from hunch.clock import SystemClock
from hunch.errors import BrokerError
from hunch.kafka import topics
from hunch.settings import Settings


async def test_what_its_owner_creates_verifies(embedded_broker):
    """All topics have the partitions that Hunch needs, and P is the one of the settings."""
    settings = Settings(topic_prefix="x.", partitions=3)
    serving = topics.ensure_embedded(embedded_broker, settings)
    wanted = topics.plan_of(settings, embedded_broker.bootstrap)
    async with topics.TopicAdmin(embedded_broker.bootstrap, SystemClock()) as admin:
        found = await topics.verify(wanted, admin)
        counts = await admin.partitions()

    assert (3, True, []) == (serving.partitions, serving.has_control, found)
    assert (3, 6, 9) == (counts["x.messages"], counts["x.decisions"], counts["x.dead-letters"])


async def test_wrong_partitions_are_found(embedded_broker):
    """`decisions` with P partitions are refused here too."""
    settings = Settings(partitions=3)
    wanted = topics.plan_of(settings, embedded_broker.bootstrap)
    for shape in wanted.shapes(3).values():
        embedded_broker.create_topic(shape.name, min(shape.partitions, 3))
    async with topics.TopicAdmin(embedded_broker.bootstrap, SystemClock()) as admin:
        found = [problem.topic for problem in await topics.verify(wanted, admin)]

    assert ["decisions", "dead-letters"] == found


async def test_nobody_else_creates_topics(embedded_broker):
    """`apply` from outside is refused with a sentence."""
    wanted = topics.plan_of(Settings(), embedded_broker.bootstrap)
    async with topics.TopicAdmin(embedded_broker.bootstrap, SystemClock()) as admin:
        with pytest.raises(BrokerError, match="creates no topics"):
            await topics.apply(wanted, admin)
