"""A slow worker of the harness's own, which strains the contract of `deferrals` and `slow-results`.

It answers beside the real slow stage, so that many deferrals have two answers. By chance, drawn
from the seed and the deferral: at once (often before the joiner may read the deferral), out of
order, near the deadline, after it, twice, an error, a shed, or not at all. The confidence of its
answers tells for which deferral they were computed: one that decides another cannot hide.
"""

import heapq
import random
import threading
import time
from typing import Any

import orjson
from confluent_kafka import Consumer, Producer, TopicPartition
from tests.chaos.oracle import Oracle

MODEL = "chaos-worker@1"
READ_S = 0.02
LATE_S = 0.7


def confidence_for(partition: int, deferral: int) -> float:
    """The confidence of an answer to this deferral, different for its neighbours."""
    mixed = (deferral * 2_654_435_761 + partition * 40_503) % 1_000_003
    return 0.5 + mixed / 4_000_012


class SlowWorker:
    """Reads deferrals uncommitted, aborted ones too, and answers in a thread of its own."""

    def __init__(
        self,
        bootstrap: str,
        prefix: str,
        oracle: Oracle,
        *,
        seed: int,
        partitions: int,
    ) -> None:
        self.answers = 0
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "chaos-worker",
                "isolation.level": "read_uncommitted",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 10,
                "log_level": 0,
            }
        )
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "linger.ms": 2,
                "message.timeout.ms": 60_000,
                "log_level": 0,
            }
        )
        self._deferrals = f"{prefix}deferrals"
        self._results = f"{prefix}slow-results"
        self._partitions = partitions
        self._oracle = oracle
        self._seed = seed
        self._due: list[tuple[float, int, int, bytes, bytes]] = []
        self._is_stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="slow worker", daemon=True)

    def start(self) -> None:
        """Begins to answer."""
        self._consumer.assign(
            [TopicPartition(self._deferrals, number, 0) for number in range(self._partitions)]
        )
        self._thread.start()

    def stop(self) -> None:
        """Answers no more."""
        self._is_stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._is_stopped.is_set():
            for record in self._consumer.consume(500, READ_S):
                if record.error() is None:
                    self._plan(record)
            now = time.time()
            while self._due and self._due[0][0] <= now:
                _, partition, _, value, header = heapq.heappop(self._due)
                self._producer.produce(
                    self._results, value, partition=partition, headers=[("hunch", header)]
                )
                self.answers += 1
            self._producer.poll(0)
        self._producer.flush(10.0)
        self._consumer.close()

    def _plan(self, record: Any) -> None:
        headers = dict(record.headers() or [])
        about = orjson.loads(headers["hunch"])
        deadline_s = int(headers["hunch-deadline-ms"]) / 1000
        partition, deferral = record.partition(), record.offset()
        chance = random.Random(f"{self._seed} {partition} {deferral}")
        value = orjson.dumps(
            {
                "label": self._oracle.slow(int(about["id"])).label,
                "confidence": confidence_for(partition, deferral),
            }
        )
        now, at, times = time.time(), None, 1
        drawn = chance.random()
        if drawn < 0.35:
            at = now
        elif drawn < 0.45:
            at = now + chance.random() * max(0.0, deadline_s - now)
        elif drawn < 0.50:
            at = deadline_s + chance.uniform(-0.03, 0.03)
        elif drawn < 0.53:
            at = deadline_s + chance.random() * LATE_S
        elif drawn < 0.58:
            at, times = now, 2
        elif drawn < 0.61:
            at, value = now, b'{"error": "the chaos harness has no answer"}'
        elif drawn < 0.64:
            at, value = now, b'{"shed": true}'
        if at is None:
            return
        header = orjson.dumps(
            {"v": 1, "origin": about["origin"], "deferral": deferral, "model": MODEL}
        )
        for again in range(times):
            heapq.heappush(self._due, (at + 0.05 * again, partition, deferral, value, header))
