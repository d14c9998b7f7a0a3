"""`sweep.json`: all that a sweep has found, for reports, for programs, and for a live sweep.

One JSON object; a number that has an interval is `{"value", "low", "high"}`.

    version        of this format
    created        ISO 8601, UTC; `made_by` is the version of Hunch
    record         folder, sha256, rows that count, who says what is right, both models' accuracy
    models         name, version and sha256 of both
    measure        what is held against τ, with the `temperatures`; `policy` names where from
    place          what is measured of machine and broker (`hunch.evaluation.simulation.place`)
    deployment     processes and bounds (`hunch.evaluation.simulation.deployment`)
    load           rate, pattern, seconds, warm-up, seeds
    asked          ε, the deadline that is asked about, prices
    points         one for each τ and Δ: `tau`, `delta_ms`, `accept_rate` and an `outcome`
                   (`hunch.evaluation.simulation.outcome`)
    today          place in `points` of what the settings say
    frontier       places in `points`, from the cheapest to the dearest; there and in the choices
                   accuracy is the slow model's less the gap
    choices        name, place in `points` or null, and what it would change against today
    alone          `fast` and `slow`: outcomes of one model alone under the same load
    gains          for each τ: deferral rate, capacity and what it is of either model's alone
    live           points that were also measured on a broker, as predicted and as measured: names
                   are those of an outcome, `missed` are those that are too far apart
    notes          sentences that belong to the numbers
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hunch.core.frontier import ChoiceName
from hunch.core.policy import MeasureEntry, Models, Temperatures, first_problem
from hunch.errors import DataError
from hunch.evaluation.arrivals import Pattern
from hunch.evaluation.simulation.deployment import Deployment
from hunch.evaluation.simulation.outcome import Outcome, Prices
from hunch.evaluation.simulation.place import Place

VERSION = 1
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Index = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RecordEntry(_Part):
    """The record that the rows come from.

    Attributes:
        rows: that count.
        right_by: `label`, or `slow` where no row has one: then accuracy is agreement with it.
        fast_accuracy: of the fast model alone on these rows; `slow_accuracy` likewise.
    """

    folder: str
    sha256: str
    rows: Annotated[int, Field(ge=1)]
    right_by: Literal["label", "slow"]
    fast_accuracy: Share
    slow_accuracy: Share


class Load(_Part):
    """How messages came; `warm_up_s` and the longest Δ before them do not count."""

    rate_per_s: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    pattern: Pattern
    arrivals: str | None = None
    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    warm_up_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]


class Asked(_Part):
    """What the choices are made by; a `cost` of a point is its price, or its slow calls."""

    epsilon: Share
    in_time_ms: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    prices: Prices = Prices()


class Point(_Part):
    """One τ and Δ, `taus` as in a policy; `accept_rate` is the share of the rows that exit."""

    tau: Share
    taus: dict[str, Share] = Field(default_factory=dict)
    delta_ms: Annotated[int, Field(ge=0)]
    accept_rate: Share
    outcome: Outcome

    @property
    def cost(self) -> float:
        """Of a message: its price where prices are given, else its slow calls."""
        priced = self.outcome.cost
        return self.outcome.slow_calls.value if priced is None else priced.value


class Change(_Part):
    """What a choice would change against today: its number less today's."""

    accuracy: Finite
    p95_ms: Finite
    slow_calls: Finite
    cost: Finite
    in_time_per_s: Finite


class Choice(_Part):
    """A choice by name; without a point nothing is within ε."""

    name: ChoiceName
    point: Index | None
    changes: Change | None = None


class Gain(_Part):
    """What a cascade has over one model alone, in messages a second.

    Attributes:
        deferral_rate: share of the record's rows that wait.
        limit: 1 / deferral rate, more than that no slow model allows; None where nothing waits.
        capacity_per_s: the most that can be decided without one deferral too many.
        bottleneck: the stage that is at its end then.
        over_slow: capacity of that of the slow model alone; `over_fast` likewise.
        at_load_over_slow: decisions a second at this load, of those of the slow model alone;
            `at_load_over_fast` likewise; None where that one decides nothing.
    """

    tau: Share
    deferral_rate: Share
    limit: Finite | None
    capacity_per_s: Finite
    bottleneck: Literal["fast", "slow", "join"]
    over_slow: Finite
    over_fast: Finite
    at_load_over_slow: Finite | None
    at_load_over_fast: Finite | None


class LivePoint(_Part):
    """What was measured of one τ and Δ on a broker, beside what the simulation had predicted.

    Attributes:
        rate_per_s: messages that came, a second; how is the `pattern`.
        predicted: name → number; a name says its unit as in `p95_ms`, without one it is a share.
        measured: the same names.
        missed: those of them that differ by more than was allowed.
        busy: share of the cores of the sweep's machine that had work meanwhile.
    """

    tau: Share
    delta_ms: Annotated[int, Field(ge=0)]
    rate_per_s: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    pattern: Pattern = "poisson"
    predicted: Annotated[dict[str, Finite], Field(min_length=1)]
    measured: dict[str, Finite]
    missed: tuple[str, ...] = ()
    busy: Share | None = None

    @model_validator(mode="after")
    def _names_are_the_same(self) -> Self:
        names = set(self.predicted)
        if names != set(self.measured) or not names.issuperset(self.missed):
            raise ValueError("what is predicted, measured and missed has different names")
        return self


class SweepFile(_Part):
    """The whole file."""

    version: Literal[1] = 1
    created: str
    made_by: str
    record: RecordEntry
    models: Models
    measure: MeasureEntry
    temperatures: Temperatures
    policy: str | None = None
    place: Place
    deployment: Deployment
    load: Load
    asked: Asked
    points: Annotated[tuple[Point, ...], Field(min_length=1)]
    today: Index
    frontier: tuple[Index, ...]
    choices: tuple[Choice, ...]
    alone: dict[Literal["fast", "slow"], Outcome]
    gains: tuple[Gain, ...]
    live: tuple[LivePoint, ...] = ()
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _points_are_there(self) -> Self:
        named = [self.today, *self.frontier]
        named += [choice.point for choice in self.choices if choice.point is not None]
        if max(named) >= len(self.points):
            raise ValueError("it names points that it does not have")
        if set(self.alone) != {"fast", "slow"}:
            raise ValueError("it does not have both models alone")
        return self

    def choice(self, name: ChoiceName) -> Point | None:
        """The point of that name, None where there is none."""
        found = next((it.point for it in self.choices if it.name == name), None)
        return None if found is None else self.points[found]

    def accuracy_of(self, index: int) -> float:
        """Of a point, as the frontier has it: the slow model's less the gap."""
        return self.record.slow_accuracy - self.points[index].outcome.gap.value

    def marked(self) -> dict[int, list[str]]:
        """Places of the points that have a name → their names, the choices before `today`."""
        found: dict[int, list[str]] = {}
        for choice in self.choices:
            if choice.point is not None:
                found.setdefault(choice.point, []).append(choice.name)
        found.setdefault(self.today, []).append("today")
        return found

    def text(self) -> str:
        """As it stands in a file."""
        return self.model_dump_json(indent=1) + "\n"


def read_sweep(path: Path) -> SweepFile:
    """The sweep in a file; raises `DataError` where it is none."""
    try:
        return SweepFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        raise DataError(
            f"{path} is no sweep of the format {VERSION} ({first_problem(error)}): sweep again "
            "with this version."
        ) from None
