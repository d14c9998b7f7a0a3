"""What each error in a lane means, and what is done about it: one table.

Whatever happened, nothing is sent again from memory: the lane closes, and a takeover finds out from
the broker what has come of it. The table says whether one may be tried at all, and how.
"""

from enum import StrEnum
from typing import NamedTuple

from aiokafka import errors as kafka

from hunch.errors import BrokerError, ConfigError, HunchError, LaneClosed


class Action(StrEnum):
    """What follows."""

    TAKE_OVER = "take over"
    """If the partition is still owned two heartbeats later."""
    SHRINK = "shrink"
    """The same, with batches half as large."""
    STOP = "stop"
    """The process ends with a sentence: no takeover can mend it."""


class Failure(NamedTuple):
    """One row: these errors, in a word for the log and the metrics, and in a sentence."""

    errors: tuple[type[BaseException], ...]
    cause: str
    action: Action
    meaning: str


FAILURES = (
    Failure(
        (kafka.ProducerFenced,),
        "fenced",
        Action.TAKE_OVER,
        "another process took over, or the transaction outlived its time-out",
    ),
    Failure(
        (kafka.MessageSizeTooLargeError, kafka.RecordListTooLargeError),
        "too_large",
        Action.SHRINK,
        "the broker refused a batch, as max.message.bytes of its topic is too small for it",
    ),
    Failure(
        (kafka.InvalidTransactionTimeout,),
        "configuration",
        Action.STOP,
        "transaction_timeout_ms is over the broker's transaction.max.timeout.ms, lower it",
    ),
    Failure(
        (kafka.IncompatibleBrokerVersion,),
        "configuration",
        Action.STOP,
        "the broker is too old, Hunch needs Kafka 3.6 or later",
    ),
    Failure(
        (
            kafka.TopicAuthorizationFailedError,
            kafka.GroupAuthorizationFailedError,
            kafka.TransactionalIdAuthorizationFailed,
            kafka.ClusterAuthorizationFailedError,
        ),
        "unauthorized",
        Action.STOP,
        "the broker does not allow it, give this user the rights to read and write Hunch's topics,"
        " to commit in its groups and to use transactional ids that begin with their names",
    ),
    Failure(
        (
            kafka.InvalidTxnState,
            kafka.InvalidProducerIdMapping,
            kafka.UnknownProducerId,
            kafka.OutOfOrderSequenceNumber,
            kafka.OffsetMetadataTooLargeError,
        ),
        "lost_state",
        Action.TAKE_OVER,
        "the broker knows another state of this producer than the producer itself",
    ),
    Failure(
        (kafka.OffsetOutOfRangeError,),
        "truncated",
        Action.TAKE_OVER,
        "the log no longer holds the next offset",
    ),
    Failure(
        (TimeoutError, kafka.KafkaTimeoutError, kafka.RequestTimedOutError),
        "timeout",
        Action.TAKE_OVER,
        "no answer in time, and whether it was done is not known",
    ),
    Failure(
        (LaneClosed,),
        "closed",
        Action.TAKE_OVER,
        "this process must not go on with what it holds",
    ),
    Failure(
        (kafka.KafkaError, BrokerError, OSError),
        "broker",
        Action.TAKE_OVER,
        "the broker is away, or moves what it coordinates",
    ),
)
"""The first row that fits counts; an error that fits none is a refusal of ours, or a bug."""


def failure_of(error: BaseException) -> Failure | None:
    """The row of an error; None where there is none.

    aiokafka wraps what a coordinator refuses in a bare `KafkaError`: then its cause counts.
    """
    if type(error) is kafka.KafkaError and error.__cause__ is not None:
        return failure_of(error.__cause__) or _row_of(error)
    return _row_of(error)


def _row_of(error: BaseException) -> Failure | None:
    return next((row for row in FAILURES if isinstance(error, row.errors)), None)


def refusal(error: BaseException, failure: Failure) -> HunchError:
    """What ends the process, where the action is to stop."""
    sentence = f"The lane cannot go on: {failure.meaning} ({error!r})."
    return ConfigError(sentence) if failure.cause == "configuration" else BrokerError(sentence)
