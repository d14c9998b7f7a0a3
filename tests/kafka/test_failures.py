"""What can go wrong in a transaction, provoked on a real broker: exactly one decision all the same.

`hunch.kafka.failures` is the table; a failure closes the lane, and a takeover finds out what has
come of it.
"""

import asyncio
import os
import signal
from collections.abc import Mapping

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import OffsetAndMetadata
from confluent_kafka.admin import AdminClient
from tests.kafka.checker import Checker, Offsets
from tests.kafka.load import Load
from tests.kafka.processes import StageProcess

PARTITIONS = 2
RATE = 300
SOME = 200
TAU = 0.97
LONG_SESSION = {"session_timeout_ms": 6_000, "heartbeat_interval_ms": 300}


class Scene:
    """Fast and join under load; every message must be decided exactly once in the end."""

    def __init__(self, start, checker, load, *, bootstrap: str, prefix: str) -> None:
        self.bootstrap = bootstrap
        self.prefix = prefix
        self.stages: dict[str, StageProcess] = {}
        self.begin = start
        self._checker = checker
        self._load = load

    async def start(self, *names: str, **settings: object) -> None:
        """Starts these stages, and waits until they are ready."""
        for name in names:
            self.stages[name] = self.begin(
                name, tau=TAU, delta_ms=500, partitions=PARTITIONS, **LONG_SESSION, **settings
            )
        for name in names:
            await asyncio.to_thread(self.stages[name].wait_ready)

    async def stop(self, name: str) -> None:
        """Ends a stage in order."""
        assert 0 == await asyncio.to_thread(self.stages.pop(name).terminate)

    async def lost(self, stage: str, cause: str) -> None:
        """Returns once a lane of a stage was lost for this cause."""
        await asyncio.to_thread(
            self.stages[stage].wait_for,
            lambda event: event["event"] == "lane_lost" and event["cause"] == cause,
        )

    async def go_on(self) -> None:
        """Returns once some hundred more messages are decided."""
        until = len(self._load.acknowledged) + SOME
        while len(self._load.acknowledged) < until:
            await asyncio.sleep(0.05)
        await self._checker.decide(list(self._load.acknowledged), 30.0)

    async def end(self) -> None:
        """Everything sent is decided, once, and the stages end in order."""
        sent = await self._load.stop()
        await self._checker.decide(sent, 60.0)
        codes = [await asyncio.to_thread(stage.terminate) for stage in self.stages.values()]
        await self._checker.reach(await self._checker.ends())

        assert set(sent) == set(self._checker.by_origin)
        assert 0 == self._checker.doubled
        assert [0] * len(codes) == codes

    async def limit_decisions(self, max_bytes: int) -> None:
        """Lets the broker refuse batches of decisions above a size."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        configs = {"max.message.bytes": str(max_bytes)}
        name = f"{self.prefix}decisions"
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, configs)])
        await admin.close()

    async def commit(self, stage: str, offsets: Mapping[TopicPartition, int]) -> None:
        """Commits plain offsets in a stage's empty group, as an operator's tool does."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap,
            group_id=f"{self.prefix}hunch-{stage}",
            enable_auto_commit=False,
        )
        await consumer.start()
        consumer.assign(list(offsets))
        await consumer.commit({tp: OffsetAndMetadata(at, "") for tp, at in offsets.items()})
        await consumer.stop()


@pytest.fixture
async def scene(kafka_bootstrap, fresh_topics, start_stage, digits):
    """The scene before its stages start; the load runs."""
    prefix = await fresh_topics(partitions=PARTITIONS)
    async with (
        Checker(kafka_bootstrap, f"{prefix}decisions", 2 * PARTITIONS) as checker,
        Load(
            kafka_bootstrap, f"{prefix}messages", digits, rate=RATE, partitions=PARTITIONS
        ) as load,
    ):
        yield Scene(start_stage, checker, load, bootstrap=kafka_bootstrap, prefix=prefix)


@pytest.mark.parametrize("stage", ["fast", "join"])
async def test_a_refused_batch_is_decided_in_smaller_ones(scene, stage):
    """max.message.bytes below a batch: the lane comes back with smaller ones."""
    await scene.start("fast", "join")
    await scene.go_on()
    await scene.limit_decisions(450)
    await scene.lost(stage, "too_large")
    await scene.limit_decisions(1_048_588)
    await scene.end()


@pytest.mark.parametrize("stage", ["fast", "join"])
async def test_an_owner_that_is_fenced_takes_over_again(scene, stage):
    """Somebody else started with the lane's transactional id, and went away again."""
    await scene.start("fast", "join")
    await scene.go_on()
    topic = {"fast": "messages", "join": "deferrals"}[stage]
    for partition in range(PARTITIONS):
        producer = AIOKafkaProducer(
            bootstrap_servers=scene.bootstrap,
            transactional_id=f"{scene.prefix}hunch-{stage}.{scene.prefix}{topic}.{partition}",
        )
        await producer.start()
        await producer.stop()
    await scene.lost(stage, "fenced")
    await scene.end()


async def test_a_transaction_without_an_answer_is_settled_by_a_takeover(scene, kafka_broker):
    """The broker stands still longer than a transaction may take: nobody knows what came of it."""
    await scene.start("fast", "join", transaction_timeout_ms=1_500)
    await scene.go_on()
    os.kill(kafka_broker.pid, signal.SIGSTOP)
    try:
        await scene.lost("fast", "timeout")
        await scene.lost("join", "timeout")
    finally:
        os.kill(kafka_broker.pid, signal.SIGCONT)
    await scene.end()


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_a_broker_that_goes_and_comes_back_costs_nothing(scene, kafka_broker, how):
    """Stopped or killed under load: its coordinators load anew, and every lane comes back."""
    await scene.start("fast", "join")
    await scene.go_on()
    await asyncio.to_thread(getattr(kafka_broker, how))
    await asyncio.to_thread(kafka_broker.start)
    await scene.end()


@pytest.mark.parametrize("back", [True, False], ids=["back", "forward"])
@pytest.mark.parametrize("stage", ["fast", "join"])
async def test_offsets_that_an_operator_has_set_are_not_believed(scene, stage, back):
    """Neither is anything decided twice that was decided, nor skipped that was not."""
    await scene.start("fast", "join")
    await scene.go_on()
    await scene.stop(stage)
    topic = scene.prefix + {"fast": "messages", "join": "deferrals"}[stage]
    async with Offsets(scene.bootstrap) as offsets:
        ends = await offsets.ends(topic, PARTITIONS)
    await scene.commit(
        stage, {TopicPartition(topic, p): 1 if back else end for p, end in ends.items()}
    )
    await scene.start(stage)
    await asyncio.to_thread(
        scene.stages[stage].wait_for, lambda event: event["event"] == "commit_foreign"
    )
    await scene.end()


@pytest.mark.parametrize("stage", ["fast", "join"])
async def test_a_group_that_is_gone_goes_on_after_its_outputs(scene, stage):
    """Offsets that have expired read as never committed: nothing is decided again."""
    await scene.start("fast", "join")
    await scene.go_on()
    await scene.stop(stage)
    admin = AdminClient({"bootstrap.servers": scene.bootstrap})
    [deleted] = admin.delete_consumer_groups([f"{scene.prefix}hunch-{stage}"]).values()
    await asyncio.to_thread(deleted.result, 20.0)
    await scene.start(stage)
    await scene.end()


async def test_records_deleted_before_they_were_read_are_counted(scene):
    """The log's start is beyond the commit: work goes on there, and says how many are lost."""
    await scene.start("fast", "join")
    await scene.go_on()
    await scene.stop("fast")
    topic = f"{scene.prefix}messages"
    async with Offsets(scene.bootstrap) as offsets:
        ends = await offsets.ends(topic, PARTITIONS)
    admin = AIOKafkaAdminClient(bootstrap_servers=scene.bootstrap)
    await admin.start()
    await admin.delete_records(
        {TopicPartition(topic, p): RecordsToDelete(end) for p, end in ends.items()}
    )
    await admin.close()
    await scene.start("fast")
    lost = [event["count"] for event in scene.stages["fast"].of("lost_records")]

    codes = [await asyncio.to_thread(stage.terminate) for stage in scene.stages.values()]

    assert lost
    assert min(lost) > 0
    assert [0, 0] == codes


async def test_a_commit_beyond_the_end_stops_the_start(scene):
    """The topic was made anew or cut: one sentence, and exit code 2."""
    topic = f"{scene.prefix}messages"
    await scene.commit("fast", {TopicPartition(topic, 0): 10_000_000})
    process = scene.begin("fast", partitions=PARTITIONS, **LONG_SESSION)
    said = await asyncio.to_thread(process.wait_for, lambda event: event["event"] == "error")

    assert "but the log ends at" in said["message"]
    assert 2 == await asyncio.to_thread(process.wait)


async def test_a_transaction_time_that_the_broker_does_not_allow_stops_the_start(scene):
    """transaction.max.timeout.ms is a quarter of an hour: one sentence names the setting."""
    process = scene.begin(
        "fast",
        partitions=PARTITIONS,
        session_timeout_ms=1_200_000,
        heartbeat_interval_ms=300,
        transaction_timeout_ms=1_000_000,
    )
    said = await asyncio.to_thread(process.wait_for, lambda event: event["event"] == "error")

    assert "transaction_timeout_ms is over" in said["message"]
    assert 2 == await asyncio.to_thread(process.wait)
