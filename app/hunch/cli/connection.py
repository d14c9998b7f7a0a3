"""A broker for the length of one command: reached within seconds, or one sentence."""

import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from aiokafka.errors import KafkaError

from hunch.clock import SystemClock
from hunch.errors import BrokerError, ConfigError, TopicMismatch
from hunch.kafka.aio import KafkaClient, wait_for_broker
from hunch.kafka.client import TopicPartition
from hunch.settings import Settings

CONNECT_MS = 5_000


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[KafkaClient]:
    """A client of the broker that the settings name; raises `BrokerUnreachable` after 5 s."""
    require_address(settings)
    quiet()
    clock = SystemClock()
    security = settings.security()
    await wait_for_broker(settings.bootstrap, clock, CONNECT_MS, security=security)
    client = KafkaClient(
        settings.bootstrap,
        clock,
        security=security,
        fetch_max_wait_ms=10,
        request_timeout_ms=settings.request_timeout_ms,
    )
    try:
        yield client
    finally:
        await client.close()


def quiet() -> None:
    """Silences aiokafka's log: what matters to a command is raised."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def require_address(settings: Settings) -> None:
    """Raises `ConfigError` where the broker lives inside another process."""
    if settings.bootstrap == "embedded":
        raise ConfigError(
            "The embedded broker lives inside `hunch run`: give this command the address that "
            "`hunch run` printed, with --bootstrap HOST:PORT."
        )


@contextmanager
def told_as_sentences(settings: Settings) -> Iterator[None]:
    """Turns what aiokafka raises into `BrokerError`."""
    try:
        yield
    except TimeoutError as error:
        raise BrokerError(
            f"The broker at {settings.bootstrap} does not answer any more: see that it runs, "
            "then start this command again."
        ) from error
    except KafkaError as error:
        raise BrokerError(f"The broker at {settings.bootstrap} refused: {error!r}.") from error


async def partitions_of(consumer: Any, topic: str, settings: Settings) -> list[int]:
    """The partitions in order; raises `TopicMismatch` where the topic does not exist.

    All topics are asked for: asking for one by name may create it.
    """
    cluster = await consumer._client.fetch_all_metadata()  # noqa: SLF001
    return require_partitions(cluster.partitions_for_topic(topic), topic, settings)


def require_partitions(found: set[int] | None, topic: str, settings: Settings) -> list[int]:
    """The partitions in order; raises `TopicMismatch` where the topic does not exist."""
    if not found:
        raise TopicMismatch(
            f"There is no topic {topic} at {settings.bootstrap}: create the topics with "
            "`hunch topics apply`, or correct topic_prefix."
        )
    return sorted(found)


async def latest_stretches(
    consumer: Any, topic: str, partitions: Sequence[int], limit: int | None
) -> dict[TopicPartition, tuple[int, int]]:
    """First offset and end of the latest records, the same share of every partition.

    Args:
        consumer: that is assigned all of them, and stands nowhere yet.
        topic: whose records they are.
        partitions: of it.
        limit: about so many records in all; None for all that are there.
    """
    assigned = [TopicPartition(topic, partition) for partition in partitions]
    consumer.assign(assigned)
    firsts = await consumer.beginning_offsets(assigned)
    ends = await consumer.end_offsets(assigned)
    held = sum(ends[it] - firsts[it] for it in assigned)
    share = 1.0 if limit is None or not held else min(1.0, limit / held)
    return {it: (ends[it] - round((ends[it] - firsts[it]) * share), ends[it]) for it in assigned}
