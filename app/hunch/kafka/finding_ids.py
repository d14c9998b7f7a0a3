"""Finds which messages carry an id: backwards from the ends of `decisions` and `messages`.

Ids order nothing, so this reads: a step of every partition at a time, the newest first, until a
step has a match, the window is through, or the time is up. Decisions name what was decided,
messages what was not. Only what the log's own order says is known: a match further back stays
unseen.
"""

from dataclasses import dataclass, field
from typing import Any

import orjson

from hunch.clock import Clock
from hunch.core.envelope import origin_of
from hunch.kafka.client import Record, TopicPartition
from hunch.kafka.log_search import LogReader, Span
from hunch.kafka.names import Names
from hunch.kafka.trail import Origin, Searched, origin_text

STEP = 1_000


@dataclass(slots=True, kw_only=True)
class Matches:
    """Messages that carry an id.

    Attributes:
        origins: newest first, each once.
        searched: which offsets were read.
        is_out_of_time: whether it ended before the window did.
    """

    origins: list[Origin] = field(default_factory=list)
    searched: list[Searched] = field(default_factory=list)
    is_out_of_time: bool = False


async def find_id(
    name: str,
    *,
    reader: LogReader,
    clock: Clock,
    names: Names,
    window: int,
    limit_ms: float,
) -> Matches:
    """The origins of messages whose `id` is `name`, text or number, newest first."""
    until_ms = clock.now_ms() + limit_ms
    places = [TopicPartition(names.decisions, p) for p in range(2 * names.partitions)]
    places += [TopicPartition(names.messages, p) for p in range(names.partitions)]
    spans = {place: await reader.span(place) for place in places}
    limits = {place: max(span.first, span.end - window) for place, span in spans.items()}
    reached = {place: span.end for place, span in spans.items()}
    found: dict[Origin, float] = {}
    matches = Matches()
    while not found and not matches.is_out_of_time and reached != limits:
        for place in places:
            if clock.now_ms() > until_ms:
                matches.is_out_of_time = True
                break
            step = Span(max(reached[place] - STEP, limits[place]), reached[place])
            async for record in reader.range(place, step):
                _note(record, name, names, found)
            reached[place] = step.first
    matches.origins = _newest_first(found)
    matches.searched = [
        Searched(place, reached[place], spans[place].end, *spans[place]) for place in places
    ]
    return matches


def _note(record: Record, name: str, names: Names, found: dict[Origin, float]) -> None:
    """Adds a message that has the id, with its time: the decision's own, or else its client's."""
    value = record.value or b""
    is_decision = record.topic == names.decisions
    # Most records are told apart without being parsed; orjson wrote the decisions.
    if (orjson.dumps(name)[1:-1] if is_decision else b'"id"') not in value:
        return
    try:
        fields: Any = orjson.loads(value)
    except orjson.JSONDecodeError:
        return
    if not isinstance(fields, dict) or not _is_named(fields.get("id"), name):
        return
    text = origin_text(record) if is_decision else ""
    origin = Origin.parse(text or origin_of(record.topic, record.partition, record.offset))
    if origin is not None and is_decision:
        found[origin] = max(found.get(origin, 0.0), record.timestamp)
    elif origin is not None:
        found.setdefault(origin, record.timestamp)


def _is_named(value: object, name: str) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and str(value) == name


def _newest_first(found: dict[Origin, float]) -> list[Origin]:
    return sorted(found, key=lambda origin: (found[origin], origin.offset), reverse=True)
