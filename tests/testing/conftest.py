"""A manual clock and an in-memory log on it."""

import pytest

from hunch.testing import ManualClock, MemoryLog


@pytest.fixture
def clock():
    """A manual clock."""
    return ManualClock(start_ms=1_000)


@pytest.fixture
def log(clock):
    """A log with one topic of two partitions."""
    made = MemoryLog(clock)
    made.create_topic("topic", 2)
    return made
