"""The broker of a demo or a live sweep: its own, or a Kafka on which it leaves nothing behind."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from hunch.cli.connection import connected
from hunch.clock import SystemClock
from hunch.kafka import embedded
from hunch.kafka.topics import TopicAdmin, apply, ensure_embedded, plan_of
from hunch.settings import Settings

RELAYED = "decisions-but-one"
"""Where `--break` writes what the checker reads."""
CLEAN_UP_S = 5.0


@asynccontextmanager
async def broker(settings: Settings) -> AsyncIterator[Settings]:
    """That of the demo, with a topic for `--break`."""
    async with own_topics(settings, "hunch-demo-", [RELAYED]) as found:
        yield found


@asynccontextmanager
async def own_topics(
    settings: Settings, stem: str, copies_of_decisions: Sequence[str] = ()
) -> AsyncIterator[Settings]:
    """The settings with an address and with topics that exist, and are gone in the end.

    Args:
        settings: where, and how the topics are to be.
        stem: what their prefix begins with; the rest of it is drawn.
        copies_of_decisions: further topics, like `decisions`.

    Raises `HunchError`s.
    """
    if settings.bootstrap == embedded.ADDRESS:
        with embedded.EmbeddedBroker() as own:
            found = changed(settings, bootstrap=own.bootstrap)
            ensure_embedded(own, found)
            for name in copies_of_decisions:
                own.create_topic(found.topic(name), 2 * found.partitions)
            yield found
        return
    prefixed = changed(settings, topic_prefix=f"{stem}{uuid.uuid4().hex[:8]}.")
    async with connected(prefixed):
        pass
    created: list[str] = []
    try:
        async with TopicAdmin(
            prefixed.bootstrap, SystemClock(), security=prefixed.security()
        ) as admin:
            shapes = plan_of(prefixed).shapes(prefixed.partitions)
            created += [shape.name for shape in shapes.values()]
            await apply(plan_of(prefixed), admin)
            for name in copies_of_decisions:
                copy = replace(shapes["decisions"], name=prefixed.topic(name))
                created.append(copy.name)
                await admin.create([copy])
        yield prefixed
    finally:
        await _delete(prefixed, created)


def changed(settings: Settings, **changes: Any) -> Settings:
    """The same settings but for these."""
    given = {key: getattr(settings, key) for key in settings.model_fields_set}
    return Settings(**(given | changes))


async def _delete(settings: Settings, topics: list[str]) -> None:
    """Deletes own topics; the offsets of its groups go with them."""
    admin = AIOKafkaAdminClient(
        bootstrap_servers=settings.bootstrap,
        request_timeout_ms=int(1000 * CLEAN_UP_S),
        **settings.security(),
    )
    with suppress(KafkaError, TimeoutError):
        async with asyncio.timeout(CLEAN_UP_S):
            await admin.start()
            await admin.delete_topics(topics)
    with suppress(KafkaError, TimeoutError):
        async with asyncio.timeout(1.0):
            await admin.close()
