"""Tests of stages and cascades without sockets, threads or sleeps.

A log, a clock, the program as a task; then time moves as far as the test says::

    clock = ManualClock(start_ms=1_000_000)
    log = MemoryLog(clock)
    log.create_topic("messages", partitions=4)
    log.append("messages", 0, b"key", b'{"id": 7}')
    stage = asyncio.create_task(serve(log, clock))  # anything that takes a Client and a Clock
    await clock.advance(200)
    log.fail_next("produce", NotEnoughReplicasError(), topic="decisions")
    await clock.advance(200)
    decisions = log.records("decisions")

`OtlpReceiver` is the exception: a collector on real sockets, for processes that export to it.
"""

from hunch.testing.clock import ManualClock
from hunch.testing.log import MemoryLog
from hunch.testing.otlp import OtlpReceiver
from hunch.testing.otlp_values import ReceivedLink, ReceivedPoint, ReceivedSpan
from hunch.testing.partition import MemoryRecord
from hunch.testing.predictor import StubPredictor

__all__ = [
    "ManualClock",
    "MemoryLog",
    "MemoryRecord",
    "OtlpReceiver",
    "ReceivedLink",
    "ReceivedPoint",
    "ReceivedSpan",
    "StubPredictor",
]
