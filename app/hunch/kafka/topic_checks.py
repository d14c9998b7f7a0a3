"""What is wrong with topics as they were found, each as one sentence that says how to mend it."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hunch.kafka.topic_specs import (
    DERIVED,
    EXTRA_BYTES,
    WAITED_FOR,
    WITH_P,
    Shape,
    TopicPlan,
)

CLEANUP = "cleanup.policy"
RETENTION = "retention.ms"
RETENTION_BYTES = "retention.bytes"
LIMIT = "max.message.bytes"
BATCH_BYTES = 1_000
"""What a batch of one record takes beyond the record, generously."""
CHECKED_CONFIGS = (CLEANUP, RETENTION, RETENTION_BYTES, LIMIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A topic that exists; `config` is None on a broker that does not tell it."""

    partitions: int
    config: Mapping[str, str] | None = None

    def number(self, key: str) -> int | None:
        """A number of the configuration, with -1 for unlimited; None where it is not told."""
        value = None if self.config is None else self.config.get(key)
        return None if value is None else int(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong with one topic; Hunch starts in spite of a warning."""

    topic: str
    sentence: str
    is_warning: bool = False

    def __str__(self) -> str:
        return self.sentence


def partitions_in_force(plan: TopicPlan, found: Mapping[str, Found]) -> int:
    """P: what `messages` has, or what is planned for it. `found` is by logical name."""
    messages = found.get("messages")
    return plan.partitions if messages is None else messages.partitions


def shapes_for(plan: TopicPlan, found: Mapping[str, Found]) -> dict[str, Shape]:
    """The shapes that fit the `messages` topic as it was found, by logical name."""
    messages = found.get("messages")
    input_bytes = None if messages is None else messages.number(LIMIT)
    return plan.shapes(partitions_in_force(plan, found), input_bytes)


def problems(plan: TopicPlan, found: Mapping[str, Found]) -> list[Problem]:
    """All that keeps Hunch from using these topics, errors before warnings."""
    all_found = [
        problem
        for logical, shape in shapes_for(plan, found).items()
        for problem in _of_topic(plan, shape, found.get(logical), found)
    ]
    return sorted(all_found, key=lambda problem: problem.is_warning)


def record_bytes(found: Mapping[str, Found]) -> int:
    """The largest record that every derived topic takes; what is larger is not deferred."""
    limits = [topic.number(LIMIT) for logical, topic in found.items() if logical in DERIVED]
    return min((limit for limit in limits if limit is not None), default=sys.maxsize) - BATCH_BYTES


def _of_topic(
    plan: TopicPlan, shape: Shape, topic: Found | None, found: Mapping[str, Found]
) -> Iterator[Problem]:
    if topic is None:
        absent = f"Topic {shape.name} does not exist: create it with `hunch topics apply`."
        is_warning = shape.logical == "control"
        if is_warning:
            absent += " Until then, and a restart, no policy can be pushed."
        yield Problem(topic=shape.name, sentence=absent, is_warning=is_warning)
        return
    sentences = [
        _partitions(plan, shape, topic),
        _cleanup(plan, shape, topic),
        _retention(plan, shape, topic, found),
        _limit(plan, shape, topic, found),
    ]
    for sentence in sentences:
        if sentence is not None:
            yield Problem(topic=shape.name, sentence=sentence)
    if shape.logical in WAITED_FOR and (topic.number(RETENTION_BYTES) or -1) >= 0:
        warning = (
            f"Topic {shape.name} has {RETENTION_BYTES} set, so a burst can push out what is still "
            f"waited for: {_set(plan, shape.name, RETENTION_BYTES, -1)}."
        )
        yield Problem(topic=shape.name, sentence=warning, is_warning=True)


def _partitions(plan: TopicPlan, shape: Shape, topic: Found) -> str | None:
    if shape.logical in {"messages", "control"} or topic.partitions == shape.partitions:
        return None
    messages = plan.name_of("messages")
    times = {"decisions": "twice as many as ", "dead-letters": "three times as many as "}
    needs = (
        f"Topic {shape.name} has {topic.partitions} partitions and needs {shape.partitions}, "
        f"{times.get(shape.logical, 'as many as ')}{messages}"
    )
    if shape.logical in WITH_P and topic.partitions < shape.partitions:
        return (
            f"{needs}: stop all stages and run `kafka-topics.sh --bootstrap-server "
            f"{plan.bootstrap} --alter --topic {shape.name} --partitions {shape.partitions}`."
        )
    # Which stage writes a partition depends on P, and Kafka never takes partitions away.
    return (
        f"{needs}: give it another name under [topics] in hunch.toml, as in "
        f'{shape.logical} = "{shape.name}-{shape.partitions}", and run `hunch topics apply`.'
    )


def _cleanup(plan: TopicPlan, shape: Shape, topic: Found) -> str | None:
    policy = None if topic.config is None else topic.config.get(CLEANUP)
    if policy is None:
        return None
    is_compacted, wanted = "compact" in policy, shape.config[CLEANUP]
    if is_compacted == (wanted == "compact"):
        return None
    why = (
        "is compacted, which drops records that have the same key"
        if is_compacted
        else "is not compacted, so what is in force would be deleted with age"
    )
    return f"Topic {shape.name} {why}: {_set(plan, shape.name, CLEANUP, wanted)}."


def _retention(
    plan: TopicPlan, shape: Shape, topic: Found, found: Mapping[str, Found]
) -> str | None:
    kept_ms = topic.number(RETENTION)
    if shape.logical not in WAITED_FOR or kept_ms is None or kept_ms < 0:
        return None
    least_ms, why = plan.shortest_retention_ms, "Δ and one day"
    deferrals = found.get("deferrals")
    deferrals_ms = None if deferrals is None else deferrals.number(RETENTION)
    if shape.logical == "decisions" and deferrals_ms is not None:
        if deferrals_ms < 0:
            return (
                f"Topic {shape.name} keeps records for {_duration(kept_ms)} and "
                f"{plan.name_of('deferrals')} for ever, which must not be longer: "
                f"{_set(plan, shape.name, RETENTION, -1)}."
            )
        if deferrals_ms > least_ms:
            least_ms, why = deferrals_ms, f"as long as {plan.name_of('deferrals')}"
    if kept_ms >= least_ms:
        return None
    return (
        f"Topic {shape.name} keeps records for {_duration(kept_ms)} and must keep them for "
        f"{_duration(least_ms)} ({why}): {_set(plan, shape.name, RETENTION, least_ms)}."
    )


def _limit(plan: TopicPlan, shape: Shape, topic: Found, found: Mapping[str, Found]) -> str | None:
    limit, messages = topic.number(LIMIT), found.get("messages")
    input_limit = None if messages is None else messages.number(LIMIT)
    if shape.logical in {"messages", "control"} or limit is None or input_limit is None:
        return None
    least = input_limit + EXTRA_BYTES
    if limit >= least:
        return None
    return (
        f"Topic {shape.name} takes {limit} bytes a batch and must take {least}, 64 KiB more than "
        f"{plan.name_of('messages')}: {_set(plan, shape.name, LIMIT, least)}."
    )


def _set(plan: TopicPlan, topic: str, key: str, value: object) -> str:
    return (
        f"run `kafka-configs.sh --bootstrap-server {plan.bootstrap} --alter --entity-type topics "
        f"--entity-name {topic} --add-config {key}={value}`"
    )


def _duration(ms: int) -> str:
    for name, unit_ms in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if ms >= unit_ms:
            return f"{round(ms / unit_ms, 3):g} {name}"
    return f"{ms} ms"
