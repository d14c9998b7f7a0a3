"""`ManualClock`: time passes only in `advance`, and `wait_for` does what the real clock's does."""

import asyncio

import pytest

from hunch.testing import ManualClock


async def test_it_starts_where_it_is_told_and_stands_still():
    """Without `advance` the time stays at its start, however much runs."""
    clock = ManualClock(start_ms=5_000)

    await clock.settle()

    assert clock.now_ms() == 5_000


async def test_a_sleep_ends_at_its_time_and_not_before():
    """A sleeper wakes when its time has come, and sees exactly that time."""
    clock = ManualClock(start_ms=0)
    woken = []

    async def sleeper():
        await clock.sleep(100)
        woken.append(clock.now_ms())

    task = asyncio.create_task(sleeper())
    await clock.advance(99.5)
    assert woken == []

    await clock.advance(50)

    assert woken == [100]
    assert clock.now_ms() == 149.5
    await task


async def test_one_advance_passes_many_sleeps_of_a_loop():
    """A task that sleeps again and again is woken at each of its times within one `advance`."""
    clock = ManualClock(start_ms=0)
    woken = []

    async def ticker():
        while True:
            await clock.sleep(30)
            woken.append(clock.now_ms())

    task = asyncio.create_task(ticker())

    await clock.advance(100)

    assert woken == [30, 60, 90]
    task.cancel()


async def test_a_chain_of_tasks_settles_before_the_next_timer():
    """What a timer sets off runs to its end, over several tasks, before the next one fires."""
    clock = ManualClock(start_ms=0)
    queue: asyncio.Queue[str] = asyncio.Queue()
    heard = []

    async def first():
        await clock.sleep(10)
        queue.put_nowait("ten")

    async def relay():
        while True:
            heard.append((clock.now_ms(), await queue.get()))

    tasks = [asyncio.create_task(first()), asyncio.create_task(relay())]

    await clock.advance(10)

    assert heard == [(0, "ten")]
    for task in tasks:
        task.cancel()


async def test_a_sleep_of_nothing_lets_others_run():
    """`sleep(0)` and negative sleeps need no `advance`."""
    clock = ManualClock()

    await clock.sleep(0)
    await clock.sleep(-5)

    assert clock.now_ms() == 1_000_000


async def test_time_does_not_go_back():
    """A negative `advance` is refused."""
    with pytest.raises(ValueError, match="does not go back"):
        await ManualClock().advance(-1)


async def test_a_task_that_never_waits_is_reported():
    """`settle` ends with an error, not never, where a task spins without waiting."""
    clock = ManualClock()

    async def spin():
        while True:
            await clock.sleep(0)

    task = asyncio.create_task(spin())

    with pytest.raises(RuntimeError, match="did not come to rest"):
        await clock.settle()
    task.cancel()


async def test_wait_for_gives_the_result_in_time():
    """A result before the time-out is returned, and the time-out never fires."""
    clock = ManualClock(start_ms=0)

    async def work():
        await clock.sleep(50)
        return "done"

    waiting = asyncio.create_task(clock.wait_for(work(), 51))
    await clock.advance(1_000)

    assert await waiting == "done"


async def test_wait_for_times_out_and_cancels():
    """When the time has passed, `TimeoutError` is raised and the awaitable was cancelled."""
    clock = ManualClock(start_ms=0)
    work = asyncio.create_task(clock.sleep(10_000))
    waiting = asyncio.create_task(clock.wait_for(work, 100))

    await clock.advance(99)
    assert not waiting.done()
    await clock.advance(1)

    assert isinstance(waiting.exception(), TimeoutError)
    assert work.cancelled()


async def test_after_a_timeout_the_waiter_is_as_before():
    """A time-out leaves no cancellation behind in the task that waited."""
    with pytest.raises(TimeoutError):
        await ManualClock().wait_for(asyncio.Event().wait(), 0)

    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.parametrize("timeout_ms", [0, -10])
async def test_wait_for_nothing_still_takes_what_is_at_hand(timeout_ms):
    """With no time left, a result at hand wins, and anything else times out without `advance`."""
    clock = ManualClock()
    ready = asyncio.get_running_loop().create_future()
    ready.set_result(7)

    assert await clock.wait_for(ready, timeout_ms) == 7
    with pytest.raises(TimeoutError):
        await clock.wait_for(asyncio.Event().wait(), timeout_ms)


async def test_wait_for_takes_a_result_set_at_the_moment_of_the_timeout():
    """A future that got its result just before the timer fires wins over the time-out."""
    clock = ManualClock(start_ms=0)
    answer = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(clock.wait_for(answer, 100))
    await clock.settle()
    timer = clock._pop_due(100)
    assert timer is not None

    answer.set_result("now")
    clock._fire(timer)

    assert await waiting == "now"


async def test_wait_for_hands_an_outer_cancellation_on():
    """Cancelling the waiter cancels the awaitable; it ends as cancelled, not as timed out."""
    clock = ManualClock()
    work = asyncio.create_task(clock.sleep(10_000))
    waiting = asyncio.create_task(clock.wait_for(work, 100))
    await clock.settle()

    waiting.cancel()
    await clock.settle()

    assert waiting.cancelled()
    assert work.cancelled()


async def test_an_outer_cancellation_at_the_moment_of_the_timeout_is_not_swallowed():
    """When time-out and outer cancellation fall together, the cancellation stays."""
    clock = ManualClock(start_ms=0)
    waiting = asyncio.create_task(clock.wait_for(asyncio.Event().wait(), 100))
    await clock.settle()
    timer = clock._pop_due(100)
    assert timer is not None

    clock._fire(timer)
    waiting.cancel()
    await clock.settle()

    assert waiting.cancelled()


async def test_wait_for_raises_what_the_awaitable_raises():
    """An error of the awaitable comes through, before any time has passed."""

    async def broken():
        raise KeyError("inner")

    with pytest.raises(KeyError, match="inner"):
        await ManualClock().wait_for(broken(), 100)
