"""Commit and abort markers are read from the broker's own files."""

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from tests.brokers import comes_true
from tests.chaos.markers import aborted, markers


@pytest.mark.kafka
@pytest.mark.timeout(60, func_only=True)
def test_aborted_transactions_are_counted(chaos_broker):
    """One is committed, one ended by a fence, one by its own writer: two aborts."""
    admin = AdminClient({"bootstrap.servers": chaos_broker.bootstrap})
    for created in admin.create_topics([NewTopic("out", 1, 1)]).values():
        created.result(20)

    def writer():
        settings = {"bootstrap.servers": chaos_broker.bootstrap, "transactional.id": "w"}
        producer = Producer(settings)
        producer.init_transactions(20)
        producer.begin_transaction()
        producer.produce("out", b"x" * 100)
        producer.flush(20)
        return producer

    first = writer()
    first.commit_transaction(20)
    first.begin_transaction()
    first.produce("out", b"y")
    first.flush(20)
    second = writer()
    second.abort_transaction(20)

    comes_true(lambda: len(list(markers(chaos_broker.data, "out"))) == 3, 10.0)

    found = list(markers(chaos_broker.data, "out"))
    assert [False, True, True] == [marker.is_abort for marker in found]
    assert 2 == aborted(chaos_broker.data, ["out"])
