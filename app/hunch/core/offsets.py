"""Which offset may be committed when work ends out of order."""

from collections import deque


class ContiguousPrefix:
    """The offset below which everything that was started is done.

    Offsets start in ascending order, with gaps (transaction markers), and end in any order.
    """

    def __init__(self, position: int) -> None:
        self._started: deque[int] = deque()
        self._done: set[int] = set()
        self._position = position

    def start(self, offset: int) -> None:
        """Work on this offset has begun; offsets come in ascending order."""
        self._started.append(offset)
        self._position = offset + 1

    def done(self, offset: int) -> None:
        """Work on this offset is finished and may be committed."""
        self._done.add(offset)

    def passed(self, position: int) -> None:
        """The reader has passed everything below `position`; markers may lie in between."""
        self._position = max(self._position, position)

    def committable(self) -> int:
        """The offset to commit: the lowest one not done, or the position when all are."""
        while self._started and self._started[0] in self._done:
            self._done.discard(self._started.popleft())
        return self._started[0] if self._started else self._position

    def __len__(self) -> int:
        """How many offsets are held back, finished ones behind an unfinished one included."""
        return len(self._started)
