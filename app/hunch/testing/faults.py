"""Faults of the in-memory log, each asked for by name and used up once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from aiokafka.structs import TopicPartition

Operation = Literal[
    "produce", "fetch", "ends", "commit", "committed", "fence", "txn_offsets", "end_txn"
]
"""What can fail: `fence` is the start of a transactional producer, `end_txn` commit or abort."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """How one operation fails.

    Attributes:
        error: what the client is told.
        topic: only on this topic, where one is given.
        is_applied: the operation takes effect all the same, only its answer is lost.
    """

    operation: Operation
    error: BaseException
    topic: str | None
    is_applied: bool


class Faults:
    """The faults that are still to come, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, fault: Fault, count: int) -> None:
        """Asks for `count` of them."""
        self._waiting.extend([fault] * count)

    def clear(self) -> None:
        """Forgets those that have not come yet."""
        self._waiting.clear()

    def take(self, operation: Operation, names: Sequence[TopicPartition]) -> Fault | None:
        """The first that fits an operation on these partitions; it is used up."""
        topics = {name.topic for name in names}
        for index, fault in enumerate(self._waiting):
            if fault.operation == operation and (fault.topic is None or fault.topic in topics):
                return self._waiting.pop(index)
        return None
