"""The files under `topics/`: complete, valid JSON Schemas, and true to what the codec writes."""

import jsonschema
import orjson
import pytest

from hunch.core.envelope import Answer, Deferral, Path, Reason, SlowResult
from hunch.core.joining import Pending, Verdict
from hunch.kafka import codec
from hunch.kafka.topic_specs import DAY_MS, DERIVED, TopicPlan, load_specs

NAMES = ["messages", *DERIVED, "control"]
ANSWER = Answer(label="yes", confidence=0.5, model="digits@1")
DEFERRAL = Deferral(
    origin="messages-0-7",
    id="a",
    fast=ANSWER,
    tau=0.9,
    delta_ms=100.0,
    policy="settings",
    ingest_ms=1_000,
    wait_ms=1.0,
    fast_ms=2.0,
    deferred_ms=1_003.0,
    fast_span="b7ad6b7169203331",
)


def check(schema, value):
    """Raises `jsonschema.ValidationError` where a value is not as the file says."""
    jsonschema.Draft202012Validator(schema).validate(value)


def test_every_topic_has_its_file():
    """All seven topics are described, in the order of the flow."""
    assert set(NAMES) == set(load_specs())


@pytest.mark.parametrize("name", NAMES)
def test_schemas_are_schemas(name):
    """Values and JSON headers are described by valid JSON Schemas of draft 2020-12."""
    spec = load_specs()[name]
    schemas = [spec.value, *(h.schema_of_json for h in spec.headers.values() if h.schema_of_json)]
    for schema in schemas:
        jsonschema.Draft202012Validator.check_schema(schema)

    assert name == spec.name
    assert all("$schema" in schema for schema in schemas)


def test_a_deferral_is_as_its_file_says():
    """The headers that the codec writes are those of the file, and no others."""
    spec = load_specs()["deferrals"]
    headers = dict(codec.encode_deferral(DEFERRAL, 2_000, b"00-trace"))

    assert set(spec.headers) == set(headers)
    check(spec.headers["hunch"].schema_of_json, orjson.loads(headers["hunch"]))


@pytest.mark.parametrize(
    "said", [{"answer": ANSWER, "slow_ms": 3.0}, {"error": "no"}, {"shed": True}]
)
def test_a_slow_result_is_as_its_file_says(said):
    """An answer, an error and a refusal each fit the file, as do their headers."""
    spec = load_specs()["slow-results"]
    result = SlowResult(origin=DEFERRAL.origin, deferral=3, model="digits@1", **said)
    value, headers = codec.encode_result(result, [0.5, 0.5])

    assert set(dict(headers)) <= set(spec.headers)
    check(spec.value, orjson.loads(value))
    check(spec.headers["hunch"].schema_of_json, orjson.loads(dict(headers)["hunch"]))


def test_a_slow_result_says_one_thing():
    """A value that is both an answer and an error is no slow result."""
    with pytest.raises(jsonschema.ValidationError):
        check(load_specs()["slow-results"].value, {"label": "a", "confidence": 1, "error": "b"})


def test_a_decision_of_the_joiner_is_as_its_file_says():
    """Value and headers of a joined decision fit the file."""
    spec = load_specs()["decisions"]
    (name, body), *_ = codec.encode_deferral(DEFERRAL, 2_000, None)
    pending = Pending("messages-0-3", 2_000, 1_003, b"key", body, None)
    verdict = Verdict(3, pending, Path.FALLBACK, Reason.DEADLINE, None)
    _, value, headers = codec.encode_verdict(verdict, DEFERRAL, 2_000.0, None)

    assert "hunch" == name
    assert value is not None
    assert {n for n, _ in headers} <= set(spec.headers)
    check(spec.value, orjson.loads(value))


def test_only_an_error_lacks_a_label():
    """A decision without a label has path `error` and says what was wrong."""
    spec = load_specs()["decisions"]
    decision: dict[str, object] = {
        "origin": "messages-0-7", "id": None, "label": None, "confidence": None,
        "path": "error", "reason": "undecodable", "fast": None, "slow": None, "tau": 0.9,
        "delta_ms": 1, "policy": "p", "at_ms": 1.5, "times": {}, "trace_id": None, "error": "No.",
    }  # fmt: skip
    check(spec.value, decision)

    with pytest.raises(jsonschema.ValidationError):
        check(spec.value, {**decision, "path": "fast"})
    with pytest.raises(jsonschema.ValidationError):
        check(spec.value, {key: value for key, value in decision.items() if key != "error"})


def test_retention_follows_delta():
    """What is waited for is kept for Δ and a day, where that is longer than the file says."""
    delta_ms = 10.0 * DAY_MS
    shapes = TopicPlan(bootstrap="b:1", delta_ms=delta_ms).shapes(4)
    days = {
        name: int(shape.config.get("retention.ms", 0)) // DAY_MS for name, shape in shapes.items()
    }

    assert {
        "messages": 7,
        "deferrals": 11,
        "slow-results": 11,
        "late-results": 3,
        "decisions": 11,
        "dead-letters": 14,
        "control": 0,
    } == days


def test_names_are_overridden_or_prefixed():
    """A name under [topics] is taken as it is; all others get the prefix."""
    plan = TopicPlan(bootstrap="b:1", prefix="x.", overrides={"messages": "orders"})

    assert ("orders", "x.decisions") == (plan.name_of("messages"), plan.name_of("decisions"))
