"""The cascade of one process: policies and a broker, from which each stage is made."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hunch.clock import Clock
from hunch.core.batching import BatchPolicy, ServiceTimes
from hunch.core.joining import JoinPolicy
from hunch.inference.predictor import Observed, Predictor
from hunch.kafka.client import Client, Isolation
from hunch.kafka.harbour import LanePolicy
from hunch.kafka.lanes import MakeLane
from hunch.kafka.member import Member
from hunch.kafka.names import Names
from hunch.stages.fast import FastStage
from hunch.stages.in_force import InForce
from hunch.stages.join import JoinStage
from hunch.stages.slow import SlowStage
from hunch.stages.stage import Stage
from hunch.telemetry import Metrics, Tracer


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """What is decided how, and on which broker.

    Attributes:
        client: the broker.
        clock: whose time counts.
        metrics: where this process counts.
        tracer: which messages are traced, and where to.
        names: the topics.
        in_force: τ and Δ.
        batch_policy: the slow model's micro-batches.
        join_policy: the joiner's bounds.
        lane_policy: bounds of every lane.
        max_slow_queue: deferrals waiting for the slow model, for each partition.
        max_record_bytes: the largest record that is written.
        logs_payloads: whether the log may show what messages hold.
    """

    client: Client
    clock: Clock
    metrics: Metrics
    names: Names
    in_force: InForce
    batch_policy: BatchPolicy
    join_policy: JoinPolicy = field(default_factory=JoinPolicy)
    lane_policy: LanePolicy = field(default_factory=LanePolicy)
    max_slow_queue: int = 2_000
    max_record_bytes: int = 1_000_000
    logs_payloads: bool = False
    tracer: Tracer = field(default_factory=Tracer)

    def fast(self, member: Member, predictor: Predictor) -> Stage:
        """The fast stage."""
        observed = Observed(predictor)
        fast = FastStage(
            names=self.names,
            in_force=self.in_force,
            predictor=observed,
            max_record_bytes=self.max_record_bytes,
            logs_payloads=self.logs_payloads,
        )
        return self._stage("fast", member, fast.lane, is_computing=observed.is_computing)

    def slow(self, member: Member, predictor: Predictor, service_ms: Mapping[int, float]) -> Stage:
        """The slow stage; `service_ms` is what the warm-up measured, batch size → ms."""
        observed = Observed(predictor)
        slow = SlowStage(
            names=self.names,
            predictor=observed,
            in_force=self.in_force,
            policy=self.batch_policy,
            times=ServiceTimes(service_ms),
            max_queue=self.max_slow_queue,
            clock=self.clock,
            metrics=self.metrics,
            tracer=self.tracer,
        )
        return self._stage(
            "slow",
            member,
            slow.lane,
            isolation="read_uncommitted",
            policy=replace(self.lane_policy, is_exactly_once=False),
            worker=slow.run,
            is_computing=observed.is_computing,
        )

    def join(self, member: Member) -> Stage:
        """The joiner."""
        join = JoinStage(
            names=self.names, policy=self.join_policy, max_record_bytes=self.max_record_bytes
        )
        return self._stage("join", member, join.lane)

    def _stage(
        self,
        name: str,
        member: Member,
        make_lane: MakeLane,
        *,
        isolation: Isolation = "read_committed",
        policy: LanePolicy | None = None,
        worker: Callable[[], Coroutine[Any, Any, None]] | None = None,
        is_computing: Callable[[], bool] = lambda: False,
    ) -> Stage:
        return Stage(
            name,
            member=member,
            client=self.client,
            clock=self.clock,
            metrics=self.metrics,
            tracer=self.tracer,
            isolation=isolation,
            policy=policy or self.lane_policy,
            make_lane=make_lane,
            worker=worker,
            is_computing=is_computing,
        )
