"""Every metric, span and attribute name: what dashboards, alerts and traces rely on.

Metrics follow Prometheus' rules: seconds, and `_total` on counters. Names in the code are without
the prefix `hunch_` and, of counters, without `_total`.
"""

from typing import Literal, NamedTuple, get_args

CounterName = Literal[
    "decisions",
    "deferrals",
    "slow_answers",
    "expired",
    "late_results",
    "late_dropped",
    "deadline_misses",
    "lost_records",
    "takeovers",
    "lanes_lost",
    "duplicates_skipped",
    "dead_letters",
    "commits_failed",
    "foreign_records",
    "deadlines_ignored",
    "policies_refused",
    "batches",
    "spans_exported",
    "spans_dropped",
    "traces_suppressed",
]
GaugeName = Literal[
    "lanes_owned",
    "lanes_open",
    "pending",
    "early_results",
    "slow_queue",
    "inbox_records",
    "lag_records",
    "lag_age_seconds",
    "stalled_seconds",
    "clock_skew_seconds",
    "limit",
    "tau",
    "delta_seconds",
    "model_info",
    "build_info",
]
HistogramName = Literal[
    "decision_seconds",
    "emitted_late_seconds",
    "timer_late_seconds",
    "confidence",
    "batch_size",
    "inference_seconds",
    "delivery_seconds",
]


class Described(NamedTuple):
    """What a metric means, and which labels tell its series apart."""

    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


SECONDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0)
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)

COUNTERS: dict[CounterName, Described] = {
    "decisions": Described(
        "Decisions that the broker has acknowledged.", ("stage", "path", "reason")
    ),
    "deferrals": Described("Deferrals that the broker has acknowledged."),
    "slow_answers": Described(
        "Slow results that the broker has acknowledged: answer, error or shed.", ("outcome",)
    ),
    "expired": Described("Deferrals that the slow stage skipped, their deadline had passed."),
    "late_results": Described("Slow answers after their decision, written to late-results."),
    "late_dropped": Described("Slow errors and sheds after their decision, written nowhere."),
    "deadline_misses": Described("Fallbacks emitted more than 10 ms after their deadline."),
    "lost_records": Described("Records that the broker deleted before they were read.", ("stage",)),
    "takeovers": Described("Lanes opened.", ("stage",)),
    "lanes_lost": Described(
        "Lanes that ended by an error or by another owner.", ("stage", "cause")
    ),
    "duplicates_skipped": Described(
        "Records read again after a takeover and not decided again.", ("stage",)
    ),
    "dead_letters": Described("Records put aside.", ("stage", "reason")),
    "commits_failed": Described("Commits that the broker did not take.", ("stage",)),
    "foreign_records": Described(
        "Records and commits that are not Hunch's own on what is Hunch's own.", ("stage",)
    ),
    "deadlines_ignored": Described(
        "hunch-deadline-ms headers that are no integer of milliseconds."
    ),
    "policies_refused": Described(
        "Records of the control topic that could not come into force.",
    ),
    "batches": Described("Batches that a model ran.", ("stage",)),
    "spans_exported": Described("Spans that the collector has taken."),
    "spans_dropped": Described(
        "Spans lost: the queue was full, the collector did not take them, or the process ended.",
        ("reason",),
    ),
    "traces_suppressed": Described(
        "Fallbacks and errors beyond trace_paths_per_s, not traced.", ("reason",)
    ),
}
GAUGES: dict[GaugeName, Described] = {
    "lanes_owned": Described("Partitions that the group gave to this process.", ("stage",)),
    "lanes_open": Described("Partitions that this process reads.", ("stage",)),
    "pending": Described("Undecided deferrals that the joiner holds.", ("partition",)),
    "early_results": Described("Slow results held before their deferral.", ("partition",)),
    "slow_queue": Described("Deferrals that wait for the slow model.", ("partition",)),
    "inbox_records": Described("Records read and not yet processed.", ("stage", "partition")),
    "lag_records": Described(
        "Records between the read position and the end of the log.", ("stage", "topic", "partition")
    ),
    "lag_age_seconds": Described(
        "Age of the oldest record that was read or waits to be, and is not processed.",
        ("stage", "partition"),
    ),
    "stalled_seconds": Described(
        "How long work has waited without any progress; 0 while there is none.", ("stage",)
    ),
    "clock_skew_seconds": Described(
        "This joiner's clock minus the fast stage's, the shortest way of a deferral included."
    ),
    "limit": Described("The bound of something held, by the name of its setting.", ("setting",)),
    "tau": Described("The confidence from which the fast answer counts.", ("policy",)),
    "delta_seconds": Described("The time that the slow model gets.", ("policy",)),
    "model_info": Described("1 for the model in use.", ("stage", "model", "provider")),
    "build_info": Described("1 for this version of Hunch.", ("version", "delivery")),
}
HISTOGRAMS: dict[HistogramName, Described] = {
    "decision_seconds": Described(
        "From the input record's timestamp to its decision.", ("path",), SECONDS
    ),
    "emitted_late_seconds": Described(
        "Of fallbacks at the deadline: from it to the broker's acknowledgement.", (), SECONDS
    ),
    "timer_late_seconds": Described(
        "Of fallbacks at the deadline: from it to the joiner's decision.", (), SECONDS
    ),
    "confidence": Described("The confidence of a model's best label.", ("stage",), SHARES),
    "batch_size": Described("Messages in one batch of a model.", ("stage",), SIZES),
    "inference_seconds": Described("One batch in a model.", ("stage",), SECONDS),
    "delivery_seconds": Described(
        "From sending a lane's outputs to their acknowledgement or commit.", ("stage",), SECONDS
    ),
}

SpanName = Literal["fast", "defer", "slow", "join", "decide", "fast batch", "slow batch"]
SPANS: tuple[SpanName, ...] = get_args(SpanName)
PATH = "hunch.path"
REASON = "hunch.reason"
ORIGIN = "hunch.origin"
LABEL = "hunch.label"
CONFIDENCE = "hunch.confidence"
SCORE = "hunch.score"
TAU = "hunch.tau"
DELTA_MS = "hunch.delta_ms"
DEADLINE_MS = "hunch.deadline_ms"
POLICY = "hunch.policy"
MODEL = "hunch.model"
STAGE = "hunch.stage"
BATCH_SIZE = "hunch.batch.size"
BATCH_TRACED = "hunch.batch.traced"
ERROR_MESSAGE = "hunch.error.message"
SYSTEM = "messaging.system"
OPERATION = "messaging.operation.name"
OPERATION_TYPE = "messaging.operation.type"
DESTINATION = "messaging.destination.name"
DESTINATION_PARTITION = "messaging.destination.partition.id"
CONSUMER_GROUP = "messaging.consumer.group.name"
OFFSET = "messaging.kafka.offset"
