"""What Hunch's topics are: the files under `topics/`, and the shapes that follow for one set-up."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from hunch.bundled import bundled
from hunch.errors import ConfigError

DAY_MS = 86_400_000
EXTRA_BYTES = 65_536
"""What a derived record may have beyond the input's limit: headers, or a whole decision."""
DERIVED = ("deferrals", "slow-results", "late-results", "decisions", "dead-letters")
"""The topics that follow from `messages`, partition by partition."""
WAITED_FOR = ("deferrals", "slow-results", "decisions")
"""What a takeover reads back: nothing of it may go while a deferral can be pending."""
WITH_P = ("deferrals", "slow-results", "late-results")
FACTORS = {"P": 1, "2P": 2, "3P": 3}


class HeaderSpec(BaseModel):
    """A record header; `schema_of_json` is the JSON Schema of its value where that is JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    description: str
    required: bool
    schema_of_json: dict[str, Any] | None = None


class TopicSpec(BaseModel):
    """One file under `topics/`; `value` is the JSON Schema of a record's value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str
    partitions: Literal["1", "P", "2P", "3P"]
    cleanup_policy: Literal["delete", "compact"]
    retention_days: int | None
    max_message_bytes: int
    key: str
    headers: dict[str, HeaderSpec]
    value: dict[str, Any]


@cache
def load_specs() -> Mapping[str, TopicSpec]:
    """The bundled specs by logical name, `messages` first; raises `ConfigError`."""
    folder = bundled("topics")
    specs = {}
    for name in ("messages", *DERIVED, "control"):
        path = folder / f"{name}.json"
        try:
            specs[name] = TopicSpec.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            msg = f"The topic file {path} cannot be used: install hunch-stream again ({error})."
            raise ConfigError(msg) from error
    return specs


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How a topic is to be created: its actual name, partitions and topic configuration."""

    logical: str
    name: str
    partitions: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicPlan:
    """The set-up whose topics are meant.

    Attributes:
        bootstrap: the broker's address, as the commands in sentences name it.
        prefix: what names begin with.
        overrides: logical → actual name, taken as it is.
        partitions: P, where `messages` is yet to be created; otherwise that topic has the word.
        delta_ms: Δ, from which the shortest retention follows.
    """

    bootstrap: str
    prefix: str = ""
    overrides: Mapping[str, str] = field(default_factory=dict)
    partitions: int = 4
    delta_ms: float = 0.0

    def name_of(self, logical: str) -> str:
        """The actual name of a topic."""
        return self.overrides.get(logical, self.prefix + logical)

    @property
    def shortest_retention_ms(self) -> int:
        """Δ and a day."""
        return int(self.delta_ms) + DAY_MS

    def shapes(self, partitions: int, input_bytes: int | None = None) -> dict[str, Shape]:
        """All topics for P = `partitions` and the input's `max.message.bytes`, by logical name."""
        return {
            logical: Shape(
                logical=logical,
                name=self.name_of(logical),
                partitions=FACTORS.get(spec.partitions, 0) * partitions or 1,
                config=self._config(spec, input_bytes),
            )
            for logical, spec in load_specs().items()
        }

    def _config(self, spec: TopicSpec, input_bytes: int | None) -> dict[str, str]:
        limit = spec.max_message_bytes
        if spec.name in DERIVED and input_bytes is not None:
            limit = max(limit, input_bytes + EXTRA_BYTES)
        config = {"cleanup.policy": spec.cleanup_policy, "max.message.bytes": str(limit)}
        if spec.retention_days is not None:
            retention_ms = spec.retention_days * DAY_MS
            if spec.name in WAITED_FOR:
                retention_ms = max(retention_ms, self.shortest_retention_ms)
            config["retention.ms"] = str(retention_ms)
        return config
