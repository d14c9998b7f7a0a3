"""Reading one's own outputs back: what a predecessor has already written."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from hunch.clock import Clock
from hunch.kafka.client import Client, Consumer, Record, TopicPartition

T = TypeVar("T")
POLL_MS = 100
FIRST_STEP = 100


async def read_back(
    client: Client,
    clock: Clock,
    ranges: dict[TopicPartition, tuple[int, int]],
    pick: Callable[[Record], T | None],
    *,
    timeout_ms: float,
) -> set[T]:
    """What `pick` finds in the records of these half-open offset ranges.

    Uses a consumer of its own, so that nothing else is disturbed; whatever lies below the log's
    start is skipped. Raises `TimeoutError` where it gets no further for `timeout_ms`.
    """
    wanted = {tp: span for tp, span in ranges.items() if span[0] < span[1]}
    found: set[T] = set()
    if not wanted:
        return found
    consumer = client.consumer("read_committed")
    try:
        await clock.wait_for(consumer.start(), timeout_ms)
        first = await clock.wait_for(consumer.beginning_offsets(list(wanted)), timeout_ms)
        consumer.assign(list(wanted))
        at, moved_ms = {tp: max(span[0], first[tp]) for tp, span in wanted.items()}, clock.now_ms()
        for tp, offset in at.items():
            consumer.seek(tp, offset)
        while wanted:
            for tp, records in (await _poll(consumer, at)).items():
                end = wanted[tp][1] if tp in wanted else 0
                picked = (pick(record) for record in records if record.offset < end)
                found.update(value for value in picked if value is not None)
            before, at = at, {tp: await consumer.position(tp) for tp in wanted}
            now_ms = clock.now_ms()
            moved_ms = moved_ms if at == before else now_ms
            if now_ms - moved_ms > timeout_ms:
                raise TimeoutError(f"Nothing more of {', '.join(map(str, wanted))} can be read.")
            for tp in [tp for tp, span in wanted.items() if at[tp] >= span[1]]:
                del wanted[tp], at[tp]
                consumer.pause(tp)
    finally:
        await clock.wait_for(consumer.stop(), 5_000)
    return found


async def _poll(
    consumer: Consumer, positions: Mapping[TopicPartition, int]
) -> dict[TopicPartition, list[Record]]:
    """What there is to read; a record whose header names are no text is nobody's, and passed.

    aiokafka drops the rest of a fetch with such a record in it, and reads on behind: all of it is
    read again, record by record.
    """
    try:
        return await consumer.getmany(timeout_ms=POLL_MS)
    except UnicodeDecodeError:
        read: dict[TopicPartition, list[Record]] = {}
        for tp, offset in positions.items():
            consumer.seek(tp, offset)
        for tp in positions:
            try:
                while one := await consumer.getmany(tp, timeout_ms=POLL_MS, max_records=1):
                    read.setdefault(tp, []).extend(one[tp])
            except UnicodeDecodeError:
                consumer.seek(tp, await consumer.position(tp) + 1)
        return read


async def read_back_last(
    client: Client,
    clock: Clock,
    tp: TopicPartition,
    span: tuple[int, int],
    pick: Callable[[Record], T | None],
    *,
    timeout_ms: float,
) -> set[T]:
    """What `pick` finds in the last records of a half-open offset range in which it finds anything.

    Markers, aborted records and strangers' may lie behind them: it looks further back, each time
    for more. Raises `TimeoutError` where it gets no further for `timeout_ms`.
    """
    first, end = span
    step = FIRST_STEP
    while end > first:
        begin = max(first, end - step)
        found = await read_back(client, clock, {tp: (begin, end)}, pick, timeout_ms=timeout_ms)
        if found:
            return found
        end, step = begin, 4 * step
    return set()
