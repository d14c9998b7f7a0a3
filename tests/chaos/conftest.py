"""Fixtures of the chaos tests: a broker of their own, as they kill it."""

import shutil
from collections.abc import Iterator

import pytest
from tests.brokers import ROOT, KafkaBroker, Missing
from tests.chaos.oracle import Oracle
from tests.conftest import lack


@pytest.fixture(scope="module")
def chaos_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A real broker that may be killed, frozen and started again; its files are in `data`."""
    folder = tmp_path_factory.mktemp("chaos")
    broker = KafkaBroker(folder)
    missing = None
    try:
        broker.start()
    except Missing as error:
        missing = str(error)
    if missing is not None:
        lack(missing)
    yield broker
    broker.kill()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def oracle() -> Oracle:
    """What the bundled models say."""
    return Oracle.of(ROOT / "models")
