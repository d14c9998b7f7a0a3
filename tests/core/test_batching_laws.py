"""The batcher's laws: bounded, in deadline order, nothing expired, nothing lost."""

from hypothesis import given
from hypothesis import strategies as st

from hunch.core.batching import BatchPolicy, BatchState, ServiceTimes

arrivals = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 100)), max_size=60)


def filled(arrived, max_batch_size, item_ms):
    """A queue with works numbered by arrival: (slack, wait) each."""
    policy = BatchPolicy(max_batch_size=max_batch_size, max_queue_delay_ms=5)
    state = BatchState(policy, ServiceTimes({1: item_ms, max_batch_size: item_ms * max_batch_size}))
    for number, (slack_ms, wait_ms) in enumerate(arrived):
        state.on_arrival(1_000 + slack_ms, number, 1_000 - wait_ms)
    return state


@given(arrivals, st.integers(1, 32), st.floats(0.0, 50.0))
def test_a_batch_is_bounded_ordered_and_alive(arrived, max_batch_size, item_ms):
    """No batch is over its bound, out of deadline order, or holds what is past its deadline."""
    taken = filled(arrived, max_batch_size, item_ms).take(1_000)

    deadlines = [waiting.deadline_ms for waiting in taken.batch]
    assert len(deadlines) <= max_batch_size
    assert sorted(deadlines) == deadlines
    assert all(deadline_ms > 1_000 for deadline_ms in deadlines)


@given(arrivals, st.integers(1, 32), st.floats(0.0, 50.0))
def test_every_arrival_leaves_the_queue_once(arrived, max_batch_size, item_ms):
    """Taking until the queue is empty gives each work exactly once: run, shed or expired."""
    state = filled(arrived, max_batch_size, item_ms)

    works = []
    while len(state):
        taken = state.take(1_000)
        works += [waiting.work for group in taken for waiting in group]
    assert list(range(len(arrived))) == sorted(works)


@given(arrivals, st.integers(1, 32), st.floats(0.0, 50.0))
def test_only_the_hopeless_are_shed(arrived, max_batch_size, item_ms):
    """What is shed could not end before the batch that was taken instead, and something was."""
    state = filled(arrived, max_batch_size, item_ms)
    taken = state.take(1_000)

    if taken.shed:
        assert taken.batch
        ends_ms = 1_000 + state.times.expected_ms(len(taken.batch))
        assert all(waiting.deadline_ms < ends_ms for waiting in taken.shed)
    for waiting in taken.expired:
        assert waiting.deadline_ms <= 1_000


def test_a_full_queue_is_released_at_once():
    """A batch that is full does not wait for its delay."""
    state = filled([(500, 0)] * 4, 4, 1.0)

    assert state.next_release_ms() == 0.0


def test_a_lone_message_waits_for_its_delay_only():
    """A batch that is not full is released when its oldest member has waited long enough."""
    state = filled([(500, 0)], 4, 1.0)

    assert state.next_release_ms() == 1_005.0


def test_slack_releases_a_batch_early():
    """Waiting ends in time for the most urgent member to be answered."""
    state = filled([(3, 0)], 4, 1.0)

    assert state.next_release_ms() == 1_002.0


def test_the_largest_useful_batch_is_taken():
    """Where the most urgent would be late in a large batch, more others are answered in time."""
    state = filled([(7, 0)] + [(100, 0)] * 7, 8, 2.0)
    taken = state.take(1_000)

    assert len(taken.batch) == 4
    assert [0] == [waiting.work for waiting in taken.shed]


def test_a_wrong_estimate_corrects_itself():
    """Where nothing seems to end in time, one is tried, and the estimate follows what it took."""
    policy = BatchPolicy(max_batch_size=4, max_queue_delay_ms=0)
    times = ServiceTimes({1: 10_000.0})
    state = BatchState(policy, times)
    for _ in range(60):
        state.on_arrival(1_100, "work", 1_000)
        taken = state.take(1_000)
        assert len(taken.batch) == 1
        times.observe(1, 2.0)

    assert times.expected_ms(1) < 100


def test_expected_times_grow_in_proportion_beyond_what_is_known():
    """Sizes that were never seen cost what the nearest smaller one says, in proportion."""
    times = ServiceTimes({2: 4.0})

    assert [4.0, 4.0, 8.0, 32.0] == [times.expected_ms(size) for size in (1, 2, 4, 16)]


def test_the_answers_way_back_is_kept_free():
    """A member that could only be answered at its very deadline is shed, not run in vain."""
    policy = BatchPolicy(max_batch_size=4, max_queue_delay_ms=5, reserve_ms=20)
    state = BatchState(policy, ServiceTimes({1: 10.0}))
    state.on_arrival(1_029, "too late", 1_000)
    state.on_arrival(1_040, "in time", 1_000)
    released_ms = state.next_release_ms()
    taken = state.take(1_000)

    assert released_ms == 1_029 - 20 - 20
    assert ["in time"] == [waiting.work for waiting in taken.batch]
    assert ["too late"] == [waiting.work for waiting in taken.shed]
