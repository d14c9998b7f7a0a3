"""The simulated cascade: one decision each, what formulas say, and overload that looks like it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evaluation.simulated import counted, exits, place, policy, scenario, share, simulate

from hunch.core.envelope import Path, Reason
from hunch.evaluation.arrivals import PATTERNS
from hunch.evaluation.simulation.run import END_OF, ENDS, run_alone, speed_alone

FALLBACKS = [reason for path, reason in ENDS if path is Path.FALLBACK]

deployments = st.fixed_dictionaries(
    {
        "partitions": st.integers(2, 5),
        "fast_processes": st.integers(1, 2),
        "slow_processes": st.integers(1, 2),
        "join_processes": st.integers(1, 2),
        "is_exactly_once": st.booleans(),
        "commit_interval_ms": st.sampled_from([0.0, 20.0, 300.0]),
        "max_delivery_messages": st.sampled_from([1, 7, 1000]),
        "max_batch_size": st.sampled_from([1, 3, 32]),
        "max_queue_delay_ms": st.sampled_from([0.0, 5.0]),
        "slow_reserve_ms": st.sampled_from([0.0, 20.0]),
        "max_slow_queue": st.sampled_from([1, 5, 2000]),
        "max_pending": st.sampled_from([1, 20, 1_000_000]),
        "max_early": st.sampled_from([1, 100_000]),
    }
)
places = st.builds(
    place,
    fast_ms=st.sampled_from([0.01, 1.0, 20.0]),
    slow_ms=st.sampled_from([0.01, 5.0, 400.0]),
    hop_ms=st.sampled_from([0.0, 1.5]),
    write_ms=st.sampled_from([0.0, 2.0]),
    commit_ms=st.sampled_from([0.0, 8.0]),
    timer_ms=st.sampled_from([0.0, 1.0]),
    join_message_ms=st.sampled_from([0.0, 0.1, 3.0]),
    spread=st.sampled_from([0.0, 0.5]),
)
loads = st.fixed_dictionaries(
    {
        "where": places,
        "pattern": st.sampled_from([pattern for pattern in PATTERNS if pattern != "recorded"]),
        "rate": st.sampled_from([20.0, 300.0]),
    }
)


@settings(max_examples=150, deadline=None)
@given(
    deployments,
    loads,
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from([0.0, 1.0, 40.0, 700.0]),
    st.sampled_from([None, 30.0]),
)
def test_every_message_ends_in_exactly_one_decision(
    deployment, load, exit_share, delta_ms, max_age_ms
):
    """Whatever the load, the place, the bounds and the policy; only rows that exit end as fast."""
    by = policy(delta_ms, max_age_ms=max_age_ms)
    which = exits(exit_share, rows=50)
    given_scenario = scenario(seconds=0.5, warm_up=0.0, **load, **deployment)
    found = simulate(given_scenario, which=which, by=by)

    assert np.isfinite(found.seen_ms).all()
    assert (found.seen_ms > found.arrived_ms).all()
    assert set(range(len(ENDS))) >= set(found.ends.tolist())
    assert ((found.ends == END_OF[Reason.CONFIDENT]) == which[found.rows]).all()
    assert found.is_called[found.ends == END_OF[Reason.VERIFIED]].all()
    assert not (found.is_called & which[found.rows]).any()
    assert found.longest_queue <= deployment["max_slow_queue"] * deployment["partitions"]


def test_a_seed_stands_for_its_run():
    """The same seed gives the same decisions at the same times, another one others."""
    first, again, other = (simulate(seed=seed) for seed in (1, 1, 2))

    assert np.array_equal(first.seen_ms, again.seen_ms)
    assert np.array_equal(first.ends, again.ends)
    assert len(first.rows) != len(other.rows) or not np.array_equal(first.seen_ms, other.seen_ms)


def test_without_deadlines_all_deferrals_are_verified():
    """F = 0: the slow share is the deferral rate, and nothing falls back."""
    found = simulate(by=policy(60_000.0), which=exits(0.7))

    assert share(found, Reason.VERIFIED) == pytest.approx(0.3, abs=0.01)
    assert [0.0] * len(FALLBACKS) == [share(found, reason) for reason in FALLBACKS]


def test_without_time_all_deferrals_fall_back():
    """Δ = 0: F = 1, and the slow model is never asked."""
    found = simulate(by=policy(0.0), which=exits(0.7))

    assert share(found, Reason.DEADLINE) == pytest.approx(0.3, abs=0.01)
    assert not found.is_called.any()


def test_the_mean_latency_is_as_the_formula_says():
    """t_f + D · E[min(T_s, Δ)] where nobody waits for a model and the broker takes no time."""
    where = place(fast_ms=2.0, slow_ms=30.0)
    found = simulate(scenario(rate=2.0, pattern="steady", seconds=600.0, where=where))

    expected_ms = 2.0 + 0.5 * 30.0
    counts = (found.arrived_ms >= found.from_ms) & (found.arrived_ms < found.until_ms)
    assert (found.seen_ms - found.arrived_ms)[counts].mean() == pytest.approx(expected_ms, rel=0.05)


def test_no_fallback_comes_before_its_deadline_nor_long_after_it():
    """Δ after the deferral, to the millisecond, where the slow model never comes in time."""
    where = place(fast_ms=2.0, slow_ms=5_000.0)
    found = simulate(scenario(rate=2.0, pattern="steady", where=where), by=policy(300.0))

    late_ms = counted(found, Reason.DEADLINE) - 302.0
    assert len(late_ms) > 10
    assert late_ms.min() > -1.001
    assert late_ms.max() < 1.0


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_deferrals_wait_for_the_slow_model_as_in_a_queue(load):
    """M/D/1: the mean wait is load · S / (2 (1 - load)), where batches are of one."""
    rate = 2 * load / 0.010
    found = simulate(scenario(rate=rate, seconds=300.0), by=policy(60_000.0))

    wait_ms = counted(found, Reason.VERIFIED).mean() - 10.0
    assert wait_ms == pytest.approx(load * 10.0 / (2 * (1 - load)), rel=0.1)


def test_messages_wait_for_the_fast_model_as_in_a_queue():
    """The same in front of the fast model, where a lane takes one message at a time."""
    where = place(fast_ms=4.0)
    found = simulate(
        scenario(rate=150.0, seconds=200.0, where=where, max_delivery_messages=1),
        which=exits(1.0),
    )

    wait_ms = counted(found, Reason.CONFIDENT).mean() - 4.0
    assert wait_ms == pytest.approx(0.6 * 4.0 / (2 * 0.4), rel=0.1)


@pytest.mark.parametrize("times_over", [1.5, 3.0])
def test_overload_times_out_what_the_slow_model_cannot_answer(times_over):
    """F → 1 - μ / (λ D): what is expired is skipped, so the slow model stays of use."""
    rate = 2 * times_over / 0.010
    found = simulate(scenario(rate=rate, seconds=60.0), by=policy(200.0))

    fallen = 1 - share(found, Reason.VERIFIED) / 0.5
    assert fallen == pytest.approx(1 - 1 / times_over, abs=0.04)
    assert found.slow_busy_ms / found.end_ms == pytest.approx(1.0, abs=0.02)
    assert share(found, Reason.DEADLINE) + share(found, Reason.SHED) > 0.1


def test_a_bounded_queue_stays_bounded_under_overload():
    """Reading pauses at `max_slow_queue`; what comes too late out of the log falls back."""
    given_scenario = scenario(rate=2_000.0, seconds=5.0, max_slow_queue=20, partitions=2)
    found = simulate(given_scenario, by=policy(1_000.0))

    assert 20 < found.longest_queue <= 40
    assert share(found, Reason.DEADLINE) + share(found, Reason.SHED) > 0.4
    assert share(found, Reason.VERIFIED) == pytest.approx(0.05, abs=0.01)


def test_the_joiner_overflows_at_its_bound():
    """The oldest deferral is decided when one more is pending than may be."""
    where = place(slow_ms=100.0)
    found = simulate(scenario(rate=300.0, seconds=5.0, max_pending=3, where=where))

    assert share(found, Reason.OVERFLOW) > 0.3


def test_an_old_message_is_not_deferred():
    """With `max_age_ms` below what the fast model takes nothing goes to the slow one."""
    found = simulate(scenario(where=place(fast_ms=5.0)), by=policy(max_age_ms=2.0))

    assert share(found, Reason.STALE) == pytest.approx(0.5, abs=0.02)
    assert not found.is_called.any()


def test_transactions_keep_decisions_waiting():
    """At an interval of I and many messages a decision waits I / 2, and for the commit."""
    where = place(commit_ms=8.0, hop_ms=1.0)
    found = simulate(
        scenario(rate=300.0, where=where, is_exactly_once=True, commit_interval_ms=60.0),
        which=exits(1.0),
    )

    latency_ms = counted(found, Reason.CONFIDENT)
    assert latency_ms.mean() == pytest.approx(30.0 + 8.0 + 2.0, abs=2.5)
    assert latency_ms.max() < 60.0 + 8.0 + 2.0 + 5.0


def test_a_model_alone_decides_no_more_than_it_can():
    """Offered twice what it can do, the throughput is its speed, and latency grows."""
    given_scenario = scenario(rate=200.0, seconds=20.0, where=place(slow_ms=10.0))
    found = run_alone("slow", 1_000, given_scenario, 1)

    is_seen = (found.seen_ms >= found.from_ms) & (found.seen_ms < found.until_ms)
    capacity = speed_alone("slow", given_scenario.place, given_scenario.deployment)
    assert capacity == pytest.approx(100.0)
    assert is_seen.sum() / 20.0 == pytest.approx(capacity, rel=0.02)
    assert counted(found, Reason.CONFIDENT).max() > 5_000


def test_more_processes_share_the_partitions():
    """Two slow processes answer what one cannot."""
    one, two = (
        simulate(
            scenario(rate=300.0, partitions=4, slow_processes=count, seconds=20.0),
            by=policy(200.0),
        )
        for count in (1, 2)
    )

    assert share(one, Reason.VERIFIED) < 0.36
    assert share(two, Reason.VERIFIED) > 0.45
