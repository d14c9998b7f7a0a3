"""The stage processes: two of each stage in slots, hit and started again.

A slot is a place for a process, as `join-0`; who sits in it changes. Nothing here waits for long:
an end that was asked for is noticed by `tend`, which also starts again what is due.
"""

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.brokers import ROOT
from tests.chaos import odd_stage
from tests.chaos.schedule import STAGES
from tests.kafka.processes import Event, HunchProcess, surroundings

TWO = 2
END_S = 15.0
"""SIGTERM is given so long: the drain, leaving, and a machine that is busy."""
AGAIN_S = 1.0
"""What ended by itself is started again after so long."""


@dataclass(slots=True)
class Place:
    """A process that runs in a slot.

    Attributes:
        ends_by: until when an end that was asked for must come, in epoch s.
        back_in_s: how long after that end the slot is filled again; None for never.
    """

    process: HunchProcess
    is_frozen: bool = False
    ends_by: float | None = None
    back_in_s: float | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that is gone, and what it said."""

    slot: str
    code: int | None
    was_asked: bool
    events: list[Event]


class Crew:
    """All processes of a run.

    Args:
        folder: where they run and where their logs go, a file for each slot.
        settings: of Hunch, for all of them.
        oddities: what `odd_stage` reads.
        app: the folder that holds the package `hunch`.

    Attributes:
        ended: all that are gone.
        hung: slots whose process did not end in time after SIGTERM.
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, object], oddities: str, app: Path
    ) -> None:
        self.ended: list[Ended] = []
        self.hung: list[str] = []
        self._folder = folder
        self._arguments = [f"--set={key}={value}" for key, value in settings.items()]
        self._environment = surroundings(
            PYTHONPATH=os.pathsep.join([str(app), str(ROOT)]), **{odd_stage.VARIABLE: oddities}
        )
        self._places: dict[str, Place] = {}
        self._back_at: dict[str, float] = {}
        self._extras = 0

    def start_all(self) -> None:
        """Two of each stage."""
        for stage in STAGES:
            for number in range(TWO):
                self._start(f"{stage}-{number}")

    def wait_ready(self, timeout_s: float = 90.0) -> None:
        """Returns once each has logged that it is ready."""
        for place in self._places.values():
            place.process.wait_ready(timeout_s)

    def live(self, stage: str) -> list[str]:
        """Slots of a stage whose process runs, and is neither frozen nor ending."""
        return [
            slot
            for slot, place in self._places.items()
            if stage_of(slot) == stage
            and place.process.is_running
            and not place.is_frozen
            and place.ends_by is None
        ]

    def owned(self, slot: str) -> frozenset[int]:
        """The partitions that the group gave this process last."""
        return frozenset(self._places[slot].process.owned())

    def extra(self, stage: str) -> str:
        """Starts one more of a stage, in a slot of its own."""
        self._extras += 1
        slot = f"{stage}-x{self._extras}"
        self._start(slot)
        return slot

    def kill(self, slot: str, back_in_s: float | None) -> None:
        """Kill -9; back after so long, or never."""
        self._places[slot].process.kill()
        self._vacate(slot, back_in_s, was_asked=True)

    def freeze(self, slot: str) -> None:
        """SIGSTOP."""
        self._places[slot].is_frozen = True
        self._places[slot].process.freeze()

    def thaw(self, slot: str) -> None:
        """SIGCONT."""
        self._places[slot].is_frozen = False
        self._places[slot].process.thaw()

    def stop(self, slot: str, back_in_s: float | None) -> None:
        """SIGTERM; back so long after its end, or never."""
        place = self._places[slot]
        place.ends_by, place.back_in_s = time.time() + END_S, back_in_s
        place.process.ask_to_end()

    def tend(self) -> None:
        """Fills slots that are due, and notes what has ended."""
        now = time.time()
        for slot, at in list(self._back_at.items()):
            if at <= now:
                del self._back_at[slot]
                self._start(slot)
        for slot, place in list(self._places.items()):
            was_asked = place.ends_by is not None
            is_running = place.process.is_running
            if is_running and place.ends_by is not None and place.ends_by < now:
                self.hung.append(slot)
            elif is_running:
                continue
            place.process.kill()
            self._vacate(slot, place.back_in_s if was_asked else AGAIN_S, was_asked=was_asked)

    def end(self) -> None:
        """SIGTERM for all; returns when all are gone."""
        self._back_at.clear()
        for slot, place in self._places.items():
            if place.is_frozen:
                self.thaw(slot)
            place.back_in_s = None
            if place.ends_by is None and place.process.is_running:
                self.stop(slot, None)
        while self._places:
            self.tend()
            self._back_at.clear()
            time.sleep(0.05)

    def kill_all(self) -> None:
        """Leaves nothing behind, whatever has happened."""
        for place in self._places.values():
            place.process.kill()

    def events(self) -> Iterator[tuple[str, Event]]:
        """All that was logged, by slot."""
        for ended in self.ended:
            for event in ended.events:
                yield ended.slot, event
        for slot, place in self._places.items():
            for event in place.process.events:
                yield slot, event

    def _start(self, slot: str) -> None:
        process = HunchProcess(
            slot,
            ["run", stage_of(slot), *self._arguments],
            self._folder,
            self._environment,
            program=odd_stage.program(),
            log=self._folder / f"{slot}.jsonl",
        )
        self._places[slot] = Place(process)

    def _vacate(self, slot: str, back_in_s: float | None, *, was_asked: bool) -> None:
        process = self._places.pop(slot).process
        self.ended.append(Ended(slot, process.exit_code, was_asked, process.events))
        if back_in_s is not None:
            self._back_at[slot] = time.time() + back_in_s


def stage_of(slot: str) -> str:
    """The stage whose process sits in a slot."""
    return slot.partition("-")[0]


def is_extra(slot: str) -> bool:
    """Whether it is one that joined for a while."""
    return "-x" in slot
