"""Finds the records of one message on all topics, without reading whole partitions.

What is known of their order decides how they are found; no clock of a client is believed.

* `messages`: the origin names the offset.
* `decisions[p]`, `deferrals[p]`, `dead-letters[p]`: the fast stage writes them in the order of its
  input, so their origins ascend, and a bisection over offsets finds the place. A process that wrote
  on after its partition was given away leaves a run far from its place: where one bisection finds
  nothing, others with another pivot look past the run.
* `slow-results[p]`, `decisions[P+p]`, `late-results[p]`: roughly in the order of their origins, as
  far as Δ and the slow stage's batches mix them. A bisection finds the neighbourhood, which is
  searched outwards: until the records' own times, which Hunch sets, lie before the deferral or
  well after the deadline, and for no more than a window of offsets.
* dead letters of the joiner and the slow stage name the record that they are about, and are found
  by their own time.

What was searched is part of the answer. A second record of the same message (at-least-once) is
found in the neighbourhood of the first; one further away only with `is_whole`, which reads the
partitions from end to end.
"""

from collections.abc import Callable, Mapping

from hunch.clock import Clock
from hunch.core.envelope import origin_of
from hunch.errors import BrokerError, ConfigError
from hunch.kafka.aio import KafkaClient
from hunch.kafka.client import Record, TopicPartition
from hunch.kafka.log_search import Key, LogReader, Span
from hunch.kafka.names import Names
from hunch.kafka.reader import Unreadable
from hunch.kafka.trail import (
    Behind,
    Origin,
    Presence,
    Searched,
    Times,
    Trail,
    deferral_offset,
    origin_key,
    origin_text,
    times_of,
)

NEAR = 500
"""Offsets to each side of a place that are looked at in any case, for second records."""
NEAR_PAYLOADS = 50
"""The same where records carry the payloads of messages."""
STEP = 1_000
PIVOTS = (0.5, 0.37, 0.61)
PROGRESS_MS = 3_000


class Finder:
    """Finds the records of messages.

    Args:
        groups: stage → its consumer group.
        window: offsets to each side of a place that are searched at most, `NEAR` or more.
        is_whole: whether derived partitions are read from end to end.
    """

    def __init__(
        self,
        client: KafkaClient,
        clock: Clock,
        reader: LogReader,
        names: Names,
        groups: Mapping[str, str],
        *,
        window: int,
        is_whole: bool = False,
    ) -> None:
        self._client = client
        self._clock = clock
        self._reader = reader
        self._names = names
        self._groups = groups
        self._window = window
        self._is_whole = is_whole

    async def find(self, origin: Origin) -> Trail:
        """Everything of a message; raises `ConfigError` where it can be none of these topics."""
        names = self._names
        if origin.topic != names.messages:
            msg = (
                f"{origin} is no message of these settings, whose topic is {names.messages}: "
                "correct it, or set topic_prefix."
            )
            raise ConfigError(msg)
        if origin.partition >= names.partitions:
            msg = (
                f"There is no partition {origin.partition} in {names.messages}: "
                f"it has {names.partitions}, counted from 0."
            )
            raise ConfigError(msg)
        trail = await self._begin(origin)
        await self._find_in_order(trail)
        is_undecided = not trail.decisions and not trail.is_unread
        if trail.deferrals or is_undecided or self._is_whole:
            await self._find_around(trail)
            await self._find_dead_letters(trail)
        await self._ask_progress(trail)
        return trail

    async def _begin(self, origin: Origin) -> Trail:
        where = TopicPartition(origin.topic, origin.partition)
        span = await self._reader.span(where)
        if origin.offset < span.first:
            return Trail(origin=origin, presence=Presence.DELETED, span=span)
        if origin.offset >= span.end:
            return Trail(origin=origin, presence=Presence.NOT_WRITTEN, span=span)
        record = await self._reader.first_from(where, origin.offset, origin.offset + 1)
        if record is None:
            return Trail(origin=origin, presence=Presence.NOT_A_MESSAGE, span=span)
        if isinstance(record, Unreadable):
            return Trail(origin=origin, presence=Presence.UNREADABLE, span=span)
        return Trail(origin=origin, presence=Presence.THERE, span=span, message=record)

    async def _find_in_order(self, trail: Trail) -> None:
        """What the fast stage wrote; a message that it has not read yet is looked for only once."""
        origin, names = trail.origin, self._names
        key, text = origin_key(origin), str(origin)
        decisions = names.fast_decisions(origin.partition)
        deferrals = TopicPartition(names.deferrals, origin.partition)
        for pivot in PIVOTS:
            trail.decisions += await self._near(trail, decisions, key, pivot)
            trail.deferrals += await self._near(trail, deferrals, key, pivot)
            if trail.decisions or trail.deferrals or self._is_whole:
                break
            await self._ask(trail, "fast")
            if trail.is_unread:
                break
        letters = names.dead_letters_of("fast", origin.partition)
        trail.dead_letters += [
            record
            for record in await self._near(trail, letters, key, PIVOTS[0])
            if origin_text(record) == text
        ]

    async def _find_around(self, trail: Trail) -> None:
        """What the slow stage and the joiner wrote."""
        names, partition = self._names, trail.origin.partition
        results = TopicPartition(names.slow_results, partition)
        late = TopicPartition(names.late_results, partition)
        trail.slow_results += await self._around(trail, results)
        trail.decisions += await self._around(trail, names.joined_decisions(partition))
        trail.late_results += await self._around(trail, late)

    async def _find_dead_letters(self, trail: Trail) -> None:
        """What the joiner and the slow stage put aside, about any record of this message."""
        derived = [*trail.deferrals, *trail.slow_results]
        about = {str(trail.origin)} | {
            origin_of(record.topic, record.partition, record.offset) for record in derived
        }
        times = times_of(trail)
        if times is None and not self._is_whole:
            return
        for stage in ("join", "slow"):
            where = self._names.dead_letters_of(stage, trail.origin.partition)
            span = await self._reader.span(where)
            low = span.first
            if times is not None and not self._is_whole:
                low = await self._reader.lowest_from(where, span, _time, int(times.first_ms))
            high = span.end if self._is_whole else min(span.end, low + self._window)
            found = await self._pick(
                where, Span(low, high), lambda record: origin_text(record) in about, times
            )
            trail.dead_letters += found
            trail.searched.append(Searched(where, low, high, *span))

    async def _near(
        self, trail: Trail, where: TopicPartition, key: Key, pivot: float
    ) -> list[Record]:
        """The records of a message in a log whose origins ascend."""
        span = await self._reader.span(where)
        searched = span
        if not self._is_whole:
            place = await self._reader.lowest_from(where, span, key, trail.origin.offset, pivot)
            has_payloads = where.topic != self._names.decisions
            searched = _about(place, NEAR_PAYLOADS if has_payloads else NEAR, span)
        trail.searched.append(Searched(where, *searched, *span))
        offset = trail.origin.offset
        return await self._pick(where, searched, lambda record: key(record) == offset)

    async def _around(self, trail: Trail, where: TopicPartition) -> list[Record]:
        """The records of a message in a log whose origins ascend roughly."""
        span = await self._reader.span(where)
        key, offset = origin_key(trail.origin), trail.origin.offset
        deferrals = {record.offset for record in trail.deferrals}

        def is_ours(record: Record) -> bool:
            return key(record) == offset or deferral_offset(record) in deferrals

        if self._is_whole:
            trail.searched.append(Searched(where, *span, *span))
            return await self._pick(where, span, is_ours)
        place = await self._reader.lowest_from(where, span, key, offset)
        low, high = _about(place, NEAR, span)
        found = await self._pick(where, Span(low, high), is_ours)
        limits, times = _about(place, self._window, span), times_of(trail)
        is_open = not found
        while is_open and high < limits.end:
            step = Span(high, min(high + STEP, limits.end))
            found += await self._pick(where, step, is_ours)
            high = step.end
            first = await self._reader.first_from(where, *step)
            is_open = not found and (
                first is None or times is None or first.timestamp <= times.last_ms
            )
        is_open = not found
        while is_open and low > limits.first:
            step = Span(max(low - STEP, limits.first), low)
            found += await self._pick(where, step, is_ours)
            low = step.first
            first = await self._reader.first_from(where, *step)
            is_open = not found and (
                first is None or times is None or first.timestamp >= times.first_ms
            )
        trail.searched.append(Searched(where, low, high, *span))
        return found

    async def _pick(
        self,
        where: TopicPartition,
        span: Span,
        is_wanted: Callable[[Record], bool],
        times: Times | None = None,
    ) -> list[Record]:
        found = []
        async for record in self._reader.range(where, span):
            if is_wanted(record):
                found.append(record)
            if times is not None and not self._is_whole and record.timestamp > times.last_ms:
                break
        return found

    async def _ask_progress(self, trail: Trail) -> None:
        """How far the stages are whose output is missing."""
        if not trail.decisions and not trail.deferrals:
            await self._ask(trail, "fast")
        if trail.deferrals and not trail.decisions:
            await self._ask(trail, "join")
        if trail.deferrals and not trail.slow_results:
            await self._ask(trail, "slow")

    async def _ask(self, trail: Trail, stage: str) -> None:
        if stage in trail.progress:
            return
        topic = self._names.messages if stage == "fast" else self._names.deferrals
        where = TopicPartition(topic, trail.origin.partition)
        try:
            committed = await self._clock.wait_for(
                self._client.committed(self._groups[stage], [where]), PROGRESS_MS
            )
        except (BrokerError, TimeoutError):
            return
        end = (await self._reader.span(where)).end
        trail.progress[stage] = Behind(committed[where].offset, end)


def _about(place: int, reach: int, span: Span) -> Span:
    return Span(max(place - reach, span.first), min(place + reach, span.end))


def _time(record: Record) -> int:
    return record.timestamp
