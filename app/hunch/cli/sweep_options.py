"""Numbers and lists on the command line of `hunch sweep`, and one sentence for each bad one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hunch.errors import ConfigError

if TYPE_CHECKING:
    from hunch.evaluation.simulation.outcome import Prices

STAGES = ("fast", "slow", "join")
PRICES = ("fast-call", "slow-call", "fast-second", "slow-second")


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """What was asked for, within its bounds."""

    rate: float
    seconds: float
    warm_up: float
    epsilon: float
    deadline_ms: float | None

    def __post_init__(self) -> None:
        """Raises `ConfigError` for what cannot be meant."""
        for name, value, is_good, bounds in (
            ("--rate", self.rate, self.rate > 0, "above 0 messages a second"),
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
