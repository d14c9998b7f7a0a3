"""What all lanes of a stage in one process share, and the bounds that they keep."""

from dataclasses import dataclass

from hunch.clock import Clock
from hunch.kafka.client import Client
from hunch.kafka.member import Member
from hunch.kafka.reader import Reader
from hunch.telemetry import Metrics, Tracer


@dataclass(frozen=True, slots=True, kw_only=True)
class LanePolicy:
    """The bounds of a lane.

    Attributes:
        is_exactly_once: whether outputs and offsets go together, in transactions.
        commit_interval_ms: the least time between the beginnings of two transactions, unless a
            deadline is due or enough waits.
        transaction_timeout_ms: how long a transaction may take; below the session time-out, so that
            a process that stood still is mostly stopped by its own clock.
        max_delivery_messages: the most records in one delivery.
        max_delivery_bytes: of the messages that it answers; one more than that is always taken.
        max_inbox_records: records that wait; more, and reading pauses.
        delivery_timeout_ms: a delivery that takes longer closes the lane.
        takeover_timeout_ms: the same for a takeover that gets no further.
    """

    is_exactly_once: bool = False
    commit_interval_ms: float = 50
    transaction_timeout_ms: float = 5_000
    max_delivery_messages: int = 1_000
    max_delivery_bytes: int = 8_000_000
    max_inbox_records: int = 5_000
    delivery_timeout_ms: float = 30_000
    takeover_timeout_ms: float = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Harbour:
    """What all lanes of a stage share."""

    client: Client
    clock: Clock
    metrics: Metrics
    member: Member
    tracer: Tracer
    reader: Reader
    policy: LanePolicy
