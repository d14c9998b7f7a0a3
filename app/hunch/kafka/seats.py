"""Seats in consumer groups, hosted by FastStream: its subscribers own partitions and read nothing.

FastStream starts, polls and stops them with the application, and shows them in its AsyncAPI
document. The data plane is not its business: every partition is paused as soon as it is assigned.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from hunch.errors import InvariantBroken
from hunch.kafka.aio import GroupSeat
from hunch.kafka.member import Member

POLL_MS = 200


def seated(
    members: Iterable[Member],
    bootstrap: str,
    *,
    security: Mapping[str, Any],
    fetch_max_wait_ms: int,
    request_timeout_ms: int,
) -> KafkaBroker:
    """A FastStream broker whose start lets every member join its group.

    `security` holds aiokafka's own keyword arguments, as `Settings.security` gives them.
    """
    broker = KafkaBroker(
        bootstrap,
        security=_in_faststream(security),
        request_timeout_ms=request_timeout_ms,
        logger=None,
        allow_auto_create_topics=False,
    )
    for member in members:
        subscriber = broker.subscriber(
            member.topic,
            group_id=member.group,
            batch=True,
            batch_timeout_ms=POLL_MS,
            ack_policy=AckPolicy.MANUAL,
            auto_offset_reset="earliest",
            listener=member,
            session_timeout_ms=int(member.policy.session_timeout_ms),
            heartbeat_interval_ms=int(member.policy.heartbeat_interval_ms),
            partition_assignment_strategy=(StickyPartitionAssignor,),
            fetch_max_wait_ms=fetch_max_wait_ms,
            title=member.group,
            description="A seat in the group: it owns partitions and reads nothing.",
        )
        subscriber(_never_called)
        member.attach(_seat_of(subscriber), subscriber.stop)
    return broker


def _seat_of(subscriber: Any) -> Callable[[], GroupSeat | None]:
    def seat() -> GroupSeat | None:
        consumer = subscriber.consumer
        return None if consumer is None else GroupSeat(consumer)

    return seat


async def _never_called(messages: list[Any]) -> None:
    raise InvariantBroken(f"{len(messages)} messages came through a seat that reads nothing.")


def _in_faststream(security: Mapping[str, Any]) -> BaseSecurity | None:
    context = security.get("ssl_context")
    if "sasl_mechanism" in security:
        kinds = {
            "PLAIN": SASLPlaintext,
            "SCRAM-SHA-256": SASLScram256,
            "SCRAM-SHA-512": SASLScram512,
        }
        return kinds[security["sasl_mechanism"]](
            username=security["sasl_plain_username"],
            password=security["sasl_plain_password"],
            ssl_context=context,
            use_ssl=context is not None,
        )
    return None if context is None else BaseSecurity(ssl_context=context)
