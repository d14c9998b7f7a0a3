"""The `cluster` fixture: every contract test runs once for each broker, named in its id."""

import pytest
from tests.contract.clusters import Cluster, EmbeddedCluster, KafkaCluster, MemoryCluster


@pytest.fixture(
    params=[
        "memory",
        "embedded",
        pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.timeout(60, func_only=True)]),
    ]
)
async def cluster(request, topic_prefix):
    """One of the three brokers, with a client and fresh topics."""
    made: Cluster
    match request.param:
        case "memory":
            made = MemoryCluster(topic_prefix)
        case "embedded":
            made = EmbeddedCluster(request.getfixturevalue("embedded_broker"), topic_prefix)
        case _:
            made = KafkaCluster(request.getfixturevalue("kafka_bootstrap"), topic_prefix)
    yield made
    await made.close()
