"""The kinds of values that settings take, and the sentences for those that they do not.

Text is accepted for everything, as the environment and `--set` have nothing else.
"""

import difflib
import json
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from hunch.core.envelope import LONGEST_MS

LOGICAL_TOPICS = (
    "messages",
    "decisions",
    "deferrals",
    "slow-results",
    "late-results",
    "dead-letters",
    "control",
)
STAGES = ("fast", "slow", "join")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:,/\[\]]+):(\d{1,5})")


OFF = ("", "off")


def _off(value: object) -> object:
    return None if value in OFF else value


def _decoded(value: object) -> object:
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        try:
            return json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"it looks like JSON and is not ({error})") from error
    return value


def _listed(value: object) -> object:
    value = _decoded(value)
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _yes_or_no(value: object) -> object:
    found = {"true": True, "false": False}.get(value) if isinstance(value, str) else value
    if not isinstance(found, bool):
        raise ValueError("give true or false")  # noqa: TRY004  pydantic's word for a refusal
    return found


def _providers(value: object) -> object:
    return value if value == "auto" else _listed(value)


def _bootstrap(value: str) -> str:
    if value == "embedded":
        return value
    addresses = [part.strip() for part in value.split(",")]
    matches = [_ADDRESS.fullmatch(part) for part in addresses]
    if not all(match and 0 < int(match[2]) < 65536 for match in matches):
        raise ValueError("give host:port, several separated by commas, or embedded")
    return ",".join(addresses)


def _prefix(value: str) -> str:
    if value and not _TOPIC.fullmatch(value):
        raise ValueError("give letters, digits, dots, underscores and hyphens only")
    return value


def _topics(value: dict[str, str]) -> dict[str, str]:
    for logical, name in value.items():
        if logical not in LOGICAL_TOPICS:
            near = difflib.get_close_matches(logical, LOGICAL_TOPICS, n=1) or LOGICAL_TOPICS
            raise ValueError(f"there is no topic {logical!r}, use {' or '.join(near)}")
        if not _TOPIC.fullmatch(name) or name in {".", ".."}:
            raise ValueError(f"{name!r} cannot be the name of a topic in Kafka")
    return value


def _stages(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value or len(set(value)) < len(value):
        raise ValueError("give one or more of fast, slow, join, each once")
    return value


Count = Annotated[int, Field(ge=1)]
Rate = Annotated[int, Field(ge=0)]
Milliseconds = Annotated[int, Field(ge=0, le=LONGEST_MS)]
Duration = Annotated[int, Field(ge=1, le=LONGEST_MS)]
BrokersDuration = Annotated[int, Field(ge=1, le=2**31 - 1)]
"""One that the broker is told: Kafka has 32 bits for it."""
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
YesOrNo = Annotated[bool, BeforeValidator(_yes_or_no)]
Stage = Literal["fast", "slow", "join"]
Text = Annotated[str, Field(min_length=1)]
OptionalText = Annotated[str | None, BeforeValidator(_off)]
OptionalSecret = Annotated[SecretStr | None, BeforeValidator(_off)]
OptionalShare = Annotated[Share | None, BeforeValidator(_off)]
OptionalMilliseconds = Annotated[Milliseconds | None, BeforeValidator(_off)]
OptionalPort = Annotated[Annotated[int, Field(ge=1, le=65535)] | None, BeforeValidator(_off)]
Bootstrap = Annotated[str, AfterValidator(_bootstrap)]
Prefix = Annotated[str, AfterValidator(_prefix)]
Stages = Annotated[tuple[Stage, ...], BeforeValidator(_listed), AfterValidator(_stages)]
Delivery = Literal["exactly-once", "at-least-once"]
Providers = Annotated[
    Literal["auto"] | Annotated[tuple[Text, ...], Field(min_length=1)],
    BeforeValidator(_providers),
]
Topics = Annotated[dict[str, str], BeforeValidator(_decoded), AfterValidator(_topics)]
