"""The contiguous prefix: never past anything unfinished, and all of it in the end."""

from hypothesis import given
from hypothesis import strategies as st

from hunch.core.offsets import ContiguousPrefix


@given(st.lists(st.integers(0, 1_000), unique=True, min_size=1).map(sorted), st.data())
def test_nothing_unfinished_is_committed(offsets, data):
    """Whatever order work ends in, the committable offset stays at the lowest unfinished one."""
    prefix = ContiguousPrefix(0)
    for offset in offsets:
        prefix.start(offset)
    unfinished = set(offsets)
    for offset in data.draw(st.permutations(offsets)):
        assert min(unfinished) == prefix.committable()
        prefix.done(offset)
        unfinished.discard(offset)

    assert offsets[-1] + 1 == prefix.committable()
    assert len(prefix) == 0


def test_markers_are_passed_when_all_is_done():
    """Offsets that nobody can read do not leave a lag for ever."""
    prefix = ContiguousPrefix(0)
    prefix.start(0)
    prefix.done(0)
    prefix.passed(6)

    assert prefix.committable() == 6
