"""The AsyncAPI document: all topics, with the schemas that the topic files have."""

import json

import pytest
from faststream.kafka import KafkaBroker
from jsonschema import Draft7Validator, Draft202012Validator
from tests.brokers import ROOT

from hunch.http.asyncapi import document
from hunch.settings import LOGICAL_TOPICS, Settings

SPECS = {name: json.loads((ROOT / f"topics/{name}.json").read_text()) for name in LOGICAL_TOPICS}


@pytest.fixture
def shown():
    """The document for topics with a prefix, one of them under another name."""
    settings = Settings(topic_prefix="x.", topics={"messages": "orders"})
    return document(settings, KafkaBroker("broker.example:9092"))


def references(value):
    """Every `$ref` in the document."""
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [ref for part in value.values() for ref in references(part)]
    return [ref for part in value for ref in references(part)] if isinstance(value, list) else []


def resolve(shown, ref):
    """What a reference means."""
    for step in ref.removeprefix("#/").split("/"):
        shown = shown[step]
    return shown


def test_every_topic_is_there_with_its_name_in_kafka(shown):
    """Seven channels at their actual names, on the broker that is meant."""
    addresses = {name: channel["address"] for name, channel in shown["channels"].items()}

    assert {name: f"x.{name}" for name in LOGICAL_TOPICS} | {"messages": "orders"} == addresses
    assert ["broker.example:9092"] == [server["host"] for server in shown["servers"].values()]
    assert "3.0.0" == shown["asyncapi"]


def test_what_hunch_does_with_a_topic_is_said(shown):
    """It receives messages and control, sends decisions, and does both where others may join in."""
    done = {
        (operation["action"], operation["channel"]["$ref"].rpartition("/")[2])
        for operation in shown["operations"].values()
    }

    assert {"messages", "control", "deferrals", "slow-results"} == {
        name for action, name in done if action == "receive"
    }
    assert set(LOGICAL_TOPICS) - {"messages", "control"} == {
        name for action, name in done if action == "send"
    }


def test_every_reference_leads_somewhere(shown):
    """Also those between parts of a schema, which begin at the document here."""
    found = references(shown)

    assert found
    assert all(resolve(shown, ref) for ref in found)


def test_every_schema_is_one_that_asyncapi_reads(shown):
    """AsyncAPI 3 speaks draft 7; none of ours needs more."""
    for schema in shown["components"]["schemas"].values():
        Draft7Validator.check_schema(schema)


@pytest.mark.parametrize("logical", LOGICAL_TOPICS)
def test_headers_are_described_as_the_topic_file_does(shown, logical):
    """Each with its meaning; what must be there is required."""
    headers = shown["components"]["messages"][logical]["headers"]
    described = SPECS[logical]["headers"]

    assert set(described) == set(headers["properties"])
    assert [name for name in described if described[name]["required"]] == headers.get(
        "required", []
    )
    for name, header in described.items():
        assert headers["properties"][name]["description"].startswith(header["description"])


def test_a_schema_means_what_its_topic_file_means(shown):
    """A decision that the topic file takes is taken, and one that it refuses is refused."""
    answer = {"label": "7", "confidence": 0.97, "model": "digits-fast@1"}
    good = {
        "origin": "messages-0-1",
        "id": None,
        "label": "7",
        "confidence": 0.97,
        "path": "fast",
        "reason": "confident",
        "fast": answer,
        "slow": None,
        "tau": 0.9,
        "delta_ms": 500,
        "policy": "settings",
        "at_ms": 1.0,
        "times": {"total": 1.0},
        "trace_id": None,
    }
    bad = good | {"fast": answer | {"confidence": 1.5}}
    ours = {"$ref": "#/components/schemas/decisions", "components": shown["components"]}

    for decision, is_good in ((good, True), (bad, False)):
        assert is_good is Draft202012Validator(SPECS["decisions"]["value"]).is_valid(decision)
        assert is_good is Draft7Validator(ours).is_valid(decision)
