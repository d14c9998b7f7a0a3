"""The topics of one set-up on one broker: what would be created, creating it, what is wrong.

Nothing here deletes, shrinks or alters a topic that exists. The embedded broker knows no topic
configuration, so only partitions count there; whoever starts it creates its topics.
"""

from dataclasses import dataclass
from typing import NamedTuple

from hunch.clock import Clock
from hunch.errors import TopicMismatch
from hunch.kafka.embedded import EmbeddedBroker
from hunch.kafka.topic_admin import TopicAdmin
from hunch.kafka.topic_checks import (
    CHECKED_CONFIGS,
    Found,
    Problem,
    partitions_in_force,
    problems,
    record_bytes,
    shapes_for,
)
from hunch.kafka.topic_specs import Shape, TopicPlan, TopicSpec, load_specs
from hunch.settings import Settings
from hunch.telemetry import log_event


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTopic:
    """A topic of the plan, and how it stands on the broker.

    Attributes:
        shape: what `apply` would create.
        exists: whether it would leave the topic as it is.
        differences: what an existing topic has otherwise, as `key: found, not planned`.
    """

    shape: Shape
    exists: bool
    differences: tuple[str, ...]


class Serving(NamedTuple):
    """What topics that serve give to work with.

    Attributes:
        partitions: P.
        record_bytes: the largest record that all of them take.
        has_control: whether policies can be pushed.
    """

    partitions: int
    record_bytes: int
    has_control: bool


def plan_of(settings: Settings, bootstrap: str | None = None) -> TopicPlan:
    """The plan that the settings mean; `bootstrap` where the address is another one."""
    return TopicPlan(
        bootstrap=bootstrap or settings.bootstrap,
        prefix=settings.topic_prefix,
        overrides=settings.topics,
        partitions=settings.partitions,
        delta_ms=settings.delta_ms,
    )


async def plan(wanted: TopicPlan, admin: TopicAdmin) -> list[PlannedTopic]:
    """Every topic as it would be created, or how the existing one differs; changes nothing."""
    found = await _find(wanted, admin)
    return [
        PlannedTopic(
            shape=shape,
            exists=logical in found,
            differences=_differences(shape, found[logical]) if logical in found else (),
        )
        for logical, shape in shapes_for(wanted, found).items()
    ]


async def apply(wanted: TopicPlan, admin: TopicAdmin) -> list[Shape]:
    """Creates the topics that are missing, waits until they can be written, and returns them."""
    planned = await plan(wanted, admin)
    missing = [topic.shape for topic in planned if not topic.exists]
    created = await admin.create(missing)
    return [shape for shape in missing if shape.name in created]


async def verify(wanted: TopicPlan, admin: TopicAdmin) -> list[Problem]:
    """All that is wrong with the topics, errors before warnings; empty where they serve."""
    return problems(wanted, await _find(wanted, admin))


async def require_verified(bootstrap: str, settings: Settings, clock: Clock) -> Serving:
    """What there is to work with; raises `TopicMismatch` where the topics do not serve."""
    wanted = plan_of(settings, bootstrap)
    async with TopicAdmin(bootstrap, clock, security=settings.security()) as admin:
        found = await _find(wanted, admin)
    if not found:
        names = ", ".join(wanted.name_of(logical) for logical in load_specs())
        raise TopicMismatch(
            f"None of the topics {names} exists at {bootstrap}: create them with "
            "`hunch topics apply`."
        )
    wrong = problems(wanted, found)
    for problem in wrong:
        if problem.is_warning:
            log_event("warning", message=problem.sentence)
    errors = [problem.sentence for problem in wrong if not problem.is_warning]
    if errors:
        raise TopicMismatch("\n".join(errors))
    return Serving(
        partitions_in_force(wanted, found),
        record_bytes(found),
        has_control="control" in found,
    )


def ensure_embedded(broker: EmbeddedBroker, settings: Settings) -> Serving:
    """Creates all topics on an embedded broker that was just started."""
    wanted = plan_of(settings, broker.bootstrap)
    for shape in wanted.shapes(wanted.partitions).values():
        broker.create_topic(shape.name, shape.partitions)
    return Serving(wanted.partitions, settings.max_record_bytes, has_control=True)


async def _find(wanted: TopicPlan, admin: TopicAdmin) -> dict[str, Found]:
    """The existing topics of the plan by logical name."""
    partitions = await admin.partitions()
    names = {logical: wanted.name_of(logical) for logical in load_specs()}
    existing = {logical: name for logical, name in names.items() if name in partitions}
    configs = await admin.configs(list(existing.values()))
    return {
        logical: Found(
            partitions=partitions[name], config=None if configs is None else configs.get(name)
        )
        for logical, name in existing.items()
    }


def _differences(shape: Shape, found: Found) -> tuple[str, ...]:
    planned = {"partitions": str(shape.partitions), **shape.config}
    has = {"partitions": str(found.partitions), **(found.config or {})}
    return tuple(
        f"{key}: {has[key]}, not {planned[key]}"
        for key in ("partitions", *CHECKED_CONFIGS)
        if key in planned and key in has and has[key] != planned[key]
    )


__all__ = [
    "Found",
    "PlannedTopic",
    "Problem",
    "Serving",
    "Shape",
    "TopicAdmin",
    "TopicPlan",
    "TopicSpec",
    "apply",
    "ensure_embedded",
    "load_specs",
    "plan",
    "plan_of",
    "problems",
    "require_verified",
    "verify",
]
