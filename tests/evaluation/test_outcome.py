"""Outcomes: shares that are counted right, intervals that mean what they say."""

import numpy as np
import pytest
from tests.evaluation.simulated import exits, place, policy, scenario, simulate

from hunch.errors import ConfigError
from hunch.evaluation.simulation.outcome import Prices, Summary, Truth
from hunch.evaluation.simulation.run import run_alone

ROWS = 1_000
CHANCE = np.random.default_rng(4)
TRUTH = Truth(fast_right=CHANCE.random(ROWS) < 0.8, slow_right=CHANCE.random(ROWS) < 0.95)


def summarised(runs, *, prices=None, in_time_ms=50.0, alone=None):
    """The outcome of these runs."""
    return Summary(TRUTH, in_time_ms, prices or Prices()).of(runs, alone=alone)


def test_a_run_without_messages_is_one_sentence():
    """Nothing can be said of it, and it is not a bug."""
    runs = [simulate(scenario(rate=0.001, seconds=1.0), which=exits(0.6))]

    with pytest.raises(ConfigError, match="no message came that counts: raise --rate or --seconds"):
        summarised(runs)


def test_accuracy_is_as_the_formula_says():
    """A · acc_f(exit) + D · ((1 - F) · acc_s(wait) + F · acc_f(wait)), at F = 0 and F = 1."""
    which = exits(0.6)
    fast, slow = TRUTH.fast_right, TRUTH.slow_right
    for delta_ms, waits in ((60_000.0, slow), (0.0, fast)):
        runs = [
            simulate(scenario(seconds=100.0), which=which, by=policy(delta_ms), seed=seed)
            for seed in range(2)
        ]
        expected = 0.6 * fast[which].mean() + 0.4 * waits[~which].mean()

        found = summarised(runs)
        assert found.accuracy.value == pytest.approx(expected, abs=0.002)
        assert found.gap.value == pytest.approx(slow.mean() - expected, abs=0.002)
        assert found.accuracy.low < found.accuracy.value < found.accuracy.high


def test_the_bootstrap_is_as_wide_as_that_of_a_share():
    """± 1.96 · sqrt(p (1 - p) / rows), however many messages of the same rows there are."""
    found = summarised([simulate(scenario(rate=500.0), which=exits(1.0))])

    p = TRUTH.fast_right.mean()
    half = (found.accuracy.high - found.accuracy.low) / 2
    assert half == pytest.approx(1.96 * np.sqrt(p * (1 - p) / ROWS), rel=0.15)


def test_shares_and_rates_add_up():
    """Paths sum to 1, the reasons of fallbacks to their path; what is offered is decided."""
    found = summarised(
        [simulate(scenario(rate=300.0), by=policy(100.0), seed=seed) for seed in (1, 2, 3)]
    )

    assert sum(rate.value for rate in found.rates.values()) == pytest.approx(1.0)
    fallback = found.rates["fallback"].value
    assert sum(rate.value for rate in found.reasons.values()) == pytest.approx(fallback)
    assert fallback > 0.1
    assert {"fast", "slow", "fallback"} == set(found.by_path)
    assert found.keeps_up
    assert found.decided_per_s.value == pytest.approx(300.0, rel=0.05)
    assert found.slow_calls.value >= found.rates["slow"].value


def test_seeds_make_an_interval_and_one_seed_none():
    """Student's, around the mean."""
    runs = [simulate(seed=seed) for seed in (1, 2, 3)]
    one, three = summarised(runs[:1]), summarised(runs)

    assert (None, None) == (one.slow_calls.low, one.slow_calls.high)
    assert three.latency.p95_ms.low < three.latency.p95_ms.value < three.latency.p95_ms.high


def test_right_answers_in_time_are_counted_by_the_second():
    """Of 100 messages a second at a latency of 2 ms, all right ones within 2.5 ms, none in 1.5."""
    run = simulate(
        scenario(pattern="steady", where=place(fast_ms=2.0), seconds=20.0), which=exits(1.0)
    )

    per_s = 100.0 * TRUTH.fast_right.mean()
    assert summarised([run], in_time_ms=2.5).in_time_per_s.value == pytest.approx(per_s, rel=0.01)
    assert 0.0 == summarised([run], in_time_ms=1.5).in_time_per_s.value


def test_a_cost_is_what_calls_and_seconds_cost():
    """Nothing without prices; a call of the slow model for every deferral, a second of its time."""
    run = simulate(scenario(seconds=60.0), by=policy(60_000.0), which=exits(0.5))
    calls = summarised([run], prices=Prices(fast_call=1.0, slow_call=10.0))
    seconds = summarised([run], prices=Prices(slow_second=1000.0))

    assert summarised([run]).cost is None
    assert calls.cost.value == pytest.approx(1.0 + 0.5 * 10.0, rel=0.02)
    assert seconds.cost.value == pytest.approx(0.5 * 10.0, rel=0.02)


def test_the_slow_model_alone_lacks_nothing_of_itself():
    """Its accuracy is its own, its gap 0; a model that is offered too much does not keep up."""
    runs = [run_alone("slow", ROWS, scenario(rate=rate), 1) for rate in (50.0, 200.0)]
    kept, lost = (summarised([run], alone="slow") for run in runs)

    assert kept.accuracy.value == pytest.approx(TRUTH.slow_right.mean(), abs=0.02)
    assert (0.0, 0.0) == (kept.gap.value, lost.gap.value)
    assert (True, False) == (kept.keeps_up, lost.keeps_up)


def test_a_model_alone_costs_its_own_calls():
    """The slow one every time and no fast one, the fast one the other way round."""
    prices = Prices(fast_call=1.0, slow_call=10.0, fast_second=100.0, slow_second=1000.0)
    load = scenario(rate=20.0, where=place(fast_ms=2.0), seconds=60.0)
    fast, slow = (
        summarised([run_alone(side, ROWS, load, 1)], prices=prices, alone=side)
        for side in ("fast", "slow")
    )

    assert fast.cost.value == pytest.approx(1.0 + 0.002 * 100.0, rel=0.05)
    assert slow.cost.value == pytest.approx(10.0 + 0.01 * 1000.0, rel=0.05)
    assert (0.0, 1.0, 0.0) == (
        fast.slow_calls.value,
        slow.slow_calls.value,
        slow.wasted_calls.value,
    )


def test_of_many_rows_there_are_fewer_resamples():
    """Their memory is bounded; the interval is there nevertheless."""
    rows = 100_000
    truth = Truth(fast_right=np.arange(rows) % 5 > 0, slow_right=np.full(rows, fill_value=True))
    summary = Summary(truth, 100.0, Prices())

    assert 200 * rows == summary._weights.size
    assert 200 * rows == summary._weights.sum(dtype=np.float64)
