"""What must hold for a `ManualClock` whatever is slept and advanced."""

import asyncio
import itertools

from hypothesis import given
from hypothesis import strategies as st

from hunch.testing import ManualClock

MOMENTS = st.floats(min_value=0.001, max_value=1_000, allow_nan=False)


@given(sleeps=st.lists(MOMENTS, max_size=12), steps=st.lists(MOMENTS, min_size=1, max_size=6))
def test_timers_fire_in_order_and_never_early(sleeps, steps):
    """Sleepers wake in order of due time, each at its time, and those due have woken."""

    async def run():
        clock = ManualClock(start_ms=0)
        woken = []

        async def sleeper(number, ms):
            await clock.sleep(ms)
            woken.append((clock.now_ms(), number))

        tasks = [asyncio.create_task(sleeper(*each)) for each in enumerate(sleeps)]
        for step in steps:
            await clock.advance(step)
        for task in tasks:
            task.cancel()
        return woken, clock.now_ms()

    woken, end_ms = asyncio.run(run())

    due = sorted((ms, number) for number, ms in enumerate(sleeps) if ms <= end_ms)
    assert due == woken


@given(steps=st.lists(st.floats(min_value=0, max_value=1e6, allow_nan=False), max_size=20))
def test_time_never_goes_back(steps):
    """Every reading is at least the one before, and every `advance` moves by what it says."""

    async def run():
        clock = ManualClock(start_ms=1_700_000_000_000)
        readings = [clock.now_ms()]

        async def watch():
            while True:
                await clock.sleep(500_000)
                readings.append(clock.now_ms())

        task = asyncio.create_task(watch())
        for step in steps:
            before_ms = clock.now_ms()
            await clock.advance(step)
            readings.append(clock.now_ms())
            assert before_ms + step == clock.now_ms()
        task.cancel()
        return readings

    readings = asyncio.run(run())

    assert all(early <= late for early, late in itertools.pairwise(readings))


@given(work_ms=MOMENTS, timeout_ms=MOMENTS)
def test_wait_for_ends_at_whichever_comes_first(work_ms, timeout_ms):
    """`wait_for` ends when the work is done or the time is over, and says which it was."""

    async def run():
        clock = ManualClock(start_ms=0)

        async def guarded():
            try:
                await clock.wait_for(clock.sleep(work_ms), timeout_ms)
            except TimeoutError:
                return "timeout", clock.now_ms()
            return "done", clock.now_ms()

        task = asyncio.create_task(guarded())
        await clock.advance(2_000)
        return task.result()

    outcome, at_ms = asyncio.run(run())

    assert min(work_ms, timeout_ms) == at_ms
    if work_ms != timeout_ms:
        assert ("done" if work_ms < timeout_ms else "timeout") == outcome
