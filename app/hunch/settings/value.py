"""Every setting of Hunch: its default and its meaning.

`Settings(...)` reads neither file nor environment: it is a frozen value that `load` fills;
`topics`, `stages` and `providers` are replaced whole, not merged.
"""

import typing
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from hunch.errors import ConfigError
from hunch.settings.kinds import (
    LOGICAL_TOPICS,
    Bootstrap,
    BrokersDuration,
    Count,
    Delivery,
    Duration,
    Milliseconds,
    OptionalMilliseconds,
    OptionalPort,
    OptionalSecret,
    OptionalShare,
    OptionalText,
    Prefix,
    Providers,
    Rate,
    Share,
    Stages,
    Text,
    Topics,
    YesOrNo,
)

MASK = "********"
EMBEDDED = "embedded"


class Settings(BaseSettings):
    """All that can be set, frozen; every field says what it means and in which unit."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="HUNCH_", use_attribute_docstrings=True
    )

    bootstrap: Bootstrap = "localhost:9092"
    """Kafka brokers as host:port, separated by commas, or `embedded`."""
    topic_prefix: Prefix = ""
    """What the names of all topics and consumer groups begin with."""
    partitions: Count = 4
    """Partitions of `messages`; all other topics follow from it."""
    stages: Stages = ("fast", "slow", "join")
    """Stages that `hunch run` starts."""
    fast_model: Text = "digits-fast"
    """Model that answers first: a folder or a bundled model's name."""
    slow_model: Text = "digits-slow"
    """Model that verifies: a folder or a bundled model's name."""
    tau: Share = 0.9
    """Confidence from which the fast answer is the decision, 0 to 1."""
    delta_ms: Milliseconds = 500
    """Time that the slow model gets for a deferred message, in milliseconds."""
    max_age_ms: OptionalMilliseconds = None
    """Age from which a message is not deferred any more, in milliseconds, or `off`."""
    deadline_from: Literal["deferral", "ingest"] = "deferral"
    """What delta counts from: the deferral or the timestamp of the message."""
    policy_file: OptionalText = None
    """Policy that `hunch calibrate` has written, or `off`; its tau counts over that of the file."""
    delivery: Delivery = "exactly-once"
    """Delivery promise of decisions; on the embedded broker it is `at-least-once`."""
    commit_interval_ms: Duration = 50
    """Time that a transaction or a commit waits for more to go with it, in milliseconds."""
    transaction_timeout_ms: BrokersDuration = 5_000
    """Longest time of one transaction, in milliseconds; by default at most 5/6 of the session."""
    max_batch_size: Count = 32
    """Most messages in one batch of the slow model."""
    max_queue_delay_ms: Milliseconds = 5
    """Longest wait of a message for its batch to fill, in milliseconds."""
    slow_reserve_ms: Milliseconds = 20
    """Time kept back from a deadline for the slow answer's way to the joiner, in milliseconds."""
    trace_ratio: OptionalShare = None
    """Share of messages traced whose sender does not say, 0 to 1, or `off`."""
    trace_paths_per_s: Rate = 50
    """Most fallbacks and errors of each reason traced beyond that share, a second."""
    log_payloads: YesOrNo = False
    """Whether the log may show what is in a message."""
    http_port: OptionalPort = None
    """Port for health, metrics and AsyncAPI, or `off`."""
    http_host: Text = "127.0.0.1"
    """Address that this port listens at; `0.0.0.0` is every one of the machine."""
    live_timeout_ms: Duration = 30_000
    """Time that work may wait without any progress before `/live` fails, in milliseconds."""
    max_delivery_messages: Count = 1000
    """Most messages that a partition sends and commits at once."""
    max_delivery_bytes: Count = 8_000_000
    """Most bytes of the messages that are answered at once, one message aside."""
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
    session_timeout_ms: BrokersDuration = 6000
    """Silence after which the group gives a partition away, in milliseconds."""
    heartbeat_interval_ms: Duration = 500
    """Time between heartbeats, in milliseconds, below a third of the session."""
    startup_timeout_ms: Duration = 30_000
    """Longest wait for the broker at start, in milliseconds."""
    takeover_timeout_ms: Duration = 60_000
    """Longest time without progress while taking a partition over, in milliseconds."""
    request_timeout_ms: BrokersDuration = 10_000
    """Longest wait for one answer of the broker, in milliseconds."""
    inference_timeout_ms: Duration = 60_000
    """Time after which an inference hangs and the process ends, in milliseconds."""
    intra_op_threads: Count = 1
    """Threads that one model computes with."""
    providers: Providers = "auto"
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
    topics: Topics = Field(default_factory=dict)
    """Other names for topics, taken as they are, without the prefix."""

    @classmethod
    def settings_customise_sources(cls, *_classes: Any, **sources: Any) -> tuple[Any, ...]:
        """Keeps `Settings(...)` a pure value: only what it is given."""
        return (sources["init_settings"],)

    @model_validator(mode="before")
    @classmethod
    def _as_the_broker_can(cls, values: dict[str, Any]) -> dict[str, Any]:
        """What follows from another key, where it is not set itself."""
        follows: dict[str, Any] = {}
        if values.get("bootstrap") == EMBEDDED:
            follows["delivery"] = "at-least-once"
        session_ms = str(values.get("session_timeout_ms", ""))
        if session_ms.isdigit():
            follows["transaction_timeout_ms"] = min(5_000, int(session_ms) * 5 // 6) or 1
        return follows | values

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.delivery == "exactly-once":
            if self.bootstrap == EMBEDDED:
                raise ValueError("the embedded broker has no transactions: set at-least-once")
            if self.transaction_timeout_ms >= self.session_timeout_ms:
                raise ValueError(
                    f"transaction_timeout_ms = {self.transaction_timeout_ms} is not below "
                    f"session_timeout_ms = {self.session_timeout_ms}: lower it"
                )
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

    def shown(self) -> dict[str, Any]:
        """Every key with its value as JSON can carry it, secrets masked."""
        values = self.model_dump(mode="json")
        return {key: MASK if is_secret(key) and values[key] else values[key] for key in values}


def is_secret(key: str) -> bool:
    """Whether the value must never be shown."""
    return SecretStr in typing.get_args(Settings.model_fields[key].annotation)


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
