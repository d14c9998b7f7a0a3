"""Every event that is logged, and the one way a log line is written.

One JSON object a line on stderr. Libraries' loggers come out in the same form, and so does what
ends a thread; gRPC's C core, which has a form of its own, is silent unless GRPC_VERBOSITY asks for
more. Of each logger, and of each event that one message after the other can cause, at most
`LINES_PER_SECOND` a second are written and the rest counted: aiokafka writes hundreds of thousands
when a broker is down.
"""

import logging
import os
import sys
import threading
from typing import Literal

import orjson

from hunch.clock import Clock

LINES_PER_SECOND = 5


EventName = Literal[
    "starting",  # the process starts: version, stages, where the broker is
    "waiting_for_broker",  # nobody answers at the bootstrap address yet
    "ready",  # lanes are open and models warm
    "assigned",  # the group gave this process these partitions
    "lane_opened",  # a partition is read from here on
    "lane_closed",  # a partition is not read any more, and why
    "lane_lost",  # a lane ended by an error or by another owner
    "lane_missing",  # a partition is owned and no lane of it runs
    "lost_records",  # the broker deleted records before anybody read them
    "overflow",  # a bound was reached, and which
    "clock_skew",  # the clocks of two stages differ
    "commit_foreign",  # a committed offset is not Hunch's own, and is not believed
    "commit_failed",  # offsets were not taken; they go again with the next commit
    "read_failed",  # a read broke; its lanes take over again
    "slow_model_failed",  # a whole batch failed in the slow model and falls back
    "tracing",  # spans go out: which share, by which protocol
    "policy_in_force",  # a policy was pushed or taken back: which one decides from now on
    "policy_refused",  # what was pushed cannot be used; what was in force stays
    "dead_letter",  # a record was put aside: which, why, and its trace
    "export_failed",  # a collector did not take spans or metrics
    "process_stood_still",  # nothing ran for a session time-out: all seats count as lost
    "draining",  # the process was asked to end and finishes what is in hand
    "drain_cut_short",  # the drain reached its bound
    "stopped",  # the process ends in order
    "warning",  # something needs attention: the message says what
    "error",  # the process ends: the message says why and what to do
    "library",  # a library wrote this line
    "suppressed",  # lines of one logger or event were left out, and how many
]
_WARNINGS: frozenset[EventName] = frozenset(
    {
        "waiting_for_broker",
        "lane_lost",
        "lane_missing",
        "lost_records",
        "commit_foreign",
        "overflow",
        "clock_skew",
        "commit_failed",
        "read_failed",
        "slow_model_failed",
        "dead_letter",
        "policy_refused",
        "export_failed",
        "process_stood_still",
        "drain_cut_short",
        "warning",
        "suppressed",
    }
)
_REPEATED: frozenset[EventName] = frozenset(
    {
        "dead_letter",
        "overflow",
        "commit_failed",
        "read_failed",
        "slow_model_failed",
        "export_failed",
        "lane_lost",
    }
)
_LOG = logging.getLogger("hunch")


def log_event(event: EventName, /, **fields: object) -> None:
    """Writes one line: `ts` (epoch ms), `level`, `event`, then the fields as they were given."""
    level = logging.ERROR if event == "error" else logging.INFO
    if event in _WARNINGS:
        level = logging.WARNING
    if _LOG.isEnabledFor(level):
        _LOG.log(level, "%s", event, extra={"hunch_event": event, "hunch_fields": fields})


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def format(self, record: logging.LogRecord) -> str:
        """The line; fields that JSON does not know are written as their text."""
        line: dict[str, object] = {
            "ts": int(self._clock.now_ms()),
            "level": record.levelname.lower(),
            "event": getattr(record, "hunch_event", "library"),
        }
        if hasattr(record, "hunch_fields"):
            line |= record.hunch_fields
        else:
            line |= {"logger": record.name, "message": record.getMessage()}
            if record.exc_info and record.exc_info[1] is not None:
                line["error"] = repr(record.exc_info[1])
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


class RateLimit(logging.Filter):
    """Lets `LINES_PER_SECOND` a second of what may repeat through, and counts the rest."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._seconds: dict[str, list[int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """False for a line too many; the next line let through says how many were left out."""
        event = getattr(record, "hunch_event", None)
        if event is not None and event not in _REPEATED:
            return True
        what = {"logger": record.name} if event is None else {"of": event}
        second = int(self._clock.now_ms() / 1000)
        window = self._seconds.setdefault(event or record.name, [second, 0, 0])
        if window[0] != second:
            suppressed, window[:] = window[2], [second, 0, 0]
            if suppressed:
                log_event("suppressed", lines=suppressed, **what)
        window[1] += 1
        if window[1] <= LINES_PER_SECOND:
            return True
        window[2] += 1
        return False


def configure_logging(clock: Clock, level: int = logging.INFO) -> None:
    """Sends every logger of the process to stderr, as JSON lines; before gRPC is imported."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # noqa: TID251 - no setting of ours
    threading.excepthook = _tell_of_thread
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(clock))
    handler.addFilter(RateLimit(clock))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    _LOG.setLevel(level)


def _tell_of_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_type is not SystemExit:
        name = None if ended.thread is None else ended.thread.name
        log_event(
            "warning",
            message="A thread ended by an error.",
            thread=name,
            error=repr(ended.exc_value),
        )
