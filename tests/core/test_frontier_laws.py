"""The frontier's laws: nothing on it is dominated, what is off it is, and choices stand on it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hunch.core.frontier import CHOICES, OperatingPoint, choose, dominates, frontier
from hunch.errors import ConfigError

few = st.integers(0, 4)
points = st.lists(
    st.builds(
        lambda accuracy, p95, cost, in_time: OperatingPoint(
            accuracy / 4, 10.0 * p95, float(cost), float(in_time)
        ),
        few,
        few,
        few,
        few,
    ),
    max_size=25,
)
"""Of few values each, so that ties are common."""


def chosen(name, given_points, epsilon=0.25, slow_accuracy=0.75):
    """The choice of that name."""
    return choose(name, given_points, slow_accuracy=slow_accuracy, epsilon=epsilon)


@given(points)
def test_nothing_on_the_frontier_is_dominated(given_points):
    """No point dominates one of the frontier."""
    for index in frontier(given_points):
        assert not any(dominates(other, given_points[index]) for other in given_points)


@given(points)
def test_what_is_off_the_frontier_is_no_better_than_one_on_it(given_points):
    """Every other point is worse than some point of the frontier, or its equal."""
    found = frontier(given_points)

    for index in set(range(len(given_points))) - set(found):
        own = given_points[index]
        assert any(
            dominates(given_points[best], own) or given_points[best][:3] == own[:3]
            for best in found
        )


@given(points, st.randoms(use_true_random=False))
def test_the_order_of_the_points_does_not_matter(given_points, chance):
    """Shuffled, the frontier and every choice have the same values."""
    shuffled = list(given_points)
    chance.shuffle(shuffled)

    assert [given_points[i][:3] for i in frontier(given_points)] == [
        shuffled[i][:3] for i in frontier(shuffled)
    ]
    for name in CHOICES:
        found = chosen(name, given_points), chosen(name, shuffled)
        values = [
            None if index is None else pool[index][:3]
            for index, pool in zip(found, (given_points, shuffled), strict=True)
        ]
        assert values[0] == values[1]


@given(points, st.sampled_from(CHOICES))
def test_a_choice_stands_on_the_frontier(given_points, name):
    """What is chosen is not dominated; only where nothing is within ε there is no choice."""
    index = chosen(name, given_points)

    if index is None:
        is_bound = name in {"least-cost", "fastest"}
        assert not given_points or is_bound
        assert all(point.accuracy < 0.5 for point in given_points if is_bound)
    else:
        assert index in frontier(given_points)


@given(points)
def test_a_choice_within_epsilon_is_the_best_of_all_points_within_it(given_points):
    """Points off the frontier would not have been cheaper, faster or more often in time."""
    within = [point for point in given_points if point.accuracy >= 0.5]
    cheapest, fastest = chosen("least-cost", given_points), chosen("fastest", given_points)

    if cheapest is not None and fastest is not None:
        assert min(point.cost for point in within) == given_points[cheapest].cost
        assert min(point.p95_ms for point in within) == given_points[fastest].p95_ms


def test_of_equal_points_one_is_on_the_frontier():
    """The first, or the one with more right answers in time; it is chosen."""
    twins = [OperatingPoint(0.9, 10.0, 1.0, 5.0)] * 3
    better = twins[0]._replace(in_time_per_s=6.0)

    assert ([0], [2]) == (frontier(twins), frontier([*twins[1:], better]))
    assert [0] * 4 == [chosen(name, twins) for name in CHOICES]


def test_the_knee_is_where_nothing_is_given_away():
    """Of two extremes and one that is nearly as good as the better in everything, the latter."""
    extremes = [OperatingPoint(0.80, 10.0, 0.0), OperatingPoint(0.95, 200.0, 1.0)]

    assert 2 == chosen("knee", [*extremes, OperatingPoint(0.94, 20.0, 0.2)])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"name": "luck"}, "There is no choice 'luck': use one of least-cost, fastest"),
        ({"epsilon": 1.5}, "epsilon is 1.5, but it must lie between 0 and 1."),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments, sentence):
    """One sentence for each."""
    with pytest.raises(ConfigError) as caught:
        chosen(**({"name": "knee", "given_points": []} | arguments))

    assert str(caught.value).startswith(sentence)
