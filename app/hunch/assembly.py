"""From settings to the parts of a process: models, policy, seats, the cascade."""

from collections.abc import Collection
from dataclasses import replace
from typing import NamedTuple

from hunch import __version__
from hunch.clock import Clock
from hunch.core.batching import BatchPolicy
from hunch.core.exiting import ExitPolicy
from hunch.core.joining import JoinPolicy
from hunch.core.policy import Policy, enforced
from hunch.errors import PolicyError
from hunch.inference.onnx import OnnxPredictor
from hunch.inference.repository import StoredModel, match_labels
from hunch.inference.repository import load as load_model
from hunch.kafka import embedded
from hunch.kafka.client import Client
from hunch.kafka.harbour import LanePolicy
from hunch.kafka.member import Member, MemberPolicy
from hunch.kafka.names import Names
from hunch.kafka.topics import Serving
from hunch.settings import Settings, read_policy
from hunch.stages.cascade import Cascade
from hunch.stages.in_force import InForce
from hunch.telemetry import Metrics, Tracer, log_event

INTERVALS_OF_AN_ANSWER = 3
POLICY_NAME = "settings"
OVERRIDDEN = "+tau"
"""What the name of a policy ends in whose τ the command line or the environment has replaced."""
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


class Pair(NamedTuple):
    """The two models of a cascade, as they lie in their folders."""

    fast: StoredModel
    slow: StoredModel


def find_pair(settings: Settings) -> Pair:
    """The two models that the settings name; their labels must match."""
    pair = Pair(load_model(settings.fast_model), load_model(settings.slow_model))
    match_labels(pair.fast.labels, pair.slow.labels)
    return pair


def make_models(settings: Settings, pair: Pair, stages: Collection[str], clock: Clock) -> Models:
    """The models of these stages, not yet loaded."""
    return {
        stage: OnnxPredictor(
            model,
            clock=clock,
            intra_op_threads=settings.intra_op_threads,
            providers=settings.providers,
            max_batch_size=settings.max_batch_size,
            inference_timeout_ms=settings.inference_timeout_ms,
        )
        for stage, model in zip(("fast", "slow"), pair, strict=True)
        if stage in stages
    }


def exit_policy_of(settings: Settings) -> ExitPolicy:
    """What counts where there is no policy."""
    return ExitPolicy(
        name=POLICY_NAME,
        tau=settings.tau,
        delta_ms=settings.delta_ms,
        max_age_ms=settings.max_age_ms,
        deadline_from=settings.deadline_from,
    )


def enforce(settings: Settings, pair: Pair, policy: Policy) -> ExitPolicy:
    """What a policy means for this pair; raises `PolicyError` where it cannot be used with it."""
    for side, made_for, model in (
        ("fast", policy.models.fast, pair.fast),
        ("slow", policy.models.slow, pair.slow),
    ):
        if made_for.sha256 != model.sha256:
            raise PolicyError(
                f"The policy {policy.name} was made for the {side} model {made_for.name}@"
                f"{made_for.version} ({made_for.sha256[:8]}) and not for {model.model} "
                f"({model.sha256[:8]}): calibrate this pair, or name the models it was made for."
            )
    output = pair.fast.output
    return enforced(
        policy,
        exit_policy_of(settings),
        pair.fast.labels,
        has_logits=output is not None and output.kind == "logits",
    )


def enforce_settings(settings: Settings, pair: Pair) -> ExitPolicy:
    """What counts until a policy is pushed: the policy file where there is one.

    A τ of the command line or the environment replaces all of the file's, and its name says so.
    """
    if settings.policy_file is None:
        return exit_policy_of(settings)
    policy = read_policy(settings.policy_file)
    own = replace(enforce(settings, pair, policy), delta_ms=settings.delta_ms)
    if settings.tau == policy.tau:
        return own
    return replace(own, name=policy.name + OVERRIDDEN, tau=settings.tau, taus={})


def warn_of_a_short_delta(settings: Settings, policy: ExitPolicy) -> None:
    """Says it where Δ leaves the slow model no time between two transactions."""
    least_ms = INTERVALS_OF_AN_ANSWER * settings.commit_interval_ms
    if settings.delivery == "exactly-once" and 0 < policy.delta_ms < least_ms:
        log_event(
            "warning",
            message=f"delta_ms = {policy.delta_ms} leaves the slow model little time: with "
            f"exactly-once a deferral and its decision wait for transactions, about {least_ms} "
            "ms together; raise it, or lower commit_interval_ms.",
        )


def make_cascade(
    settings: Settings,
    serving: Serving,
    *,
    in_force: InForce,
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
        in_force=in_force,
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


def tell_what_is_in_force(
    settings: Settings, in_force: InForce, models: Models, metrics: Metrics
) -> None:
    """Makes bounds, policy, models and version metrics, for dashboards to show beside the rest."""
    limits: dict[tuple[str, ...], float] = {(key,): float(getattr(settings, key)) for key in LIMITS}
    metrics.gauge("limit", lambda: limits)
    if models:
        metrics.gauge("tau", lambda: {(in_force.policy.name,): in_force.policy.tau})
        metrics.gauge(
            "delta_seconds", lambda: {(in_force.policy.name,): in_force.policy.delta_ms / 1000}
        )
    metrics.gauge("build_info", lambda: {(__version__, settings.delivery): 1.0})
    metrics.gauge(
        "model_info",
        lambda: {
            (stage, predictor.model, predictor.providers[0]): 1.0
            for stage, predictor in models.items()
            if predictor.providers
        },
    )
