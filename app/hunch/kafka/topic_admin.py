"""Describing and creating topics through Kafka's admin API, every request with a time-out.

Topics are listed, never asked for by name: a broker that creates topics by itself would do so.
"""

import contextlib
from collections.abc import Awaitable, Collection, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError, TopicAlreadyExistsError, for_code

from hunch.clock import Clock
from hunch.errors import BrokerError
from hunch.kafka.topic_specs import Shape

T = TypeVar("T")

REQUEST_MS = 10_000
LEADERS_MS = 30_000
LOOK_AGAIN_MS = 50
BROKERS_OWN = -1
"""As a replication factor: the broker's `default.replication.factor`."""


class TopicAdmin:
    """The topics of a real broker; an asynchronous context manager.

    Raises `BrokerError` from every method where the broker refuses or does not answer in time.
    """

    def __init__(
        self, bootstrap: str, clock: Clock, *, security: Mapping[str, Any] | None = None
    ) -> None:
        self._bootstrap = bootstrap
        self._clock = clock
        self._connection = {"bootstrap_servers": bootstrap, **(security or {})}
        self._admin = AIOKafkaAdminClient(request_timeout_ms=REQUEST_MS, **self._connection)

    async def __aenter__(self) -> Self:
        try:
            await self._answer(self._admin.start())
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self._close()

    async def partitions(self) -> Mapping[str, int]:
        """How many partitions each topic has that this client may see."""
        return {topic["topic"]: len(topic["partitions"]) for topic in await self._described()}

    async def configs(self, names: Sequence[str]) -> Mapping[str, Mapping[str, str]] | None:
        """The configuration in force, broker defaults included; None from the embedded broker."""
        if not names:
            return {}
        asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        found: dict[str, dict[str, str]] = {}
        try:
            responses = await self._answer(self._admin.describe_configs(asked))
        except BrokerError as error:
            if isinstance(error.__cause__, IncompatibleBrokerVersion):
                return None
            raise
        for response in responses:
            for code, message, _, name, entries in response.resources:
                if code != 0:
                    msg = (
                        f"The broker at {self._bootstrap} does not tell the configuration of topic "
                        f"{name}: {message or for_code(code).__name__}; allow DescribeConfigs."
                    )
                    raise BrokerError(msg)
                found[name] = {entry[0]: entry[1] for entry in entries if entry[1] is not None}
        return found

    async def create(self, shapes: Collection[Shape]) -> set[str]:
        """Creates topics with the broker's own replication factor, and waits for their leaders.

        Returns the names of those that were not there already.
        """
        if not shapes:
            return set()
        created = set()
        wanted = [
            NewTopic(shape.name, shape.partitions, 1, topic_configs=dict(shape.config))
            for shape in shapes
        ]
        for topic in wanted:
            topic.replication_factor = BROKERS_OWN  # its constructor refuses what brokers take
        try:
            response = await self._answer(self._admin.create_topics(wanted))
        except AttributeError as error:  # what aiokafka makes of a cluster without a controller
            msg = (
                f"The broker at {self._bootstrap} creates no topics, because it has no controller: "
                "wait for one, or leave an embedded broker to the command that started it."
            )
            raise BrokerError(msg) from error
        for name, code, *message in response.topic_errors:
            if code == 0:
                created.add(name)
            elif code != TopicAlreadyExistsError.errno:
                why = (message and message[0]) or for_code(code).__name__
                msg = f"The broker at {self._bootstrap} does not create topic {name}: {why}."
                raise BrokerError(msg)
        await self._wait_for_leaders({shape.name for shape in shapes})
        return created

    async def _described(self) -> list[dict[str, Any]]:
        described = await self._answer(self._admin.describe_topics())
        return [topic for topic in described if topic["error_code"] == 0]

    async def _wait_for_leaders(self, names: set[str]) -> None:
        until_ms = self._clock.now_ms() + LEADERS_MS
        while self._clock.now_ms() < until_ms:
            topics = [topic for topic in await self._described() if topic["topic"] in names]
            leaders = [part["leader"] for topic in topics for part in topic["partitions"]]
            if len(topics) == len(names) and min(leaders) >= 0 and await self._is_served(topics):
                return
            await self._clock.sleep(LOOK_AGAIN_MS)
        msg = (
            f"The new topics at {self._bootstrap} have no leaders after {LEADERS_MS // 1000} s: "
            "see that all brokers run, then run `hunch topics apply` again."
        )
        raise BrokerError(msg)

    async def _is_served(self, topics: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the leaders know that they are: metadata says so some 100 ms earlier."""
        partitions = [
            TopicPartition(topic["topic"], part["partition"])
            for topic in topics
            for part in topic["partitions"]
        ]
        consumer = AIOKafkaConsumer(request_timeout_ms=REQUEST_MS, **self._connection)
        try:
            await self._clock.wait_for(consumer.start(), REQUEST_MS)
            await self._clock.wait_for(consumer.end_offsets(partitions), REQUEST_MS)
        except (KafkaError, TimeoutError):
            return False
        finally:
            await self._clock.wait_for(consumer.stop(), REQUEST_MS)
        return True

    async def _answer(self, asked: Awaitable[T]) -> T:
        try:
            return await self._clock.wait_for(asked, REQUEST_MS)
        except TimeoutError as error:
            msg = f"The broker at {self._bootstrap} does not answer: see that it runs, then retry."
            raise BrokerError(msg) from error
        except KafkaError as error:
            msg = f"The broker at {self._bootstrap} cannot be used: {error!r}."
            raise BrokerError(msg) from error

    async def _close(self) -> None:
        with contextlib.suppress(TimeoutError, KafkaError):
            await self._clock.wait_for(self._admin.close(), REQUEST_MS)
