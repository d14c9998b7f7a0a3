"""Fixtures of the whole suite: brokers, fresh topics, the Banking77 pair.

What a machine lacks is skipped with one loud line at the end; with CI=true it is a failure.
"""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import brokers

LOUD: pytest.StashKey[dict[str, int]] = pytest.StashKey()
BANKING77 = brokers.ROOT / "../shared/data/banking77"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests by the fixtures that they use; starting a broker is not on their time."""
    for item in items:
        used = getattr(item, "fixturenames", ())
        if "kafka_broker" in used:
            item.add_marker(pytest.mark.kafka)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(60, func_only=True))
        if "banking77" in used:
            item.add_marker(pytest.mark.data)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Counts what was skipped because the machine lacks something."""
    yield
    if call.excinfo is not None and isinstance(call.excinfo.value, MissingHere):
        counts = item.config.stash.setdefault(LOUD, {})
        why = str(call.excinfo.value)
        counts[why] = counts.get(why, 0) + 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One loud line for each thing that this machine lacks."""
    for why, count in terminalreporter.config.stash.get(LOUD, {}).items():
        terminalreporter.write_line(f"NOT TESTED ({count} skipped): {why}", yellow=True, bold=True)


class MissingHere(pytest.skip.Exception):
    """A skip that the summary shouts about."""


def lack(why: str) -> None:
    """Skips the test loudly, or fails it where nothing may be skipped."""
    if brokers.is_ci():
        pytest.fail(why, pytrace=False)
    raise MissingHere(why)


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[brokers.KafkaBroker]:
    """The real broker of this run; a test that stops it need not start it again."""
    broker = brokers.KafkaBroker(tmp_path_factory.mktemp("kafka"))
    missing = None
    try:
        broker.start()
    except brokers.Missing as error:
        missing = str(error)
    if missing is not None:
        lack(missing)
    yield broker
    broker.stop()


@pytest.fixture
def kafka_bootstrap(kafka_broker: brokers.KafkaBroker) -> str:
    """The address of the real broker, which runs when the test begins."""
    kafka_broker.start()
    return kafka_broker.bootstrap


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for topics and groups that no other test has."""
    return f"t{uuid.uuid4().hex[:10]}."


@pytest.fixture(scope="session")
def banking77() -> Path:
    """The folder with the Banking77 data and its pair of models."""
    if not (BANKING77 / "test.jsonl").is_file():
        lack(
            "The Banking77 pair is not here: put its folder at ../shared/data/banking77, "
            "beside the repository."
        )
    return BANKING77.resolve()
