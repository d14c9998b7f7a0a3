"""Reading one's own outputs back: what a predecessor has already written."""

from collections.abc import Callable
from typing import TypeVar

from hunch.clock import Clock
from hunch.kafka.client import Client, Record, TopicPartition

T = TypeVar("T")
POLL_MS = 100
FIRST_STEP = 100


async def read_back(
    client: Client,
    clock: Clock,
    ranges: dict[TopicPartition, tuple[int, int]],
    pick: Callable[[Record], T | None],
) -> set[T]:
    """What `pick` finds in the records of these half-open offset ranges.

    Uses a consumer of its own, so that nothing else is disturbed; whatever lies below the log's
    start is skipped. The caller bounds the time.
    """
    wanted = {tp: span for tp, span in ranges.items() if span[0] < span[1]}
    found: set[T] = set()
    if not wanted:
        return found
    consumer = client.consumer("read_committed")
    try:
        await consumer.start()
        first = await consumer.beginning_offsets(list(wanted))
        consumer.assign(list(wanted))
        for tp, (start, _) in wanted.items():
            consumer.seek(tp, max(start, first[tp]))
        while wanted:
            for tp, records in (await consumer.getmany(timeout_ms=POLL_MS)).items():
                end = wanted[tp][1] if tp in wanted else 0
                picked = (pick(record) for record in records if record.offset < end)
                found.update(value for value in picked if value is not None)
            for tp in [tp for tp, span in wanted.items() if await consumer.position(tp) >= span[1]]:
                del wanted[tp]
                consumer.pause(tp)
    finally:
        await clock.wait_for(consumer.stop(), 5_000)
    return found


async def read_back_last(
    client: Client,
    clock: Clock,
    tp: TopicPartition,
    span: tuple[int, int],
    pick: Callable[[Record], T | None],
) -> set[T]:
    """What `pick` finds in the last records of a half-open offset range in which it finds anything.

    Markers, aborted records and strangers' may lie behind them: it looks further back, each time
    for more. The caller bounds the time.
    """
    first, end = span
    step = FIRST_STEP
    while end > first:
        begin = max(first, end - step)
        if found := await read_back(client, clock, {tp: (begin, end)}, pick):
            return found
        end, step = begin, 4 * step
    return set()
