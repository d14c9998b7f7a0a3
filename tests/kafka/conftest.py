"""Fixtures of the tests on a real Kafka: stages as processes of their own."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest
from tests.brokers import ROOT
from tests.kafka.processes import StageProcess

SHORT_SESSION = {"session_timeout_ms": 1_500, "heartbeat_interval_ms": 300}
"""So that a killed process is missed soon; a broker of one's own allows it."""


class StartStage(Protocol):
    """Starts `hunch run STAGE` against this test's topics, with these settings."""

    def __call__(
        self, stage: str, environment: Mapping[str, str] | None = None, **settings: object
    ) -> StageProcess:
        """Returns at once; the process ends with the test at the latest."""


@pytest.fixture
def start_stage(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> Iterator[StartStage]:
    """A function that starts a stage in a process of its own."""
    started: list[StageProcess] = []

    def start(
        stage: str, environment: Mapping[str, str] | None = None, **settings: object
    ) -> StageProcess:
        given = {
            "bootstrap": kafka_bootstrap,
            "topic_prefix": topic_prefix,
            **SHORT_SESSION,
            **settings,
        }
        started.append(StageProcess(stage, tmp_path, given, environment or {}))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture(scope="session")
def digits() -> list[bytes]:
    """The bundled test digits, as messages."""
    return (ROOT / "models/digits/test.jsonl").read_bytes().splitlines()
