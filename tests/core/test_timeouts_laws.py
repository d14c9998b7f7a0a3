"""Laws of τ under congestion."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hunch.core.timeouts import timeout_aware_tau
from hunch.errors import ConfigError

SHARES = st.floats(0.0, 1.0)
TAUS = st.lists(SHARES, min_size=1, max_size=9).map(np.array)


@given(TAUS, SHARES)
def test_without_timeouts_tau_is_unchanged(taus, accuracy):
    """At F = 0 the taus are the same to the last bit."""
    assert taus.tolist() == timeout_aware_tau(taus, accuracy, 0.0).tolist()


@given(TAUS, SHARES, SHARES, SHARES)
def test_tau_falls_as_timeouts_grow(taus, accuracy, one, other):
    """More timeouts never raise a τ; it stays in [0, 1]; at F = 1 it is 0."""
    fewer, more = sorted((one, other))
    high, low = (timeout_aware_tau(taus, accuracy, share) for share in (fewer, more))

    assert (taus >= high).all()
    assert (high >= low).all()
    assert (low >= 0.0).all()
    assert not timeout_aware_tau(taus, accuracy, 1.0).any()


@given(TAUS, SHARES, SHARES)
def test_the_order_of_taus_stays(taus, accuracy, share):
    """A label with a greater τ keeps it."""
    found = timeout_aware_tau(np.sort(taus), accuracy, share)

    assert (np.diff(found) >= -1e-12).all()


def test_it_is_the_formula():
    """It is a - cost / (1 - F), with the cost that τ tells: 0.95 - 0.15 / 0.5 = 0.65."""
    assert 0.65 == pytest.approx(timeout_aware_tau(np.array([0.8]), 0.95, 0.5)[0])


@pytest.mark.parametrize(("accuracy", "share"), [(1.1, 0.0), (0.9, -0.1), (0.9, float("nan"))])
def test_shares_that_are_none_are_refused(accuracy, share):
    """With a sentence that names what is wrong."""
    with pytest.raises(ConfigError, match="must lie between 0 and 1"):
        timeout_aware_tau(np.array([0.8]), accuracy, share)
