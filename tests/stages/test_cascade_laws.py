"""The life of lanes, in whole cascades: whatever dies, stands still or is refused, one decision.

Processes of all three stages on the log in memory, where every request takes time: a fault may hit
between any two of them. A process that lost its seat does not hear of it, and works on.
"""

import pytest
from aiokafka.errors import KafkaTimeoutError, MessageSizeTooLargeError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from tests import brokers
from tests.stages.joiners import Loop
from tests.stages.parties import cascade

from hunch.kafka.harbour import LanePolicy
from hunch.testing.cascade import Running

STAGES = st.sampled_from(["fast", "fast", "join", "join", "slow"])
INPUTS = {"fast": "messages", "join": "deferrals"}
PARTITIONS = 2
FAULTS = {
    "a batch refused": ("produce", MessageSizeTooLargeError(), False),
    "a batch unanswered": ("produce", KafkaTimeoutError(), True),
    "offsets refused": ("txn_offsets", KafkaTimeoutError(), False),
    "a commit refused": ("end_txn", KafkaTimeoutError(), False),
    "a commit unanswered": ("end_txn", KafkaTimeoutError(), True),
    "a fence refused": ("fence", KafkaTimeoutError(), False),
    "a fence unanswered": ("fence", KafkaTimeoutError(), True),
    "no answer about offsets": ("committed", KafkaTimeoutError(), False),
    "a member's commit refused": ("commit", KafkaTimeoutError(), False),
    "reading fails": ("fetch", KafkaTimeoutError(), False),
}
MESSAGES = st.lists(
    st.tuples(st.sampled_from([0.95, 0.6, 0.6]), st.integers(0, PARTITIONS - 1)),
    min_size=1,
    max_size=6,
)


class ExactlyOnce(RuleBasedStateMachine):
    """One process of each stage to begin with, and messages in both partitions."""

    is_exactly_once = True

    @initialize(messages=MESSAGES)
    def begin(self, messages):
        """All stages run, and something is to be done."""
        self.loop = Loop()
        self.origins: list[str] = []
        self.running: dict[str, list[Running]] = {"fast": [], "join": [], "slow": []}
        self.memory = self.loop.run(self.make())
        self.send(messages)

    async def make(self):
        """A cascade whose requests take 4 ms."""
        memory = cascade(
            partitions=PARTITIONS,
            delta_ms=200,
            lane_policy=LanePolicy(is_exactly_once=self.is_exactly_once),
        )
        memory.log.latency_ms = 4
        for stage in self.running:
            self.running[stage] += await memory.start(stage)
        return memory

    def advance(self, ms):
        """Time passes."""
        self.loop.run(self.memory.clock.advance(ms))

    @rule(messages=MESSAGES)
    def send(self, messages):
        """Messages arrive: some are sure, some will be deferred."""
        for confidence, partition in messages:
            self.origins.append(self.memory.send({"c": confidence}, partition=partition))

    @rule(ms=st.one_of(st.integers(1, 60), st.sampled_from([300, 2_000])))
    def time_passes(self, ms):
        """Long enough for one request, or for a session."""
        self.advance(ms)

    @rule(stage=STAGES, after_ms=st.integers(0, 60), unheard_ms=st.sampled_from([0, 10, 3_000]))
    def kill(self, stage, after_ms, unheard_ms):
        """A process dies in the middle of something; the group hears of it now or later."""
        self.advance(after_ms)
        killed = self.running[stage].pop()
        self.loop.run(killed.freeze())
        self.advance(unheard_ms)
        self.loop.run(self.evict(killed))
        if not self.running[stage]:
            self.add(stage)

    @rule(stage=STAGES, after_ms=st.integers(0, 60))
    def lose_a_seat(self, stage, after_ms):
        """A process is put out of its group and does not hear of it; another one takes over."""
        if len(self.running[stage]) < 2:
            self.add(stage)
        self.advance(after_ms)
        self.loop.run(self.evict(self.running[stage][0]))
        self.advance(after_ms)

    async def evict(self, process):
        """Takes its seat away, where it has one."""
        if process.seat in process.seat.group.seats:
            await self.memory.log.evict(process.seat)

    @rule(stage=STAGES)
    def find_out(self, stage):
        """Whoever lost a seat comes back to the group."""
        for process in self.running[stage]:
            if process.seat not in process.seat.group.seats:
                self.loop.run(self.memory.log.rejoin(process.seat))

    @rule(stage=STAGES)
    def add(self, stage):
        """One more process, up to two."""
        if len(self.running[stage]) < 2:
            self.running[stage] += self.loop.run(self.memory.start(stage))

    @rule(stage=STAGES, after_ms=st.integers(0, 30))
    def drain(self, stage, after_ms):
        """One process ends as after SIGTERM, and another one starts where it was the last."""
        self.advance(after_ms)
        self.loop.run(self.running[stage].pop(0).drain(), self.memory.clock)
        if not self.running[stage]:
            self.add(stage)

    @rule(stage=STAGES)
    def rebalance(self, stage):
        """Everything is revoked and assigned anew."""
        self.loop.run(self.memory.log.rebalance(f"hunch-{stage}"))

    @rule(fault=st.sampled_from(sorted(FAULTS)), after_ms=st.integers(0, 30))
    def something_fails(self, fault, after_ms):
        """The next operation of its kind, whoever asks."""
        operation, error, is_applied = FAULTS[fault]
        self.memory.log.fail_next(operation, error, is_applied=is_applied)
        self.advance(after_ms)

    @rule(ms=st.sampled_from([20, 6_000]))
    def the_coordinator_loads(self, ms):
        """Nothing is committed and nothing fenced for a while."""
        self.memory.log.hold_coordinator()
        self.advance(ms)
        self.memory.log.release_coordinator()

    @rule(
        stage=st.sampled_from(["fast", "join"]), partition=st.integers(0, 1), offset=st.integers()
    )
    def a_tool_commits(self, stage, partition, offset):
        """Offsets are set back or forth by somebody else, once there are outputs to tell better.

        Before, they say where to begin.
        """
        if not any(
            self.memory.log.records(topic, partition) for topic in ("decisions", "deferrals")
        ):
            return
        name = TopicPartition(INPUTS[stage], partition)
        end = self.memory.log.partition(name).end
        group = self.memory.log.group(f"hunch-{stage}")
        noted, _ = group.note({name: OffsetAndMetadata(offset % (end + 1), "a tool")})
        group.commit(noted)

    def is_right(self, origins):
        """Whether every message has its decision: one, or where promised no more, at least one."""
        decided = sorted(decision["origin"] for decision in self.memory.decisions())
        return sorted(origins) == (decided if self.is_exactly_once else sorted(set(decided)))

    def teardown(self):
        """Once nothing fails any more, every message has exactly one decision, soon."""
        if not hasattr(self, "memory"):
            return
        try:
            self.memory.log._faults.clear()
            for stage in self.running:
                self.find_out(stage)
            for _ in range(12):
                self.advance(5_000)
                if self.is_right(self.origins):
                    break
            self.advance(3_000)
            for processes in self.running.values():
                for process in processes:
                    if process.task.done():
                        process.task.result()
            decided = sorted(decision["origin"] for decision in self.memory.decisions())
            if not self.is_exactly_once:
                decided = sorted(set(decided))
            assert sorted(self.origins) == decided
        finally:
            self.loop.run(self.memory.__aexit__(None, None, None))
            self.loop.close()


class AtLeastOnce(ExactlyOnce):
    """The same without transactions: never none."""

    is_exactly_once = False


PATIENT = pytest.mark.timeout(600)
"""A failure is first made as small as it gets."""
EXAMPLES = settings(max_examples=15, stateful_step_count=15, derandomize=brokers.is_ci())
TestExactlyOnce = PATIENT(ExactlyOnce.TestCase)
TestExactlyOnce.settings = EXAMPLES
TestAtLeastOnce = PATIENT(AtLeastOnce.TestCase)
TestAtLeastOnce.settings = EXAMPLES
