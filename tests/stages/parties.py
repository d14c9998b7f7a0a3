"""What the tests of the stages share: models that say what a message asks them to."""

import json
from pathlib import Path

from jsonschema import Draft202012Validator

from hunch.testing import StubPredictor
from hunch.testing.cascade import MemoryCascade

TOPICS = Path(__file__).resolve().parents[2] / "topics"


def fast():
    """Answers label a with the confidence `c` that the message asks for."""
    return StubPredictor(lambda message: [message["c"], 1 - message["c"]], model="fast@1")


def slow(**more):
    """Always answers label b, surely; fails on a message with `broken`."""

    def answer(message):
        if "broken" in message:
            raise ValueError("The slow model cannot read it.")
        return [0.01, 0.99]

    return StubPredictor(answer, model="slow@1", **more)


def cascade(**changes):
    """A cascade in memory with those two models."""
    return MemoryCascade(**({"fast": fast(), "slow": slow()} | changes))


def by_origin(memory):
    """The only decision of each origin."""
    decisions = memory.decisions()
    found = {decision["origin"]: decision for decision in decisions}
    assert len(found) == len(decisions), "an origin was decided twice"
    return found


def told(decision):
    """What a test mostly asks of a decision."""
    return decision["path"], decision["reason"], decision["label"]


def schema_errors(topic, value):
    """What the topic's JSON Schema has against a value."""
    spec = json.loads((TOPICS / f"{topic}.json").read_text())
    schema = spec["value"]
    return [error.message for error in Draft202012Validator(schema).iter_errors(value)]
