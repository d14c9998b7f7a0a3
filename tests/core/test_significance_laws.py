"""Exact tests: a false promise is made with a probability of at most δ, however few the rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, multinomial

from hunch.core.significance import loss_p_value, risk_p_value, upper_bound

SHARES = st.integers(0, 10**6).map(lambda millionths: millionths / 10**6)
"""Numbers that are not so near 0 that scipy's probabilities overflow."""


@given(st.integers(0, 60), SHARES, SHARES, st.floats(0.01, 0.5))
def test_a_risk_above_the_limit_passes_with_at_most_delta(rows, limit, more, level):
    """Summed over all that can be counted, for every risk from the limit up."""
    risk = limit + more * (1.0 - limit)
    counts = np.arange(rows + 1)
    passes = [risk_p_value(int(count), rows, limit) <= level for count in counts]

    assert binom.pmf(counts, rows, risk)[passes].sum() <= level + 1e-9


@given(st.integers(1, 60), SHARES, st.floats(0.01, 0.5))
def test_the_upper_bound_is_missed_with_at_most_its_level(rows, share, level):
    """The probability of counts whose bound lies below the truth."""
    counts = np.arange(rows + 1)
    misses = [upper_bound(int(count), rows, level) < share - 1e-12 for count in counts]

    assert binom.pmf(counts, rows, share)[misses].sum() <= level + 1e-9


PASSING: dict[tuple[int, float], list[tuple[int, int]]] = {}


def passing(rows, limit):
    """Losses and gains whose test passes at 0.1."""
    if (rows, limit) not in PASSING:
        PASSING[rows, limit] = [
            (losses, gains)
            for losses in range(rows + 1)
            for gains in range(rows + 1 - losses)
            if loss_p_value(losses, gains, rows, limit, 0.1) <= 0.1
        ]
    return PASSING[rows, limit]


@settings(max_examples=200)
@given(
    st.sampled_from([(10, 0.3), (10, 0.05), (16, 0.2), (1, 0.5), (16, 0.0)]),
    SHARES,
    SHARES,
)
def test_a_loss_above_the_limit_passes_with_at_most_delta(case, one, other):
    """Summed over all pairs of counts, whatever the probability of gains."""
    rows, limit = case
    gain = one * (1.0 - limit) / 2.0
    loss = gain + limit + other * (1.0 - limit - 2.0 * gain)
    rest = max(0.0, 1.0 - loss - gain)
    counts = [(losses, gains, rows - losses - gains) for losses, gains in passing(rows, limit)]
    chances = multinomial.pmf(counts, rows, [loss, gain, rest]) if counts else np.zeros(1)

    assert np.nansum(chances) <= 0.1 + 1e-9


def test_the_test_of_losses_wastes_little():
    """At the limit it passes in 3 to 5 of 100 cases where 5 are allowed, with many rows or few."""
    rng = np.random.default_rng(1)
    for rows, limit, gain in ((400, 0.02, 0.03), (100, 0.1, 0.1)):
        drawn = rng.multinomial(rows, [gain + limit, gain, 1 - 2 * gain - limit], 1000)
        values: dict[tuple[int, int], float] = {}
        for losses, gains, _ in drawn.tolist():
            if (losses, gains) not in values:
                values[losses, gains] = loss_p_value(losses, gains, rows, limit, 0.05)
        passed = [values[losses, gains] <= 0.05 for losses, gains, _ in drawn.tolist()]

        assert 0.025 <= np.mean(passed) <= 0.055


@given(st.integers(0, 10), st.integers(0, 10), st.integers(1, 10))
def test_fewer_losses_and_more_gains_are_no_worse(losses, gains, limit):
    """The p-value falls, or stays."""
    here = loss_p_value(losses, gains, 30, limit / 20, 0.05)

    assert loss_p_value(losses + 1, gains, 30, limit / 20, 0.05) >= here - 1e-9


def test_without_rows_nothing_passes():
    """Both p-values are 1."""
    assert [1.0, 1.0] == [risk_p_value(0, 0, 0.1), loss_p_value(0, 0, 0, 0.1, 0.05)]


@pytest.mark.parametrize(("rows", "passes"), [(58, False), (59, True)])
def test_a_hundred_percent_right_needs_enough_rows(rows, passes):
    """(1 - 0.05)^59 is the first power below 0.05."""
    assert passes == (risk_p_value(0, rows, 0.05) <= 0.05)
