"""The outlook: what rows leave open counts, and a start by few of them is on the safe side."""

import numpy as np
import pytest

from hunch.core.power import outlook_of

TAUS = np.linspace(0.99, 0.0, 50)


def drawn(rows, seed):
    """Scores, and harms that fall as the score rises."""
    chance = np.random.default_rng(seed)
    scores = chance.beta(5, 1, rows)
    return scores, chance.random(rows) < 0.4 * (1 - scores)


@pytest.mark.parametrize("seed", range(5))
def test_the_curves_that_rows_leave_possible_lie_around_the_likeliest(seed):
    """Many rows leave little open, few leave much."""
    spreads = []
    for rows in (200, 20_000):
        scores, harms = drawn(rows, seed)
        outlook = outlook_of(scores, harms, TAUS)
        spread = outlook.draws.std(axis=0)
        spreads.append(spread[10:].mean())

        assert (abs(np.median(outlook.draws, axis=0) - outlook.risks) <= spread + 1e-3).all()
    assert spreads[1] < spreads[0] / 5


def test_the_first_candidate_is_chosen_by_more_than_the_likeliest_curve():
    """A start that passes by the likeliest curve alone has a lower chance where others count."""
    scores, harms = drawn(200, 0)
    outlook = outlook_of(scores, harms, TAUS)
    alone = outlook._chances(outlook.risks[None], 800, 0.06, 0.05)
    at = int(alone.argmax())

    assert outlook.chances(800, 0.06, 0.05)[at] < alone[at]


def test_rows_without_a_harm_leave_one_curve():
    """They say nothing of how the risk falls with the score."""
    scores, harms = drawn(200, 0)

    assert 1 == len(outlook_of(scores, np.zeros_like(harms), TAUS).draws)
