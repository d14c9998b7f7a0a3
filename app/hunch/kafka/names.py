"""Which topics and partitions a message passes, by their actual names."""

from dataclasses import dataclass

from hunch.errors import ConfigError
from hunch.kafka.client import TopicPartition


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The actual names of Hunch's topics, and P, the number of partitions of `messages`."""

    messages: str
    deferrals: str
    slow_results: str
    late_results: str
    decisions: str
    dead_letters: str
    partitions: int

    def require(self, partition: int) -> None:
        """Raises `ConfigError` for a partition that came later: its outputs are somebody else's."""
        if partition >= self.partitions:
            raise ConfigError(
                f"{self.messages} has got more than the {self.partitions} partitions with which "
                "this process started: stop all stages, let the joiner finish what is deferred, do "
                "what `hunch topics verify` says, and start again."
            )

    def fast_decisions(self, partition: int) -> TopicPartition:
        """Where the fast stage decides about an input partition; nobody else writes there."""
        return TopicPartition(self.decisions, partition)

    def joined_decisions(self, partition: int) -> TopicPartition:
        """Where the joiner does."""
        return TopicPartition(self.decisions, self.partitions + partition)

    def dead_letters_of(self, stage: str, partition: int) -> TopicPartition:
        """Where a stage puts aside what it cannot use."""
        block = {"fast": 0, "join": 1, "slow": 2}[stage]
        return TopicPartition(self.dead_letters, block * self.partitions + partition)
