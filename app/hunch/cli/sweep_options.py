"""Numbers and lists on the command line of `hunch sweep`, and one sentence for each bad one."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hunch.errors import ConfigError

if TYPE_CHECKING:
    from hunch.evaluation.simulation.outcome import Prices

STAGES = ("fast", "slow", "join")
LARGEST_DELTA_MS = 3_600_000
PRICES = ("fast-call", "slow-call", "fast-second", "slow-second")


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """What was asked for, within its bounds."""

    rates: Sequence[float]
    seconds: float
    warm_up: float
    epsilon: float
    deadline_ms: float | None

    def __post_init__(self) -> None:
        """Raises `ConfigError` for what cannot be meant."""
        for name, value, is_good, bounds in (
            *(("--rate", it, it > 0, "above 0 messages a second") for it in self.rates),
            ("--seconds", self.seconds, 0 < self.seconds <= 86_400, "above 0, at most 86,400"),
            ("--warm-up", self.warm_up, 0 <= self.warm_up <= 86_400, "0 or more, at most 86,400"),
            ("--epsilon", self.epsilon, 0 <= self.epsilon <= 1, "from 0 to 1, as a share"),
            (
                "--deadline-ms",
                self.deadline_ms or 1.0,
                self.deadline_ms is None or self.deadline_ms > 0,
                "above 0",
            ),
        ):
            if not (math.isfinite(value) and is_good):
                shown = self.deadline_ms if name == "--deadline-ms" else value
                raise ConfigError(f"{name} is {shown:g}, but it must be {bounds}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """What was asked for with `--live`, and nothing of it without.

    Attributes:
        data: the file that was recorded.
        bootstrap: of the Kafka; None for a broker of its own.
        place: a file with a place that was measured before.
        place_out: where one goes that is measured now.
        measure_at: τ, Δ and rate.
        rates: each for all points.
        points: of the frontier, where no grid is named.
        processes: of each stage.
        is_silent: whether no progress is shown, and no table.
    """

    is_on: bool
    data: Path | None
    bootstrap: str | None
    place: Path | None
    place_out: Path | None
    measure_at: str | None
    rates: Sequence[float]
    points: int
    processes: Mapping[str, int]
    is_silent: bool

    def __post_init__(self) -> None:
        """Raises `ConfigError` for what does not go together."""
        for option, is_given in (
            ("--data", self.data is not None),
            ("--bootstrap", self.bootstrap is not None),
            ("--place-out", self.place_out is not None),
            ("--measure-at", self.measure_at is not None),
            ("More than one --rate", len(self.rates) > 1),
        ):
            if is_given and not self.is_on:
                raise ConfigError(f"{option} is for --live: add it, or leave this out.")
        if not self.is_on:
            return
        if self.data is None:
            raise ConfigError(
                "--live sends the messages that were recorded: name their file with --data FILE."
            )
        if not self.data.is_file():
            raise ConfigError(f"There is no file {self.data}: correct --data.")
        if self.place is not None and (self.place_out or self.measure_at):
            raise ConfigError(
                "With --place nothing is measured: leave --place-out and --measure-at out."
            )
        self.measured_at()

    def address(self) -> str | None:
        """What `bootstrap` is to be: a broker of its own where none is named."""
        return (self.bootstrap or "embedded") if self.is_on else None

    def measured_at(self) -> tuple[float, int, float] | None:
        """τ, Δ and rate; raises `ConfigError` for other things."""
        if self.measure_at is None:
            return None
        tau, delta, rate = required(self.measure_at, "--measure-at", least=3, most=3)
        if not (0 <= tau <= 1 and 0 <= delta <= LARGEST_DELTA_MS and rate > 0):
            raise ConfigError(
                f"--measure-at {self.measure_at} cannot be: write tau, delta_ms and messages a "
                "second, like 0.9,500,100."
            )
        return tau, round(delta), rate


def required(
    text: str, option: str, *, separator: str = ",", least: int = 1, most: int = 10_000
) -> list[float]:
    """The numbers in a list; raises `ConfigError` for other things, too few or too many."""
    try:
        found = [float(part) for part in text.split(separator) if part.strip()]
    except ValueError:
        found = []
    if not least <= len(found) <= most or not all(map(math.isfinite, found)):
        example = "12x6" if separator == "x" else "1,2,3"
        raise ConfigError(f"{option} {text!r} cannot be read: write numbers like {example}.")
    return found


def processes_of(text: str) -> dict[str, int]:
    """Stage → processes of it, as in `fast=1,slow=2`."""
    found: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        stage, _, count = part.partition("=")
        if stage.strip() not in STAGES or not count.strip().isdigit():
            raise ConfigError(
                f"--processes {text!r} cannot be read: write numbers of fast, slow and join, like "
                "fast=1,slow=2."
            )
        found[stage.strip()] = int(count)
    return found


def prices_of(texts: Sequence[str]) -> "Prices":
    """What calls and seconds cost, as in `slow-call=0.002`."""
    from hunch.evaluation.simulation.outcome import Prices  # noqa: PLC0415  needs the extra

    found: dict[str, float] = {}
    for text in texts:
        key, _, number = text.partition("=")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if key not in PRICES or not (math.isfinite(value) and value >= 0):
            raise ConfigError(
                f"--price {text} cannot be read: write one of {', '.join(PRICES)}, = and a number "
                "of 0 or more."
            )
        found[key.replace("-", "_")] = value
    return Prices(**found)
