"""`by_halves`: the culprits of a batch are found, and all others are answered."""

from hypothesis import given
from hypothesis import strategies as st

from hunch.errors import InferenceFailed
from hunch.inference.halving import by_halves


@given(st.lists(st.booleans(), min_size=1, max_size=40))
async def test_just_the_culprits_fail(is_bad):
    """The pieces are the values in their order; a failure is of one value, an answer of no bad."""

    async def ask(rows):
        if any(is_bad[row] for row in rows):
            raise InferenceFailed("no")
        return sum(rows)

    found = await by_halves(range(len(is_bad)), ask)

    assert list(range(len(is_bad))) == [row for rows, _ in found for row in rows]
    for rows, answer in found:
        if isinstance(answer, InferenceFailed):
            assert [True] == [is_bad[row] for row in rows]
        else:
            assert sum(rows) == answer
    assert any(is_bad) or 1 == len(found)
