"""A joiner taken apart: the real lane on the log in memory, moved one step at a time by a test."""

import asyncio

import orjson
from aiokafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from tests.stages.parties import cascade

from hunch.core.envelope import Answer, Deferral, SlowResult
from hunch.core.joining import JoinPolicy
from hunch.errors import LaneClosed
from hunch.kafka.codec import (
    DEADLINE_MS,
    DEFERRAL,
    decode_result,
    encode_deferral,
    encode_result,
    header_of,
)
from hunch.kafka.harbour import Harbour, LanePolicy
from hunch.kafka.member import Member, MemberPolicy
from hunch.kafka.metadata import trusted, unpack
from hunch.kafka.reader import Reader
from hunch.stages.join import JoinStage
from hunch.telemetry import Tracer

DEFERRALS, RESULTS = TopicPartition("deferrals", 0), TopicPartition("slow-results", 0)
DECISIONS = TopicPartition("decisions", 1)
GROUP = "hunch-join"
POLICY = JoinPolicy(max_pending=4, max_early=1_000, hold_ms=50)
FAST = Answer(label="a", confidence=0.6, model="fast@1")
FAULTS = {
    "a batch is refused": ("produce", MessageSizeTooLargeError(), False),
    "a batch is written, its answer lost": ("produce", KafkaTimeoutError(), True),
    "the offsets are refused": ("txn_offsets", KafkaTimeoutError(), False),
    "the commit is refused": ("end_txn", KafkaTimeoutError(), False),
    "the commit counts, its answer is lost": ("end_txn", KafkaTimeoutError(), True),
}
"""What may go wrong in a transaction: operation, what the client hears, whether it took effect."""


class Pair:
    """One partition pair: what others write to it, what its owners make of it, what holds."""

    def __init__(self, *, is_exactly_once):
        self.memory = cascade()
        self.log, self.clock = self.memory.log, self.memory.clock
        self.is_exactly_once = is_exactly_once
        self.deferred: dict[int, str] = {}

    # -- what others write

    def defer(self, delta_ms, *, is_aborted=False, gap=0):
        """A fast stage writes a deferral; where its transaction is aborted, soon once more."""
        now_ms = self.clock.now_ms()
        if is_aborted:
            self.log.skip_offsets(DEFERRALS, 2)
            return
        said = Deferral(
            origin=f"messages-0-{self.log.partition(DEFERRALS).end}",
            id=None,
            fast=FAST,
            tau=0.9,
            delta_ms=delta_ms,
            policy="test",
            ingest_ms=int(now_ms),
            wait_ms=0.0,
            fast_ms=0.0,
            deferred_ms=now_ms,
        )
        headers = encode_deferral(said, int(now_ms) + delta_ms, None)
        self.deferred[self.log.append("deferrals", 0, None, b"{}", headers).offset] = said.origin
        self.log.skip_offsets(DEFERRALS, gap)

    def answer(self, offset, kind):
        """A slow worker answers whatever offset it may; the label names the offset it is for."""
        said = SlowResult(
            origin=f"messages-0-{offset}",
            deferral=offset,
            model="slow@1",
            answer=Answer(label=f"b{offset}", confidence=0.9, model="slow@1")
            if kind == "answer"
            else None,
            error="it broke" if kind == "error" else None,
            shed=kind == "shed",
        )
        value, headers = encode_result(said, [0.1, 0.9] if kind == "answer" else None)
        self.log.append("slow-results", 0, None, value, headers)

    def commit_foreign(self, offset, text):
        """An operator's tool or an auto-commit writes over the joiner's own commit."""
        group = self.log.group(GROUP)
        noted, _ = group.note({DEFERRALS: OffsetAndMetadata(offset, text)})
        group.commit(noted)

    # -- what an owner does

    async def lane(self):
        """A lane that has not taken over yet, with a reader of its own."""
        reader = Reader(self.log.consumer("read_committed"), self.clock)
        await reader.start()
        member = Member(
            stage="join",
            group=GROUP,
            topic="deferrals",
            policy=MemberPolicy(),
            clock=self.clock,
            metrics=self.memory.metrics,
        )
        await member.on_partitions_assigned({DEFERRALS})
        member.attach(lambda: Plain(self.log))
        harbour = Harbour(
            client=self.log,
            clock=self.clock,
            metrics=self.memory.metrics,
            tracer=Tracer(),
            member=member,
            reader=reader,
            policy=LanePolicy(is_exactly_once=self.is_exactly_once, transaction_timeout_ms=300),
        )
        return JoinStage(names=self.memory.names, policy=POLICY).lane(harbour, 0, member.terms[0])

    async def read(self, lane, partition, count):
        """The lane's reader brings so many records, and tells how far it has come."""
        consumer, reader = lane.harbour.reader._consumer, lane.harbour.reader
        if partition not in consumer.paused():
            reader._hand_out(await consumer.getmany(partition, max_records=count))
        await reader._follow_positions()

    def work(self, lane):
        """The lane makes one slice of what it has read, and of time."""
        chunk = lane._collect(self.clock.now_ms())
        if chunk is not None:
            lane.put(chunk)

    async def deliver(self, lane, fault=None):
        """The lane writes and commits what it has made; whether that came to an end."""
        chunk, lane._outbox = lane._outbox, None
        if chunk is None:
            return True
        if fault is not None:
            operation, error, is_applied = FAULTS[fault]
            self.log.fail_next(operation, error, is_applied=is_applied)
        try:
            await lane._deliver(chunk)
        except (KafkaError, LaneClosed, TimeoutError):
            return False
        finally:
            self.log._faults.clear()
        return True

    # -- what can be seen from outside

    def committed(self):
        """The committed offset of `deferrals` and the numbers beside it; None for foreign ones."""
        found = self.log.group(GROUP).offsets.get(DEFERRALS)
        numbers = None if found is None else unpack(trusted(found.metadata, found.offset))
        return None if found is None or numbers is None else (found.offset, numbers)

    def answered_in_time(self):
        """Undecided deferrals with a result in the log and more than a moment left."""
        soon_ms = self.clock.now_ms() + 100
        decided = {deferral for _, deferral, _ in self.decisions()}
        answered = {
            decode_result(record.value, record.headers).deferral
            for record in self.log.records(*RESULTS)
        }
        return {
            record.offset
            for record in self.log.records(*DEFERRALS)
            if record.offset in answered - decided and number(record.headers, DEADLINE_MS) > soon_ms
        }

    def decisions(self):
        """What a `read_committed` reader sees: own offset, deferral offset and body of each."""
        return [
            (record.offset, number(record.headers, DEFERRAL), orjson.loads(record.value))
            for record in self.log.records(*DECISIONS)
        ]


def number(headers, name):
    """The number that a header spells."""
    return int(header_of(headers, name) or b"")


class Plain:
    """A seat that is never lost: what the group itself guards is not in question here."""

    def __init__(self, log):
        self._log = log

    async def commit(self, offsets):
        """Commits at once."""
        group = self._log.group(GROUP)
        noted, _ = group.note(offsets)
        group.commit(noted)

    def pause(self, *partitions):
        """Reads nothing anyway."""

    def member_id(self):
        """Its name."""
        return "plain"


class Loop:
    """An event loop that belongs to one example, on which a manual clock moves as far as needed."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()

    def run(self, work, clock=None):
        """What the work comes to; time moves only where it waits for time."""
        return self._loop.run_until_complete(_driven(work, clock))

    def close(self):
        """Ends whatever still waits."""
        self._loop.run_until_complete(_ended())
        self._loop.close()


async def _ended():
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _driven(work, clock):
    task = asyncio.ensure_future(work)
    while not task.done():
        for _ in range(100):
            if task.done():
                break
            await asyncio.sleep(0)
        else:
            if clock is not None:
                await clock.advance(10)
    return task.result()
