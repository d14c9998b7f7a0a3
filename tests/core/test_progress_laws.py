"""Laws of the watch on progress, over any sequence of looks."""

from hypothesis import given
from hypothesis import strategies as st

from hunch.core.progress import Look, ProgressState, ShortestLately

LOOKS = st.builds(
    Look,
    is_waiting=st.booleans(),
    read=st.dictionaries(st.sampled_from(["a", "b"]), st.integers(0, 5)),
    life=st.integers(0, 2),
)
STEPS = st.lists(
    st.tuples(st.integers(0, 10_000), st.dictionaries(st.integers(0, 2), LOOKS), st.booleans()),
    max_size=30,
)


@given(STEPS)
def test_a_stage_is_stalled_only_while_work_waits_and_nothing_moved(steps):
    """Stalled time is never below 0, nor longer than since the last look that excuses."""
    state, now_ms, excused_ms = ProgressState(), 0.0, 0.0
    highest: dict[tuple[int, str], int] = {}
    waiting: dict[int, bool] = {}
    for passed_ms, looks, is_in_hand in steps:
        now_ms += passed_ms
        state.on_look(now_ms, range(3), looks, is_in_hand=is_in_hand)
        moved = any(
            at > highest.get((partition, name), -1)
            for partition, look in looks.items()
            for name, at in look.read.items()
        )
        for partition, look in looks.items():
            waiting[partition] = look.is_waiting
            for name, at in look.read.items():
                highest[partition, name] = max(at, highest.get((partition, name), -1))
        if moved or is_in_hand or not any(waiting.values()):
            excused_ms = now_ms

        assert 0.0 <= state.stalled_ms <= now_ms - excused_ms


@given(STEPS)
def test_time_alone_makes_a_stage_stalled_or_never(steps):
    """From any state, looks that stay as they are count every millisecond, or none."""
    state, now_ms = ProgressState(), 0.0
    last: dict[int, Look] = {}
    for passed_ms, looks, is_in_hand in steps:
        now_ms += passed_ms
        last |= looks
        state.on_look(now_ms, range(3), looks, is_in_hand=is_in_hand)
    state.on_look(now_ms, range(3), last)
    before = state.stalled_ms
    state.on_look(now_ms + 500, range(3), last)

    is_waiting = any(look.is_waiting for look in last.values())
    assert (before + 500 if is_waiting else 0.0) == state.stalled_ms


@given(st.lists(st.tuples(st.integers(0, 40_000), st.floats(-1e6, 1e6)), min_size=1))
def test_the_shortest_way_covers_half_a_minute_and_no_more_than_one(steps):
    """Nothing of the last 30 s is missed, and nothing older than 60 s counts."""
    ways, now_ms, came = ShortestLately(), 0.0, []
    for passed_ms, value in steps:
        now_ms += passed_ms
        ways.add(value, now_ms)
        came.append((now_ms, value))

    found = ways.lowest(now_ms)
    assert found is not None
    assert found <= min(value for at_ms, value in came if now_ms - at_ms < 30_000)
    assert found in [value for at_ms, value in came if now_ms - at_ms < 90_000]
