"""How many processes of each stage there are, and the bounds of their lanes, as in the settings."""

from itertools import pairwise
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from hunch.core.batching import BatchPolicy
from hunch.core.joining import JoinPolicy
from hunch.errors import ConfigError
from hunch.settings import Settings

Count = Annotated[int, Field(ge=1)]
Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Deployment(BaseModel):
    """The cascade as it is set up; what is not described here means the same as in the settings.

    Attributes:
        partitions: of `messages`, spread over the processes of each stage.
        fast_processes: of the fast stage; `slow_processes` and `join_processes` likewise.
        is_exactly_once: whether the fast stage and the joiner write in transactions.
        slow_reserve_ms: what the batcher keeps back from every deadline.
        max_slow_queue: of each partition; `max_pending` and `max_early` likewise.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    partitions: Count = 4
    fast_processes: Count = 1
    slow_processes: Count = 1
    join_processes: Count = 1
    is_exactly_once: bool = True
    commit_interval_ms: Milliseconds = 50
    max_delivery_messages: Count = 1000
    max_batch_size: Count = 32
    max_queue_delay_ms: Milliseconds = 5
    slow_reserve_ms: Milliseconds = 20
    max_slow_queue: Count = 2000
    max_pending: Count = 1_000_000
    max_early: Count = 100_000

    @classmethod
    def of(cls, settings: Settings, *, fast: int = 1, slow: int = 1, join: int = 1) -> Self:
        """As the settings have it, with so many processes of each stage.

        Raises `ConfigError` where some of them would have no partition.
        """
        for stage, count in (("fast", fast), ("slow", slow), ("join", join)):
            if not 1 <= count <= settings.partitions:
                raise ConfigError(
                    f"{count} {stage} processes cannot share {settings.partitions} partitions: "
                    "take 1 to as many as there are partitions."
                )
        same = set(cls.model_fields) & set(Settings.model_fields)
        return cls(
            fast_processes=fast,
            slow_processes=slow,
            join_processes=join,
            is_exactly_once=settings.delivery == "exactly-once",
            **{name: getattr(settings, name) for name in same},
        )

    def shares(self, processes: int) -> list[list[int]]:
        """The partitions of each process: ranges, as even as can be."""
        bounds = [self.partitions * index // processes for index in range(processes + 1)]
        return [list(range(first, end)) for first, end in pairwise(bounds)]

    def batch_policy(self) -> BatchPolicy:
        """Of the slow stage."""
        return BatchPolicy(
            max_batch_size=self.max_batch_size,
            max_queue_delay_ms=self.max_queue_delay_ms,
            reserve_ms=self.slow_reserve_ms,
        )

    def join_policy(self) -> JoinPolicy:
        """Of the joiner."""
        return JoinPolicy(max_pending=self.max_pending, max_early=self.max_early)
