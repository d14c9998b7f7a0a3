"""Who owned which partition when, and how long each was silent meanwhile."""

import asyncio
import time
from collections.abc import Sequence
from itertools import pairwise

from tests.kafka.checker import Checker, Seen
from tests.kafka.load import Load
from tests.kafka.processes import StageProcess

SETTLED_S = 20.0
LOOK_S = 0.02
WORTH_TELLING_S = 0.25


class Owners:
    """The processes of one stage, which share its partitions."""

    def __init__(self, processes: Sequence[StageProcess], partitions: int) -> None:
        self.processes = list(processes)
        self._partitions = set(range(partitions))

    def now(self) -> dict[int, StageProcess]:
        """The owner of each partition, as the processes have heard it from their group."""
        return {p: process for process in self.processes for p in process.owned()}

    async def settle(self, since_s: float, among: Sequence[StageProcess] | None = None) -> None:
        """Returns once a rebalance after `since_s` has given each partition one open lane."""
        members = self.processes if among is None else among
        until = time.monotonic() + SETTLED_S
        while not self._have_settled(members, since_s):
            told = {f"{i}": sorted(process.owned()) for i, process in enumerate(members)}
            assert time.monotonic() < until, f"no settled ownership: {told}"
            await asyncio.sleep(LOOK_S)

    def _have_settled(self, members: Sequence[StageProcess], since_s: float) -> bool:
        assigned = [process.of("assigned") for process in members]
        if not all(events and events[-1]["seen_s"] > since_s for events in assigned):
            return False
        shares = [process.owned() for process in members]
        is_split = sum(map(len, shares)) == len(self._partitions) == len(set().union(*shares))
        return is_split and all(
            share == open_lanes(process) for share, process in zip(shares, members, strict=True)
        )


def open_lanes(process: StageProcess) -> set[int]:
    """The partitions that a process reads, by what it has logged."""
    lanes: set[int] = set()
    for event in process.events:
        if event["event"] == "lane_opened":
            lanes.add(event["partition"])
        elif event["event"] in {"lane_closed", "lane_lost"}:
            lanes.discard(event["partition"])
    return lanes & process.owned()


def longest_gap_s(times_s: Sequence[float], from_s: float, to_s: float) -> tuple[float, float]:
    """The longest silence that touches a window, and when it ended.

    It counts from the last time before the window to the first one after it.
    """
    before = [at for at in times_s if at <= from_s][-1:]
    after = [at for at in times_s if at >= to_s][:1]
    inside = [at for at in times_s if from_s < at < to_s]
    assert before, "nothing had arrived before the window"
    assert after, "nothing arrived after the window"
    return max((later - earlier, later) for earlier, later in pairwise(before + inside + after))


class Window:
    """One event of a rebalance, seen per partition.

    Args:
        name: what happened.
        before: the owners before it.
        offset: of a partition's decisions: those of the joiner stand behind those of `fast`.
        paths: only decisions of these paths tell of the stage.
    """

    def __init__(
        self, name: str, before: dict[int, StageProcess], *, offset: int, paths: tuple[str, ...]
    ) -> None:
        self.name = name
        self.kept: dict[int, float] = {}
        self.moved: dict[int, float] = {}
        self.paused_s = 0.0
        self._why = ""
        self.from_s = time.monotonic()
        self.from_ms = self.to_ms = time.time() * 1000
        self._before = before
        self._offset = offset
        self._paths = paths

    @property
    def kept_gap_s(self) -> float:
        """The longest silence where the owner stayed, without the time this process stood still."""
        return max(self.kept.values()) - self.paused_s

    async def close(self, checker: Checker, load: Load, after: dict[int, StageProcess]) -> None:
        """Waits for signs of life everywhere, and measures the gaps."""
        to_s, self.to_ms = time.monotonic(), time.time() * 1000
        partitions = [self._offset + p for p in after]
        await checker.hear(partitions, to_s, SETTLED_S, *self._paths)
        for partition, owner in after.items():
            decisions = checker.of(self._offset + partition, *self._paths)
            arrivals = [seen.arrived_s for seen in decisions]
            gap_s, ended_s = longest_gap_s(arrivals, self.from_s, to_s)
            if self._before.get(partition) is owner and self._stayed(partition, owner):
                self._explain(gap_s, decisions[arrivals.index(ended_s)])
                self.kept[partition] = gap_s
            else:
                self.moved[partition] = gap_s
        ticks_s = [*load.ticks_s, time.monotonic()]
        self.paused_s, _ = longest_gap_s(ticks_s, self.from_s, to_s)

    def told(self) -> str:
        """The gaps in words."""
        return (
            f"{self.name}: kept {_gaps(self.kept)}, moved {_gaps(self.moved)}, "
            f"the tester itself {self.paused_s * 1000:.0f} ms{self._why}"
        )

    def _stayed(self, partition: int, owner: StageProcess) -> bool:
        """Whether no rebalance in the window took it away and brought it back."""
        told = [event for event in owner.of("assigned") if event["seen_s"] > self.from_s]
        return all(partition in event["partitions"] for event in told)

    def _explain(self, gap_s: float, ended_by: Seen) -> None:
        """Says where the time of the longest silence of kept partitions went."""
        if gap_s > max([WORTH_TELLING_S, *self.kept.values()]):
            body = ended_by.body
            self._why = (
                f"; the longest of kept ended with a message that had waited "
                f"{body['times']['total']:.0f} ms for its decision, which was appended "
                f"{ended_by.timestamp_ms - body['at_ms']:.0f} ms and seen "
                f"{ended_by.arrived_ms - body['at_ms']:.0f} ms later"
            )


def _gaps(gaps: dict[int, float]) -> str:
    longest = ", ".join(f"{gap_s * 1000:.0f}" for gap_s in sorted(gaps.values()))
    return f"{longest} ms" if gaps else "none"
