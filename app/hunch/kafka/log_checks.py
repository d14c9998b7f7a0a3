"""What is known of an input, held against its log as it is now."""

from collections.abc import Mapping

from hunch.errors import ConfigError
from hunch.kafka.client import OffsetAndMetadata, TopicPartition
from hunch.kafka.metadata import trusted
from hunch.telemetry import Metrics, log_event


class LogChecks:
    """The checks of one lane's takeover; what the broker has deleted unread is counted and told."""

    def __init__(self, stage: str, group: str, metrics: Metrics) -> None:
        self._stage = stage
        self._group = group
        self._metrics = metrics

    def committed(
        self,
        committed: Mapping[TopicPartition, OffsetAndMetadata],
        first: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        """Offsets moved up to the log's start, -1 for none, with the metadata that can be trusted.

        Nothing is counted: the answer may be an old one. Raises `ConfigError` for an offset beyond
        the end.
        """
        checked = {}
        for tp, found in committed.items():
            if found.offset > ends[tp]:
                said = f"Group {self._group} has committed offset {found.offset}"
                raise made_anew(said, tp, ends[tp])
            offset = max(found.offset, first[tp]) if found.offset >= 0 else -1
            checked[tp] = OffsetAndMetadata(offset, trusted(found.metadata, found.offset))
        return checked

    def started(
        self,
        start: Mapping[TopicPartition, int],
        committed: Mapping[TopicPartition, OffsetAndMetadata],
        first: Mapping[TopicPartition, int],
    ) -> dict[TopicPartition, int]:
        """Where to read on, -1 for the log's start; what was deleted before that is counted."""
        for tp, at in start.items():
            known = [offset for offset in (at, committed[tp].offset) if offset >= 0]
            if min(known, default=first[tp]) < first[tp]:
                self._count_lost(tp, min(known), first[tp])
        return {tp: max(at, first[tp]) for tp, at in start.items()}

    def _count_lost(self, tp: TopicPartition, offset: int, first: int) -> None:
        self._metrics.count("lost_records", first - offset, stage=self._stage)
        log_event(
            "lost_records",
            stage=self._stage,
            topic=tp.topic,
            partition=tp.partition,
            from_offset=offset,
            to_offset=first,
            count=first - offset,
        )


def made_anew(said: str, tp: TopicPartition, end: int) -> ConfigError:
    """What is said of an input does not go together with its log."""
    return ConfigError(
        f"{said} of {tp.topic}-{tp.partition}, but the log ends at {end}: the topic was made anew "
        "or cut, and what was decided of the old one would be taken for the new one. Use another "
        "topic_prefix, or delete the topics and groups that Hunch has made beside it."
    )
