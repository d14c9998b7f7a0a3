"""The cascade as a value: its models and policies, from which each stage is made."""

from dataclasses import dataclass, field

from hunch.clock import Clock
from hunch.core.batching import BatchPolicy, ServiceTimes
from hunch.core.exiting import ExitPolicy
from hunch.core.joining import JoinPolicy
from hunch.inference.predictor import Predictor
from hunch.kafka.client import Client
from hunch.kafka.lane import LanePolicy
from hunch.kafka.member import Member
from hunch.kafka.names import Names
from hunch.stages.fast import FastStage
from hunch.stages.join import JoinStage
from hunch.stages.slow import SlowStage
from hunch.stages.stage import Stage
from hunch.telemetry import Counts

COMMITTED, UNCOMMITTED = "read_committed", "read_uncommitted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """What is decided how; the same for every process.

    Attributes:
        names: the topics.
        exit_policy: τ and Δ.
        batch_policy: the slow model's micro-batches.
        join_policy: the joiner's bounds.
        lane_policy: bounds of every lane.
        max_slow_queue: deferrals waiting for the slow model, for each partition.
        max_record_bytes: the largest record that is written.
    """

    names: Names
    exit_policy: ExitPolicy
    batch_policy: BatchPolicy
    join_policy: JoinPolicy = field(default_factory=JoinPolicy)
    lane_policy: LanePolicy = field(default_factory=LanePolicy)
    max_slow_queue: int = 2_000
    max_record_bytes: int = 1_000_000

    def fast(
        self, member: Member, predictor: Predictor, client: Client, clock: Clock, counts: Counts
    ) -> Stage:
        """The fast stage."""
        fast = FastStage(
            names=self.names,
            policy=self.exit_policy,
            predictor=predictor,
            max_record_bytes=self.max_record_bytes,
        )
        return Stage(
            "fast",
            member=member,
            client=client,
            clock=clock,
            counts=counts,
            isolation=COMMITTED,
            policy=self.lane_policy,
            make_lane=fast.lane,
        )

    def slow(
        self,
        member: Member,
        predictor: Predictor,
        client: Client,
        clock: Clock,
        counts: Counts,
        *,
        service_ms: dict[int, float],
    ) -> Stage:
        """The slow stage; `service_ms` is what the warm-up measured, batch size → ms."""
        slow = SlowStage(
            names=self.names,
            predictor=predictor,
            policy=self.batch_policy,
            times=ServiceTimes(service_ms),
            max_queue=self.max_slow_queue,
            clock=clock,
            counts=counts,
        )
        return Stage(
            "slow",
            member=member,
            client=client,
            clock=clock,
            counts=counts,
            isolation=UNCOMMITTED,
            policy=self.lane_policy,
            make_lane=slow.lane,
            worker=slow.run,
        )

    def join(self, member: Member, client: Client, clock: Clock, counts: Counts) -> Stage:
        """The joiner."""
        join = JoinStage(names=self.names, policy=self.join_policy)
        return Stage(
            "join",
            member=member,
            client=client,
            clock=clock,
            counts=counts,
            isolation=COMMITTED,
            policy=self.lane_policy,
            make_lane=join.lane,
        )
