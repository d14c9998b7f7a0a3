"""Whole cascades in memory, under a clock that only the test moves."""

from hunch.testing import StubPredictor
from hunch.testing.cascade import run_cascade


def fast():
    """Answers label a with the confidence that the message asks for."""
    return StubPredictor(lambda message: [message["c"], 1 - message["c"]], model="fast@1")


def slow(**more):
    """Always answers label b."""
    return StubPredictor(lambda _: [0.01, 0.99], model="slow@1", **more)


async def test_confident_messages_exit_and_the_others_are_verified():
    """A message at or above τ goes out fast, one below it with the slow answer."""
    decisions = await run_cascade([{"c": 0.91}, {"c": 0.89}], fast=fast(), slow=slow(), tau=0.9)

    assert [("fast", "a"), ("slow", "b")] == [(d["path"], d["label"]) for d in decisions]
