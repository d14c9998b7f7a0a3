"""What a `read_committed` user outside sees: decisions, messages and deferrals as they are.

The client is not the one that Hunch uses, and reads every partition from offset 0.
"""

import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

READ_S = 0.02
"""What has arrived is seen after so long at the latest: no gap is measured finer."""
AT_ONCE = 1_000
END_S = 120.0


class Decision(NamedTuple):
    """One decision as it was read; times in epoch ms."""

    origin: str
    id: object
    partition: int
    offset: int
    deferral: int | None
    path: str
    reason: str
    label: str | None
    fast: tuple[str, float] | None
    slow: tuple[str, float, str] | None
    tau: float
    at_ms: float
    deadline_ms: int | None
    appended_ms: int
    arrived_ms: float


class Witness:
    """Reads `decisions` in a thread of its own for as long as the run lasts."""

    def __init__(self, bootstrap: str, topic: str, partitions: int) -> None:
        self.seen: list[Decision] = []
        self.origins: set[str] = set()
        self.problem: str | None = None
        """A record that no reader of decisions should have to read."""
        self._consumer = _consumer(bootstrap, {})
        self._topic = topic
        self._partitions = partitions
        self._is_stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="witness", daemon=True)

    def start(self) -> None:
        """Begins to read."""
        self._consumer.assign(_from_start(self._topic, self._partitions))
        self._thread.start()

    def stop(self) -> None:
        """Reads no more."""
        self._is_stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def partitions_heard(self) -> set[int]:
        """Which partitions of `decisions` have spoken yet."""
        return {decision.partition for decision in self.seen}

    def _run(self) -> None:
        while not self._is_stopped.is_set():
            records = self._consumer.consume(AT_ONCE, READ_S)
            arrived_ms = time.time() * 1000
            for record in records:
                if record.error() is None:
                    self._note(record, arrived_ms)
        self._consumer.close()

    def _note(self, record: Any, arrived_ms: float) -> None:
        try:
            decision = decision_of(record, arrived_ms)
        except (ValueError, KeyError, TypeError) as error:
            where = f"{record.topic()}-{record.partition()}-{record.offset()}"
            self.problem = self.problem or f"{where} is no decision: {error!r}"
            return
        self.seen.append(decision)
        self.origins.add(decision.origin)


def decision_of(record: Any, arrived_ms: float) -> Decision:
    """The decision in a record; raises `ValueError`, `KeyError` or `TypeError` where it is none."""
    body = orjson.loads(record.value())
    headers = dict(record.headers() or [])
    if headers["hunch-origin"].decode() != body["origin"]:
        raise ValueError("its header names another origin")
    if headers["hunch-path"].decode() != body["path"]:
        raise ValueError("its header names another path")
    fast, slow = body["fast"], body["slow"]
    deferral = headers.get("hunch-deferral")
    return Decision(
        origin=body["origin"],
        id=body["id"],
        partition=record.partition(),
        offset=record.offset(),
        deferral=None if deferral is None else int(deferral),
        path=body["path"],
        reason=body["reason"],
        label=body["label"],
        fast=None if fast is None else (fast["label"], fast["confidence"]),
        slow=None if slow is None else (slow["label"], slow["confidence"], slow["model"]),
        tau=body["tau"],
        at_ms=body["at_ms"],
        deadline_ms=body.get("deadline_ms"),
        appended_ms=record.timestamp()[1],
        arrived_ms=arrived_ms,
    )


class Truth(NamedTuple):
    """What stands in the log once all is over, read by a consumer of its own.

    Attributes:
        messages: origin → number of the message.
        deferrals: (partition, offset) → origin.
    """

    messages: dict[str, int]
    deferrals: dict[tuple[int, int], str]


def read_truth(bootstrap: str, prefix: str, partitions: int) -> Truth:
    """An independent reading of `messages` and `deferrals`."""
    messages = {
        f"{record.topic()}-{record.partition()}-{record.offset()}": int(
            orjson.loads(record.value())["id"]
        )
        for record in read_all(bootstrap, f"{prefix}messages", partitions)
    }
    deferrals = {}
    for record in read_all(bootstrap, f"{prefix}deferrals", partitions):
        header = dict(record.headers() or [])["hunch"]
        deferrals[record.partition(), record.offset()] = orjson.loads(header)["origin"]
    return Truth(messages, deferrals)


def read_all(bootstrap: str, topic: str, partitions: int) -> Iterator[Any]:
    """Every committed record of a topic up to its present end, by a fresh consumer."""
    consumer = _consumer(bootstrap, {"enable.partition.eof": True})
    consumer.assign(_from_start(topic, partitions))
    open_partitions = set(range(partitions))
    until = time.monotonic() + END_S
    try:
        while open_partitions:
            if time.monotonic() > until:
                raise TimeoutError(f"{topic} could not be read to its end in {END_S} s.")
            for record in consumer.consume(AT_ONCE, READ_S):
                error = record.error()
                if error is None:
                    yield record
                elif error.code() == KafkaError._PARTITION_EOF:
                    open_partitions.discard(record.partition())
    finally:
        consumer.close()


def _consumer(bootstrap: str, more: dict[str, object]) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "chaos-witness",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 20,
            "log_level": 0,
        }
        | more
    )


def _from_start(topic: str, partitions: int) -> list[TopicPartition]:
    return [TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(partitions)]
