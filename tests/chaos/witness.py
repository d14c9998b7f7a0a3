"""What a `read_committed` user outside sees: decisions, messages and deferrals as they are.

The client is not the one that Hunch uses, and reads every partition from offset 0.
"""

import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import orjson
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)

READ_S = 0.02
"""What has arrived is seen after so long at the latest: no gap is measured finer."""
AT_ONCE = 1_000
END_S = 120.0
SILENT_S = 15.0
"""A reader that has got nothing for so long is replaced by a new one, which goes on after it."""


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
        self._bootstrap = bootstrap
        self._next = {
            number: TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(partitions)
        }
        self._is_stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="witness", daemon=True)

    def start(self) -> None:
        """Begins to read."""
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
            consumer = _consumer(self._bootstrap, {})
            consumer.assign(list(self._next.values()))
            self._read(consumer)
            consumer.close()

    def _read(self, consumer: Consumer) -> None:
        heard_s = time.monotonic()
        while not self._is_stopped.is_set() and time.monotonic() - heard_s < SILENT_S:
            try:
                records = consumer.consume(AT_ONCE, READ_S)
            except KafkaException:
                return
            arrived_ms = time.time() * 1000
            for record in records:
                if record.error() is None:
                    heard_s = time.monotonic()
                    self._note(record, arrived_ms)

    def _note(self, record: Any, arrived_ms: float) -> None:
        try:
            decision = decision_of(record, arrived_ms)
        except (ValueError, KeyError, TypeError) as error:
            where = f"{record.topic()}-{record.partition()}-{record.offset()}"
            self.problem = self.problem or f"{where} is no decision: {error!r}"
            return
        self._next[decision.partition].offset = decision.offset + 1
        self.seen.append(decision)
        self.origins.add(decision.origin)


class Reading(NamedTuple):
    """All decisions that stand in the log once all is over, held against what was seen before.

    Attributes:
        decisions: with the time at which the witness got them, or else that of their record.
        missed: how many the witness had not got.
        gone: those that the witness had got and that are there no more.
    """

    decisions: list[Decision]
    missed: int
    gone: list[Decision]


def read_again(bootstrap: str, topic: str, partitions: int, seen: Iterable[Decision]) -> Reading:
    """Every committed decision, read by a fresh consumer; raises what `decision_of` raises."""
    before = {(one.partition, one.offset): one for one in seen}
    decisions, missed = [], 0
    for record in read_all(bootstrap, topic, partitions):
        one = decision_of(record, record.timestamp()[1])
        known = before.pop((one.partition, one.offset), None)
        if known is None:
            missed += 1
        else:
            one = one._replace(arrived_ms=known.arrived_ms)
        decisions.append(one)
    return Reading(decisions, missed, list(before.values()))


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
