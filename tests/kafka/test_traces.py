"""The path of every message can be seen: one trace over three processes, on real Kafka.

The collector is a real OTLP receiver in this process, by both protocols; with `--jaeger
QUERY_URL,OTLP_GRPC_URL` the same is asked of a real Jaeger (mark `jaeger`).
"""

import asyncio
import json
import time
import uuid
from collections.abc import Mapping

import pytest
from aiokafka import AIOKafkaProducer
from tests.kafka.checker import Checker, Offsets
from tests.kafka.collectors import Jaeger, Receiver

from hunch.testing import OtlpReceiver

PARTITIONS = 4
TAU, DELTA_MS, RESERVE_MS = 0.9, 20_000, 2_500
PRODUCER = f"00-{uuid.uuid4().hex}-b7ad6b7169203331-01"
DEFERRED = {"fast", "defer", "join", "decide"}


@pytest.fixture(params=["grpc", "http/protobuf", pytest.param("jaeger", marks=pytest.mark.jaeger)])
def collector(request):
    """Where the stages send their spans."""
    if request.param == "jaeger":
        yield Jaeger(request.config.getoption("--jaeger"))
        return
    with OtlpReceiver() as receiver:
        yield Receiver(receiver, request.param)


class Scene:
    """Three stages that trace everything; messages are sent one by one."""

    def __init__(self, processes, producer, checker, offsets, prefix: str) -> None:
        self.processes = processes
        self._producer = producer
        self._checker = checker
        self._offsets = offsets
        self._prefix = prefix

    async def decide(self, *messages: bytes, headers: Mapping[str, bytes] | None = None):
        """The decisions on these messages, which go to one partition together."""
        origins = await self.send(*messages, headers=headers)
        return await self.decided(origins)

    async def send(self, *messages: bytes, headers: Mapping[str, bytes] | None = None):
        """Their origins."""
        batch = self._producer.create_batch()
        carried = list((headers or {}).items())
        for message in messages:
            batch.append(key=None, value=message, timestamp=None, headers=carried)
        topic = f"{self._prefix}messages"
        sent = await self._producer.send_batch(batch, topic, partition=1)
        first = (await sent).offset
        return [f"{topic}-1-{first + number}" for number in range(len(messages))]

    async def decided(self, origins):
        """The decisions on these."""
        await self._checker.decide(origins, 30.0)
        return [self._checker.by_origin[origin][0].body for origin in origins]

    async def deferred(self, count: int) -> None:
        """Returns once so many deferrals are in the log."""
        until_s = time.monotonic() + 20.0
        while (
            sum((await self._offsets.ends(f"{self._prefix}deferrals", PARTITIONS)).values()) < count
        ):
            assert time.monotonic() < until_s
            await asyncio.sleep(0.02)


@pytest.fixture
async def scene(kafka_bootstrap, fresh_topics, start_stage, collector):
    """The scene, ready."""
    prefix = await fresh_topics(partitions=PARTITIONS)
    given = {"tau": TAU, "delta_ms": DELTA_MS, "slow_reserve_ms": RESERVE_MS, "trace_ratio": 1.0}
    processes = {
        stage: start_stage(stage, collector.environment(), **given)
        for stage in ("fast", "slow", "join")
    }
    for process in processes.values():
        process.wait_ready()
    producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap)
    await producer.start()
    async with (
        Checker(kafka_bootstrap, f"{prefix}decisions", 2 * PARTITIONS) as checker,
        Offsets(kafka_bootstrap) as offsets,
    ):
        yield Scene(processes, producer, checker, offsets, prefix)
    await producer.stop()
    assert [0, 0, 0] == [process.terminate() for process in processes.values()]


def family(spans):
    """Each span's parent by name, or its id where it is no span of Hunch."""
    by_id = {span.span_id: span.name for span in spans.values()}
    return {
        name: by_id.get(span.parent_id, span.parent_id)
        for name, span in spans.items()
        if "batch" not in name
    }


def batch_of(collector, span, name):
    """The batch that a span is linked with; it must be linked back."""
    [(trace_id, span_id)] = [link for link in span.links if link[1] != ""]
    batch = collector.spans(trace_id, {name})[name]
    assert span_id == batch.span_id
    return batch


@pytest.mark.timeout(90, func_only=True)
async def test_one_trace_shows_the_path_of_each_message(scene, collector, digits, measured):
    """A fast, a slow, a fallback, a shed and a failed message: ids, parents, links, attributes."""
    slow_stage = scene.processes["slow"]
    fast, *_ = await scene.decide(digits[0], headers={"traceparent": PRODUCER.encode()})
    unsure = [json.dumps({"pixels": [8] * 64}).encode()] * 2
    slow, _ = await scene.decide(*unsure)
    failed, *_ = await scene.decide(b"no JSON")
    slow_stage.freeze()
    due = str(int(time.time() * 1000) + 300).encode()
    fallback, *_ = await scene.decide(unsure[0], headers={"hunch-deadline-ms": due})
    soon = str(int(time.time() * 1000) + RESERVE_MS - 300).encode()
    hurried = await scene.send(*unsure, headers={"hunch-deadline-ms": soon})
    await scene.deferred(5)
    slow_stage.thaw()
    shed, *_ = await scene.decided(hurried)
    decisions = {"fast": fast, "slow": slow, "fallback": fallback, "shed": shed, "error": failed}
    measured("paths traced: " + ", ".join(f"{d['path']}/{d['reason']}" for d in decisions.values()))

    assert {
        "fast": ("fast", "confident"),
        "slow": ("slow", "verified"),
        "fallback": ("fallback", "deadline"),
        "shed": ("fallback", "shed"),
        "error": ("error", "undecodable"),
    } == {name: (d["path"], d["reason"]) for name, d in decisions.items()}
    expected: dict[str, dict[str, str | None]] = {
        "fast": {"fast": "b7ad6b7169203331", "decide": "fast"},
        "slow": {
            "fast": None,
            "defer": "fast",
            "slow": "defer",
            "join": "defer",
            "decide": "join",
        },
        "fallback": {"fast": None, "defer": "fast", "join": "defer", "decide": "join"},
        "shed": {
            "fast": None,
            "defer": "fast",
            "slow": "defer",
            "join": "defer",
            "decide": "join",
        },
        "error": {"fast": None, "decide": "fast"},
    }
    for name, decision in decisions.items():
        spans = collector.spans(decision["trace_id"], set(expected[name]))
        assert expected[name] == family(spans), name
        check_attributes(decision, spans)
        check_links(name, decision, spans, collector)


def check_attributes(decision, spans):
    """What the spans of one message say about it, and about Kafka."""
    decide, first = spans["decide"], spans["fast"]
    joined = "join" in spans
    assert {"fast": "hunch-fast", "decide": "hunch-join" if joined else "hunch-fast"} == {
        name: spans[name].service for name in ("fast", "decide")
    }
    assert (decision["path"], decision["reason"]) == (
        decide.attributes["hunch.path"],
        decide.attributes["hunch.reason"],
    )
    assert decision["origin"] == first.attributes["hunch.origin"]
    assert ("kafka", "process", "1", TAU) == (
        first.attributes["messaging.system"],
        first.attributes["messaging.operation.type"],
        first.attributes["messaging.destination.partition.id"],
        first.attributes["hunch.tau"],
    )
    assert decision["origin"] == "{}-{}-{}".format(
        first.attributes["messaging.destination.name"],
        first.attributes["messaging.destination.partition.id"],
        first.attributes["messaging.kafka.offset"],
    )
    assert ("consumer", "producer") == (first.kind, decide.kind)
    assert (decision["path"] == "error") is first.is_error is decide.is_error
    if decision["fast"] is not None:
        assert decision["fast"]["confidence"] == pytest.approx(first.attributes["hunch.confidence"])
        assert decision["fast"]["model"] == first.attributes["hunch.model"]
    if joined:
        assert (decision["label"], decision["delta_ms"]) == (
            decide.attributes["hunch.label"],
            decide.attributes["hunch.delta_ms"],
        )
        assert decision["deadline_ms"] == spans["join"].attributes["hunch.deadline_ms"]
    assert all(span.end_us >= span.start_us for span in spans.values())
    assert first.start_us <= decide.start_us


def check_links(name, decision, spans, collector):
    """Each batch is linked with the spans of its messages, both ways."""
    trace_id = decision["trace_id"]
    batch = batch_of(collector, spans["fast"], "fast batch")
    assert (trace_id, spans["fast"].span_id) in batch.links
    if name == "slow":
        batch = batch_of(collector, spans["slow"], "slow batch")
        assert (trace_id, spans["slow"].span_id) in batch.links
        assert {(trace_id, spans["slow"].span_id)} == spans["join"].links
    if name == "shed":
        assert frozenset() == spans["slow"].links
        assert "shed" == spans["slow"].attributes["hunch.reason"]
