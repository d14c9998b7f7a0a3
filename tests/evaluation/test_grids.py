"""Grids: τ that make a difference, Δ that leave time, refinement that ends."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evaluation.simulated import place

from hunch.errors import ConfigError
from hunch.evaluation.grids import Taus, beside, deltas, grid, least_delta_ms
from hunch.evaluation.simulation.deployment import Deployment
from hunch.evaluation.simulator import Setting

scores = st.lists(st.sampled_from([0.2, 0.25, 0.7, 0.71, 0.999999, 1.0]), min_size=1, max_size=40)
TODAY = Setting(tau=0.9, delta_ms=500)


@given(scores, st.integers(0, 40))
def test_a_tau_does_what_its_rank_says(found, rank):
    """As many rows wait as asked, or fewer where others have the same score; 1 is the most."""
    taus = Taus(np.array(found))
    tau = taus.at(min(rank, len(found)))

    assert 0.0 <= tau <= 1.0
    below = sum(score < tau for score in found)
    assert below == taus.rank(tau)
    assert below <= min(rank, len(found))


@given(scores, st.integers(2, 12))
def test_a_spread_goes_from_none_to_all(found, count):
    """Each τ makes other rows wait; the first none, the last as many as can."""
    taus = Taus(np.array(found))
    spread = taus.spread(count)
    ranks = [taus.rank(tau) for tau in spread]

    assert sorted(set(ranks)) == ranks
    assert 0 == ranks[0]
    assert sum(score < 1.0 for score in found) == ranks[-1]


def test_taus_have_the_fewest_digits_that_do_the_same():
    """Between 0.712345 and 0.7189 it is 0.715 or shorter."""
    assert 0.718 == Taus(np.array([0.1, 0.712345, 0.7189, 0.9])).at(2)
    assert 0.7 == Taus(np.array([0.1, 0.6, 0.7189, 0.9])).at(2)


def test_deltas_begin_above_what_an_answer_takes():
    """The least useful one holds half a commit interval, both ways, the model and the reserve."""
    deployment = Deployment(commit_interval_ms=50, slow_reserve_ms=20, max_queue_delay_ms=5)
    least_ms = least_delta_ms(place(slow_ms=10.0, hop_ms=1.0, write_ms=2.0), deployment)
    found = deltas(least_ms, 6)

    assert 25 + 2 * 3 + 10 + 20 == least_ms
    assert least_ms < found[0] < 1.3 * least_ms
    assert (6, 2000) == (len(found), found[-1])
    assert 12_000 == deltas(1_000.0, 6)[-1]


def test_a_grid_has_today_first_and_one_delta_where_nothing_waits():
    """All other pairs once."""
    found = grid([0.0, 0.9], [100, 500], TODAY)

    assert [TODAY, (0.0, 500), (0.9, 100)] == [
        found[0],
        *((it.tau, it.delta_ms) for it in found[1:]),
    ]


@pytest.mark.parametrize(
    ("taus", "all_deltas", "sentence"),
    [
        ([1.5], [10], "tau is 1.5, but it must lie between 0 and 1."),
        ([0.5], [-1], "delta_ms is -1, but it must lie between 0 and 3,600,000."),
        ([], [10], "A sweep needs one tau and one delta_ms at least."),
        ([0.5] * 100, [10] * 100, "100 tau and 100 delta_ms are 10,000 points, and 5,000 is the"),
    ],
)
def test_absurd_grids_are_refused(taus, all_deltas, sentence):
    """One sentence for each."""
    with pytest.raises(ConfigError) as caught:
        grid(taus, all_deltas, TODAY)

    assert str(caught.value).startswith(sentence)


def test_refining_looks_between_neighbours_and_ends():
    """New settings lie beside those of the frontier, at most so many; after some rounds no more."""
    taus = Taus(np.random.default_rng(0).random(1_000))
    known = set(grid(taus.spread(5), [100, 1_000], TODAY))
    near = sorted(known, key=lambda it: (it.tau, it.delta_ms))

    assert 3 == len(beside(near, known, taus, 3))
    rounds = 0
    while found := beside(sorted(known, key=lambda it: it.tau), known, taus, 10_000):
        assert not known & set(found)
        assert all(100 <= it.delta_ms <= 1_000 for it in found)
        known |= set(found)
        rounds += 1
    assert 3 < rounds < 20
