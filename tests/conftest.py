"""Fixtures of the whole suite: brokers, fresh topics, the Banking77 pair.

What a machine lacks is skipped with one loud line at the end; with CI=true it is a failure.
"""

import importlib.util
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NoReturn, Protocol

import pytest
from hypothesis import settings
from tests import brokers

from hunch.clock import SystemClock
from hunch.kafka import topics
from hunch.kafka.embedded import EmbeddedBroker

# How long an example takes is the machine's affair: a deadline on it makes tests flaky.
settings.register_profile("hunch", deadline=None)
settings.load_profile("hunch")

LACKING: dict[str, int] = {}
"""What this machine lacks, as a sentence, and how many tests were skipped for it."""
MEASURED: list[str] = []
"""What tests have measured, a line each."""
BANKING77 = brokers.ROOT / "../shared/data/banking77"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Names the real Jaeger of the tests that are marked `jaeger`."""
    parser.addoption("--jaeger", metavar="QUERY_URL,OTLP_GRPC_URL", help="a Jaeger to test with")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks the tests by the fixtures that they use; starting a broker is not on their time.

    Those of a real Jaeger run where one is named: without it, a receiver of our own stands in.
    """
    if config.getoption("--jaeger") is None:
        items[:] = [item for item in items if item.get_closest_marker("jaeger") is None]
    for item in items:
        used = getattr(item, "fixturenames", ())
        if "kafka_broker" in used:
            item.add_marker(pytest.mark.kafka)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(60, func_only=True))
        if "banking77" in used:
            item.add_marker(pytest.mark.data)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Iterator[None]:
    """Metrics what was skipped because the machine lacks something."""
    yield
    why = None if call.excinfo is None else getattr(call.excinfo.value, "msg", None)
    if why in LACKING:
        LACKING[why] += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each thing that was measured, a loud one for each that this machine lacks."""
    for line in MEASURED:
        terminalreporter.write_line(f"MEASURED: {line}")
    for why, count in LACKING.items():
        terminalreporter.write_line(f"NOT TESTED ({count} skipped): {why}", yellow=True, bold=True)


def lack(why: str) -> NoReturn:
    """Skips the test loudly, or fails it where nothing may be skipped."""
    if brokers.is_ci():
        pytest.fail(why, pytrace=False)
    LACKING.setdefault(why, 0)
    pytest.skip(why)


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[brokers.KafkaBroker]:
    """The real broker of this run; a test that stops it need not start it again."""
    folder = tmp_path_factory.mktemp("kafka")
    broker = brokers.KafkaBroker(folder)
    missing = None
    try:
        broker.start()
    except brokers.Missing as error:
        missing = str(error)
    if missing is not None:
        lack(missing)
    yield broker
    broker.stop()
    shutil.rmtree(folder)


@pytest.fixture
def kafka_bootstrap(kafka_broker: brokers.KafkaBroker) -> str:
    """The address of the real broker, which runs when the test begins."""
    kafka_broker.start()
    return kafka_broker.bootstrap


@pytest.fixture
def measured() -> Callable[[str], None]:
    """A function that takes a line for the end of the run."""
    return MEASURED.append


@pytest.fixture
def embedded_broker() -> Iterator[EmbeddedBroker]:
    """An embedded broker of this test's own, without topics."""
    if importlib.util.find_spec("confluent_kafka") is None:
        lack("The embedded broker needs confluent-kafka: pip install 'hunch-stream[embedded]'.")
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
def embedded_bootstrap(embedded_broker: EmbeddedBroker) -> str:
    """The address of this test's embedded broker."""
    return embedded_broker.bootstrap


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


class FreshTopics(Protocol):
    """Creates all of Hunch's topics under a prefix of this test's own, and returns the prefix."""

    async def __call__(self, partitions: int = 4, delta_ms: float = 1_000.0) -> str:
        """Returns when every partition can be written."""


@pytest.fixture
async def fresh_topics(
    kafka_broker: brokers.KafkaBroker, kafka_bootstrap: str, topic_prefix: str
) -> AsyncIterator[FreshTopics]:
    """A function that creates all topics on the real broker; they go with the test."""
    created: list[str] = []

    async def create(partitions: int = 4, delta_ms: float = 1_000.0) -> str:
        wanted = topics.TopicPlan(
            bootstrap=kafka_bootstrap,
            prefix=topic_prefix,
            partitions=partitions,
            delta_ms=delta_ms,
        )
        async with topics.TopicAdmin(kafka_bootstrap, SystemClock()) as admin:
            created.extend(shape.name for shape in await topics.apply(wanted, admin))
        return topic_prefix

    yield create
    if created and kafka_broker.is_running:
        await brokers.delete_topics(kafka_bootstrap, created)
