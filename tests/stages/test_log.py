"""What the log says of a message: enough to find it and its trace, and nothing that it holds."""

import logging

import pytest
from tests.stages.parties import by_origin, cascade

from hunch.telemetry import Tracer
from hunch.telemetry.traces import TracePolicy

SECRET = b'{"c": 0.95, "iban": "DE02 1203'


@pytest.mark.parametrize("logs_payloads", [False, True])
async def test_a_dead_letter_is_logged_with_its_ids_and_no_payload_unless_asked(
    caplog, logs_payloads
):
    """Origin and trace_id lead to it; what it held is shown only where log_payloads says so."""
    tracer = Tracer(TracePolicy(ratio=1.0), lambda _spans, _at_ms: None)
    with caplog.at_level(logging.INFO, logger="hunch"):
        async with cascade(tracer=tracer, logs_payloads=logs_payloads) as memory:
            await memory.start("fast")
            origin = memory.send(SECRET)
            await memory.clock.advance(100)
            decision = by_origin(memory)[origin]

    [fields] = [
        record.hunch_fields
        for record in caplog.records
        if getattr(record, "hunch_event", None) == "dead_letter"
    ]
    assert (origin, decision["trace_id"]) == (fields["origin"], fields["trace_id"])
    assert ("fast", "undecodable", decision["error"]) == (
        fields["stage"],
        fields["reason"],
        fields["message"],
    )
    assert logs_payloads == ("iban" in str(fields))
