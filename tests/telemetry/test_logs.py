"""The log: one JSON object a line, libraries limited."""

import io
import json
import logging
import os
import subprocess
import sys
import threading
from typing import get_args

import pytest

from hunch.telemetry import EventName, configure_logging, log_event, logs
from hunch.testing import ManualClock


@pytest.fixture
def log(monkeypatch):
    """What is written to stderr from here on, and the clock that stamps it."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    written, clock = io.StringIO(), ManualClock(1_000_000)
    monkeypatch.setattr("sys.stderr", written)
    monkeypatch.setattr("threading.excepthook", threading.excepthook)
    root.handlers = []
    configure_logging(clock)
    yield written, clock
    root.handlers = before
    root.setLevel(level)


def lines(written):
    """The lines as objects."""
    return [json.loads(line) for line in written.getvalue().splitlines()]


def test_an_event_is_one_json_object_with_its_fields(log):
    """Programs read the log: time, level, event, fields, and nothing else."""
    log_event("lane_opened", stage="fast", partition=3)
    log_event("overflow", bound="max_pending")

    assert [
        {
            "ts": 1_000_000,
            "level": "info",
            "event": "lane_opened",
            "stage": "fast",
            "partition": 3,
        },
        {"ts": 1_000_000, "level": "warning", "event": "overflow", "bound": "max_pending"},
    ] == lines(log[0])


def test_libraries_write_the_same_form(log):
    """A library's line is JSON too, its error on the same line."""
    logging.getLogger("aiokafka.conn").error("no %s", "luck", exc_info=OSError("gone"))

    assert [
        {
            "ts": 1_000_000,
            "level": "error",
            "event": "library",
            "logger": "aiokafka.conn",
            "message": "no luck",
            "error": "OSError('gone')",
        }
    ] == lines(log[0])


async def test_a_noisy_library_is_limited_and_what_is_left_out_is_counted(log):
    """A thousand lines a second become five, and the next second says how many are missing."""
    written, clock = log
    for _ in range(1000):
        logging.getLogger("aiokafka").error("Unable to connect")
    logging.getLogger("other").error("still heard")
    await clock.advance(1000)
    logging.getLogger("aiokafka").error("Unable to connect")

    found = lines(written)
    assert logs.LINES_PER_SECOND + 1 == len(
        [line for line in found if line.get("logger") == "aiokafka" and "message" in line]
    )
    assert [995] == [line["lines"] for line in found if line["event"] == "suppressed"]
    assert ["still heard"] == [line["message"] for line in found if line.get("logger") == "other"]


async def test_an_event_that_every_message_can_cause_is_limited(log):
    """A flood of bad messages leaves five lines a second, and the number of the others."""
    written, clock = log
    for offset in range(1000):
        log_event("dead_letter", origin=f"messages-0-{offset}", trace_id=f"{offset:032x}")
    await clock.advance(1000)
    log_event("dead_letter", origin="messages-0-1000")

    found = lines(written)
    origins = [line["origin"] for line in found if line["event"] == "dead_letter"]
    assert [f"messages-0-{n}" for n in (*range(logs.LINES_PER_SECOND), 1000)] == origins
    assert [("dead_letter", 995)] == [
        (line["of"], line["lines"]) for line in found if line["event"] == "suppressed"
    ]


def test_what_happens_once_is_never_left_out(log):
    """Only what one message after the other can cause is limited."""
    for partition in range(100):
        log_event("lane_opened", partition=partition)

    assert list(range(100)) == [line["partition"] for line in lines(log[0])]


def test_no_event_stands_twice():
    """Names are the contract of those who read logs."""
    names = get_args(EventName)

    assert sorted(set(names)) == sorted(names)


def test_a_thread_that_ends_by_an_error_is_one_line(log):
    """What nobody catches in a thread is JSON too, without a stack trace."""

    def break_down():
        raise OSError("gone")

    thread = threading.Thread(target=break_down, name="worker")
    thread.start()
    thread.join(10)

    [line] = lines(log[0])
    assert ("warning", "worker", "OSError('gone')") == (
        line["event"],
        line["thread"],
        line["error"],
    )


NO_CERTIFICATE = """
import sys
from hunch.clock import SystemClock
from hunch.telemetry import configure_logging, log_event
from hunch.telemetry.collector import Refused, collector
from hunch.telemetry.otel import Destination

configure_logging(SystemClock())
to = Destination(address="127.0.0.1:1", is_secure=True, certificate=sys.argv[1], timeout_s=1.0)
try:
    collector(to, lambda _: None).send(b"")
except Refused:
    log_event("export_failed")
"""


def test_grpc_writes_no_lines_of_its_own(tmp_path):
    """Its C core says what it thinks of a certificate in a form of its own: not here."""
    certificate = tmp_path / "ca.pem"
    certificate.write_text("no certificate")
    env = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    ended = subprocess.run(
        [sys.executable, "-c", NO_CERTIFICATE, certificate],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert ["export_failed"] == [json.loads(line)["event"] for line in ended.stderr.splitlines()]
