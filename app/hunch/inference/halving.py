"""`by_halves`: one bad message spoils no other, also where the runtime fails on a whole batch."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from hunch.errors import InferenceFailed

V = TypeVar("V")
T = TypeVar("T")


async def by_halves(
    values: Sequence[V], ask: Callable[[Sequence[V]], Awaitable[T]]
) -> list[tuple[Sequence[V], T | InferenceFailed]]:
    """What a model answers to a batch; where it fails on the whole, halves find the culprit.

    Args:
        values: one or more.
        ask: answers some of them, or raises `InferenceFailed`.

    The pieces follow each other as the values do; a failure is of a single value.
    """
    try:
        return [(values, await ask(values))]
    except InferenceFailed as error:
        if len(values) == 1:
            return [(values, error)]
    middle = len(values) // 2
    first = await by_halves(values[:middle], ask)
    return first + await by_halves(values[middle:], ask)
