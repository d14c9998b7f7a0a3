"""The place of a key in a log with gaps: found by bisection, with few probes."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from hunch.kafka.log_search import Keyed, Span, lowest_from


class Log:
    """Offset → key; every other offset below `end` is a gap."""

    def __init__(self, keys: dict[int, int], end: int) -> None:
        self.probes = 0
        self._keys = keys
        self._end = end

    def place(self, target: int, pivot: float = 0.5) -> int:
        """What the bisection answers."""
        return asyncio.run(lowest_from(self._probe, Span(0, self._end), target, pivot))

    async def _probe(self, start: int, end: int) -> Keyed | None:
        self.probes += 1
        offset = min((at for at in self._keys if start <= at < end), default=None)
        return None if offset is None else Keyed(offset, self._keys[offset])


logs = st.builds(
    lambda offsets, keys, more: (
        dict(zip(sorted(offsets), sorted(keys), strict=False)),
        max(offsets, default=0) + 1 + more,
    ),
    st.sets(st.integers(0, 400), max_size=60),
    st.lists(st.integers(0, 400), min_size=60, max_size=60),
    st.integers(0, 50),
)


@given(logs, st.integers(-1, 401), st.sampled_from([0.5, 0.37, 0.61, 0.9]))
def test_the_place_parts_smaller_keys_from_the_others(log, target, pivot):
    """No larger or equal key stands before it and no smaller one behind, wherever the gaps are."""
    keys, end = log
    place = Log(keys, end).place(target, pivot)

    assert 0 <= place <= end
    assert [] == [at for at, key in keys.items() if at < place and key >= target]
    assert [] == [at for at, key in keys.items() if at >= place and key < target]


def test_few_probes_are_enough():
    """A million records take about as many probes as their number has binary digits."""
    log = Log({}, 2**20)

    assert 0 == log.place(5)
    assert 21 >= log.probes


def test_another_pivot_looks_past_a_run_out_of_place():
    """A run written far from its place misleads one bisection, and another one not."""
    keys = dict(enumerate([*range(500), *range(90, 100), *range(500, 1000)]))

    found = {pivot: Log(keys, len(keys)).place(300, pivot) for pivot in (0.5, 0.37, 0.61)}

    assert 300 in found.values()
    assert 300 != found[0.5]
