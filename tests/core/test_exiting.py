"""The exit policy: monotone in τ, exact at its edges, honest about deadlines."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hunch.core.confidence import max_probability
from hunch.core.exiting import ExitPolicy, asked_deadline_ms
from hunch.errors import ConfigError

scores = st.lists(st.floats(0.0, 1.0), max_size=50).map(np.array)
tau = st.floats(0.0, 1.0)


def policy(**changes: Any):
    """A policy with the fields that a test does not care about filled in."""
    fields: dict[str, Any] = {"name": "test", "tau": 0.9, "delta_ms": 500}
    return ExitPolicy(**(fields | changes))


def exits(scores, **changes: Any):
    """Which of these best probabilities of two labels exit."""
    best = np.asarray(scores, dtype=np.float32)
    rows = np.stack([best, np.zeros_like(best)], axis=1)
    return np.array(policy(**changes).judge(rows).exits, dtype=bool)


@given(scores, tau, tau)
def test_raising_tau_never_raises_the_exit_rate(scores, one, other):
    """What exits at the higher τ exits at the lower one too."""
    low, high = sorted((one, other))

    assert not np.any(exits(scores, tau=high) & ~exits(scores, tau=low))


@given(scores)
def test_at_tau_zero_everything_exits(scores):
    """τ = 0 lets every message exit."""
    assert exits(scores, tau=0.0).all()


def test_a_score_equal_to_tau_exits():
    """Exit iff score ≥ τ, the equal one included; NaN never."""
    assert [False, True, True, False] == exits([0.4999, 0.5, 0.6, np.nan], tau=0.5).tolist()


def test_a_label_may_have_its_own_tau():
    """The τ of a row is that of its best label, where the policy has one."""
    rows = np.array([[0.7, 0.3], [0.3, 0.7], [0.5, 0.5]], dtype=np.float32)
    verdicts = policy(tau=0.8, taus={1: 0.6}).judge(rows)

    assert [0, 1, 0] == verdicts.best
    assert [0.8, 0.6, 0.8] == verdicts.taus
    assert [False, True, False] == verdicts.exits


def test_the_score_is_the_best_probability():
    """The score of a row is its largest probability, unchanged by the wider type."""
    rows = np.array([[0.1, 0.9], [0.6, 0.4]], dtype=np.float32)

    assert [float(np.float32(0.9)), float(np.float32(0.6))] == max_probability(rows).tolist()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, (None, False)),
        (b"1700000000000", (1_700_000_000_000, False)),
        (b" 1700000000000 ", (1_700_000_000_000, False)),
        (b"1700000000", (None, True)),
        (b"soon", (None, True)),
        (b"1.7e12", (None, True)),
        (b"-1700000000000", (None, True)),
        (b"", (None, True)),
    ],
)
def test_a_clients_deadline_counts_only_in_milliseconds(header, expected):
    """Not an integer, or seconds: ignored, and said so."""
    assert expected == asked_deadline_ms(header)


def test_the_earlier_deadline_counts():
    """Δ from the deferral, or the client's own limit where that is earlier."""
    assert [1_500, 1_200, 1_500] == [
        policy().deadline_ms(1_000, 900, asked) for asked in (None, 1_200, 9_000)
    ]


def test_a_deadline_can_count_from_the_record():
    """With deadline_from = ingest Δ starts at the record's timestamp."""
    assert policy(deadline_from="ingest").deadline_ms(1_000, 900, None) == 1_400


def test_old_messages_are_stale_only_where_asked_for():
    """Without max_age_ms nothing is stale, with it what is older."""
    assert [False, False, True] == [
        policy().is_stale(0, 1_000_000),
        policy(max_age_ms=100).is_stale(900, 1_000),
        policy(max_age_ms=100).is_stale(899, 1_000),
    ]


@pytest.mark.parametrize("changes", [{"tau": 1.5}, {"tau": -0.1}, {"delta_ms": -1}])
def test_nonsense_is_refused(changes):
    """A policy that cannot be meant is refused with a sentence."""
    with pytest.raises(ConfigError, match="must"):
        policy(**changes)
