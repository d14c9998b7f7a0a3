"""Every setting of Hunch: its default, its meaning, and where its value came from.

Command line > `HUNCH_<KEY>` in the environment > `hunch.toml` (or `--config FILE`) > default.
Nothing else reads the file or the environment. `Settings(...)` itself reads neither: it is a
frozen value that `load` fills; `topics`, `stages` and `providers` are replaced whole, not merged.
"""

import difflib
import json
import re
import tomllib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    SettingsConfigDict,
)

from hunch.errors import ConfigError

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
CONFIG_FILE = "hunch.toml"
COMMAND_LINE = "command line"
DEFAULT = "default"
MASK = "********"

_RESERVED = ("trace_ratio", "http_port")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:,/\[\]]+):(\d{1,5})")


def _off(value: object) -> object:
    return None if value in ("", "off") else value


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


def _delivery(value: str) -> str:
    if value == "exactly-once":
        raise ValueError("it is not available yet, give at-least-once")
    return value


def _policy_file(value: str | None) -> str | None:
    if value is not None:
        raise ValueError("there is no calibration in this version yet, remove the key")
    return value


Count = Annotated[int, Field(ge=1)]
Milliseconds = Annotated[int, Field(ge=0)]
Duration = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Stage = Literal["fast", "slow", "join"]
Text = Annotated[str, Field(min_length=1)]
OptionalText = Annotated[str | None, BeforeValidator(_off)]
OptionalSecret = Annotated[SecretStr | None, BeforeValidator(_off)]


class Settings(BaseSettings):
    """All that can be set, frozen; every field says what it means and in which unit."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="HUNCH_", use_attribute_docstrings=True
    )

    bootstrap: Annotated[str, AfterValidator(_bootstrap)] = "localhost:9092"
    """Kafka brokers as host:port, separated by commas, or `embedded`."""
    topic_prefix: Annotated[str, AfterValidator(_prefix)] = ""
    """What the names of all topics and consumer groups begin with."""
    partitions: Count = 4
    """Partitions of `messages`; all other topics follow from it."""
    stages: Annotated[tuple[Stage, ...], BeforeValidator(_listed), AfterValidator(_stages)] = (
        "fast",
        "slow",
        "join",
    )
    """Stages that `hunch run` starts."""
    fast_model: Text = "digits-fast"
    """Model that answers first: a folder or a bundled model's name."""
    slow_model: Text = "digits-slow"
    """Model that verifies: a folder or a bundled model's name."""
    tau: Share = 0.9
    """Confidence from which the fast answer is the decision, 0 to 1."""
    delta_ms: Milliseconds = 500
    """Time that the slow model gets for a deferred message, in milliseconds."""
    max_age_ms: Annotated[Milliseconds | None, BeforeValidator(_off)] = None
    """Age from which a message is not deferred any more, in milliseconds, or `off`."""
    deadline_from: Literal["deferral", "ingest"] = "deferral"
    """What delta counts from: the deferral or the timestamp of the message."""
    policy_file: Annotated[OptionalText, AfterValidator(_policy_file)] = None
    """Policy written by calibration; not supported in this version."""
    delivery: Annotated[Literal["at-least-once", "exactly-once"], AfterValidator(_delivery)] = (
        "at-least-once"
    )
    """Delivery promise of decisions; `exactly-once` is not available yet."""
    commit_interval_ms: Duration = 100
    """Longest time between two commits of a partition, in milliseconds."""
    max_batch_size: Count = 32
    """Most messages in one batch of the slow model."""
    max_queue_delay_ms: Milliseconds = 5
    """Longest wait of a message for its batch to fill, in milliseconds."""
    slow_reserve_ms: Milliseconds = 20
    """Time kept back from a deadline for the slow answer's way to the joiner, in milliseconds."""
    trace_ratio: Share = 0.0
    """Share of messages traced, 0 to 1; reserved, without effect."""
    http_port: Annotated[Annotated[int, Field(ge=1, le=65535)] | None, BeforeValidator(_off)] = None
    """Port for health and metrics, or `off`; reserved, without effect."""
    max_delivery_messages: Count = 1000
    """Most messages that a partition sends and commits at once."""
    max_inbox_records: Count = 5000
    """Most records read and not yet processed, per partition."""
    max_slow_queue: Count = 2000
    """Most deferrals waiting for the slow model, per partition."""
    max_pending: Count = 1_000_000
    """Most undecided deferrals that the joiner holds, per partition."""
    max_early: Count = 100_000
    """Most slow results held before their deferral, per partition."""
    max_record_bytes: Count = 1_000_000
    """Largest record that Hunch writes, in bytes."""
    drain_ms: Milliseconds = 5000
    """Longest time to finish work after SIGTERM, in milliseconds."""
    session_timeout_ms: Duration = 6000
    """Silence after which the group gives a partition away, in milliseconds."""
    heartbeat_interval_ms: Duration = 500
    """Time between heartbeats, in milliseconds, below a third of the session."""
    startup_timeout_ms: Duration = 30_000
    """Longest wait for the broker at start, in milliseconds."""
    takeover_timeout_ms: Duration = 60_000
    """Longest time to take a partition over, in milliseconds."""
    request_timeout_ms: Duration = 10_000
    """Longest wait for one answer of the broker, in milliseconds."""
    inference_timeout_ms: Duration = 60_000
    """Time after which an inference hangs and the process ends, in milliseconds."""
    intra_op_threads: Count = 1
    """Threads that one model computes with."""
    providers: Annotated[
        Literal["auto"] | Annotated[tuple[Text, ...], Field(min_length=1)],
        BeforeValidator(_providers),
    ] = "auto"
    """ONNX Runtime providers in order; `auto` is CUDA where present, then CPU."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """How to talk to the broker."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    """How to log in, where the protocol begins with SASL."""
    sasl_plain_username: OptionalText = None
    """User for SASL."""
    sasl_plain_password: OptionalSecret = None
    """Password for SASL."""
    ssl_cafile: OptionalText = None
    """File of certificates to trust; without it those of the system."""
    ssl_certfile: OptionalText = None
    """File of this client's certificate."""
    ssl_keyfile: OptionalText = None
    """File of this client's private key."""
    ssl_password: OptionalSecret = None
    """Password of the private key."""
    topics: Annotated[dict[str, str], BeforeValidator(_decoded), AfterValidator(_topics)] = Field(
        default_factory=dict
    )
    """Other names for topics, taken as they are, without the prefix."""

    @classmethod
    def settings_customise_sources(cls, *_classes: Any, **sources: Any) -> tuple[Any, ...]:
        """Keeps `Settings(...)` a pure value: only what it is given."""
        return (sources["init_settings"],)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.heartbeat_interval_ms * 3 >= self.session_timeout_ms:
            raise ValueError(
                f"heartbeat_interval_ms = {self.heartbeat_interval_ms} is not below a third of "
                f"session_timeout_ms = {self.session_timeout_ms}: lower it"
            )
        names = [self.topic(logical) for logical in LOGICAL_TOPICS]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two topics have the name {twice[0]!r}: change one of them in topics")
        self._check_security()
        return self

    def _check_security(self) -> None:
        protocol = self.security_protocol
        sasl = (self.sasl_plain_username, self.sasl_plain_password)
        if protocol.startswith("SASL") and None in sasl:
            raise ValueError(f"{protocol} needs sasl_plain_username and sasl_plain_password")
        if not protocol.startswith("SASL") and sasl != (None, None):
            raise ValueError(f"security_protocol = {protocol} would ignore sasl_*: set SASL_SSL")
        for key in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
            if getattr(self, key) is not None and not protocol.endswith("SSL"):
                raise ValueError(f"security_protocol = {protocol} would ignore {key}: set SSL")

    def topic(self, logical: str) -> str:
        """The name in Kafka of one of `LOGICAL_TOPICS`."""
        return self.topics.get(logical, self.topic_prefix + logical)

    def group(self, stage: str) -> str:
        """The consumer group of a stage."""
        return f"{self.topic_prefix}hunch-{stage}"

    def security(self) -> dict[str, Any]:
        """Keyword arguments for aiokafka's clients; raises `ConfigError` for a bad certificate."""
        arguments: dict[str, Any] = {"security_protocol": self.security_protocol}
        if self.security_protocol.endswith("SSL"):
            arguments["ssl_context"] = self._ssl_context()
        if self.security_protocol.startswith("SASL"):
            arguments["sasl_mechanism"] = self.sasl_mechanism
            arguments["sasl_plain_username"] = self.sasl_plain_username
            arguments["sasl_plain_password"] = _revealed(self.sasl_plain_password)
        return arguments

    def _ssl_context(self) -> object:
        from aiokafka.helpers import create_ssl_context  # noqa: PLC0415  most starts need no TLS

        try:
            return create_ssl_context(
                cafile=self.ssl_cafile,
                certfile=self.ssl_certfile,
                keyfile=self.ssl_keyfile,
                password=_revealed(self.ssl_password),
            )
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise ConfigError(
                f"The files in ssl_cafile ({self.ssl_cafile}), ssl_certfile ({self.ssl_certfile}) "
                f"and ssl_keyfile ({self.ssl_keyfile}) cannot be used: {error}."
            ) from error

    def reserved_in_use(self) -> list[str]:
        """Keys that are set and have no effect in this version."""
        fields = type(self).model_fields
        return [key for key in _RESERVED if getattr(self, key) != fields[key].default]

    def shown(self) -> dict[str, Any]:
        """Every key with its value as JSON can carry it, secrets masked."""
        values = self.model_dump(mode="json")
        return {key: MASK if is_secret(key) and values[key] else values[key] for key in values}


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings in force, and for every key where its value came from."""

    settings: Settings
    sources: Mapping[str, str]


def load(config: Path | None, overrides: Mapping[str, object]) -> Loaded:
    """Reads the settings in force; raises `ConfigError` with one sentence for the first mistake.

    Args:
        config: file named by `--config`, which must exist; None reads `hunch.toml` if there is one.
        overrides: key → value from the command line.
    """
    file = config or Path(CONFIG_FILE)
    values: dict[str, object] = {}
    sources = dict.fromkeys(Settings.model_fields, DEFAULT)
    for source, layer in (
        (str(file), _from_file(file, must_exist=config is not None)),
        ("environment", _from_environment()),
        (COMMAND_LINE, overrides),
    ):
        for key, value in layer.items():
            name = f"HUNCH_{key.upper()}" if source == "environment" else source
            if key not in sources:
                raise ConfigError(f"There is no setting {key!r} ({name}){suggestion(key, sources)}")
            values[key], sources[key] = value, name
    for key, value in values.items():
        if isinstance(value, bool):  # pydantic would take true for 1
            raise ConfigError(_bad_value(key, value, sources[key], "it is no yes-or-no setting"))
    try:
        return Loaded(settings=Settings(**values), sources=sources)  # type: ignore[arg-type]
    except ValidationError as error:
        raise ConfigError(_sentence(error, values, sources)) from error


def suggestion(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown word: the nearest known one, or where to look."""
    near = difflib.get_close_matches(word.lower(), list(known), n=1)
    return f": did you mean {near[0]!r}?" if near else ": `hunch config` lists what there is."


def is_secret(key: str) -> bool:
    """Whether the value must never be shown."""
    return SecretStr in typing.get_args(Settings.model_fields[key].annotation)


def _from_file(file: Path, *, must_exist: bool) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if must_exist:
            raise ConfigError(f"There is no settings file {file}: correct the path.") from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The settings file {file} cannot be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"The settings file {file} is not TOML: {error}.") from error


def _from_environment() -> dict[str, Any]:
    prefix = "hunch_"
    variables = EnvSettingsSource(Settings).env_vars.items()
    return {key.removeprefix(prefix): value for key, value in variables if key.startswith(prefix)}


def _sentence(
    error: ValidationError, values: Mapping[str, object], sources: Mapping[str, str]
) -> str:
    first = error.errors()[0]
    if first["type"] == "value_error":
        allowed = str(first["ctx"]["error"])
    else:
        allowed = re.sub(r"^\w+ should", "it should", first["msg"])
    if not first["loc"]:
        return f"{allowed}."
    key = str(first["loc"][0])
    return _bad_value(key, values[key], sources[key], allowed)


def _bad_value(key: str, value: object, source: str, allowed: str) -> str:
    shown = MASK if is_secret(key) else json.dumps(value, default=str)
    return f"{key} = {shown} ({source}) is not allowed: {allowed}."


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
