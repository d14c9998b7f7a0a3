"""From settings to the parts of a process: models, seats, the cascade, and what is in force."""

from collections.abc import Collection

from hunch import __version__
from hunch.clock import Clock
from hunch.core.batching import BatchPolicy
from hunch.core.exiting import ExitPolicy
from hunch.core.joining import JoinPolicy
from hunch.inference.onnx import OnnxPredictor
from hunch.inference.repository import load as load_model
from hunch.inference.repository import match_labels
from hunch.kafka import embedded
from hunch.kafka.client import Client
from hunch.kafka.lane import LanePolicy
from hunch.kafka.member import Member, MemberPolicy
from hunch.kafka.names import Names
from hunch.kafka.topics import Serving
from hunch.settings import Settings
from hunch.stages.cascade import Cascade
from hunch.telemetry import Metrics, Tracer

POLICY_NAME = "settings"
Models = dict[str, OnnxPredictor]
"""Stage → its model."""
LIMITS = (
    "max_pending",
    "max_early",
    "max_slow_queue",
    "max_inbox_records",
    "max_delivery_messages",
    "max_batch_size",
)


def make_member(
    settings: Settings, stage: str, clock: Clock, metrics: Metrics, *, is_embedded: bool
) -> Member:
    """The seat of a stage; an embedded broker cannot keep the session that is set."""
    session_ms, heartbeat_ms = settings.session_timeout_ms, settings.heartbeat_interval_ms
    if is_embedded:
        session_ms, heartbeat_ms = embedded.SESSION_TIMEOUT_MS, embedded.HEARTBEAT_MS
    return Member(
        stage=stage,
        group=settings.group(stage),
        topic=settings.topic("messages" if stage == "fast" else "deferrals"),
        policy=MemberPolicy(
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=heartbeat_ms,
            commit_interval_ms=settings.commit_interval_ms,
        ),
        clock=clock,
        metrics=metrics,
    )


def load_models(settings: Settings, stages: Collection[str], clock: Clock) -> Models:
    """The models of these stages; their labels must match, so both are read."""
    if not {"fast", "slow"} & set(stages):
        return {}
    fast, slow = load_model(settings.fast_model), load_model(settings.slow_model)
    match_labels(fast.labels, slow.labels)
    return {
        stage: OnnxPredictor(
            model,
            clock=clock,
            intra_op_threads=settings.intra_op_threads,
            providers=settings.providers,
            max_batch_size=settings.max_batch_size,
            inference_timeout_ms=settings.inference_timeout_ms,
        )
        for stage, model in (("fast", fast), ("slow", slow))
        if stage in stages
    }


def make_cascade(
    settings: Settings,
    serving: Serving,
    *,
    client: Client,
    clock: Clock,
    metrics: Metrics,
    tracer: Tracer,
) -> Cascade:
    """The policies that the settings ask for, on topics like these."""
    return Cascade(
        client=client,
        clock=clock,
        metrics=metrics,
        tracer=tracer,
        names=Names(
            messages=settings.topic("messages"),
            deferrals=settings.topic("deferrals"),
            slow_results=settings.topic("slow-results"),
            late_results=settings.topic("late-results"),
            decisions=settings.topic("decisions"),
            dead_letters=settings.topic("dead-letters"),
            partitions=serving.partitions,
        ),
        exit_policy=ExitPolicy(
            name=POLICY_NAME,
            tau=settings.tau,
            delta_ms=settings.delta_ms,
            max_age_ms=settings.max_age_ms,
            deadline_from=settings.deadline_from,
        ),
        batch_policy=BatchPolicy(
            max_batch_size=settings.max_batch_size,
            max_queue_delay_ms=settings.max_queue_delay_ms,
            reserve_ms=settings.slow_reserve_ms,
        ),
        join_policy=JoinPolicy(max_pending=settings.max_pending, max_early=settings.max_early),
        lane_policy=LanePolicy(
            is_exactly_once=settings.delivery == "exactly-once",
            commit_interval_ms=settings.commit_interval_ms,
            transaction_timeout_ms=settings.transaction_timeout_ms,
            max_delivery_messages=settings.max_delivery_messages,
            max_delivery_bytes=settings.max_delivery_bytes,
            max_inbox_records=settings.max_inbox_records,
            delivery_timeout_ms=3 * settings.request_timeout_ms,
            takeover_timeout_ms=settings.takeover_timeout_ms,
        ),
        max_slow_queue=settings.max_slow_queue,
        max_record_bytes=min(settings.max_record_bytes, serving.record_bytes),
        logs_payloads=settings.log_payloads,
    )


def tell_what_is_in_force(settings: Settings, models: Models, metrics: Metrics) -> None:
    """Makes bounds, policy, models and version metrics, for dashboards to show beside the rest."""
    limits: dict[tuple[str, ...], float] = {(key,): float(getattr(settings, key)) for key in LIMITS}
    metrics.gauge("limit", lambda: limits)
    metrics.gauge("tau", lambda: {(POLICY_NAME,): settings.tau})
    metrics.gauge("delta_seconds", lambda: {(POLICY_NAME,): settings.delta_ms / 1000})
    metrics.gauge("build_info", lambda: {(__version__, settings.delivery): 1.0})
    metrics.gauge(
        "model_info",
        lambda: {
            (stage, predictor.model, predictor.providers[0]): 1.0
            for stage, predictor in models.items()
            if predictor.providers
        },
    )
