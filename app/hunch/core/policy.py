"""The policy file: what was calibrated, for which models, and what is promised of it.

A policy is made by `hunch calibrate`, read by the stages, and pushed to running ones with
`hunch policy push`. Its name ends in the checksum of its contents, so that the name in a decision
says exactly what decided.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hunch.core.confidence import Measure
from hunch.core.envelope import LONGEST_MS
from hunch.core.exiting import ExitPolicy
from hunch.errors import ConfigError, PolicyError

CHECKSUM_DIGITS = 8
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.001, 1000.0
"""Far beyond what is ever fitted; logits that are divided by less leave the range of float32."""
Temperature = Annotated[float, Field(ge=LOWEST_TEMPERATURE, le=HIGHEST_TEMPERATURE)]
Text = Annotated[str, Field(min_length=1, max_length=1000)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MeasureEntry(_Part):
    """How sure the fast model is: a measure of `hunch.core.confidence`, with its numbers."""

    name: Text = "max_probability"
    numbers: tuple[Finite, ...] = ()


class Temperatures(_Part):
    """What divides the logits of either model before they become probabilities."""

    fast: Temperature
    slow: Temperature


class ModelEntry(_Part):
    """A model that the policy was made for.

    `sha256` is over all that its scores depend on: the graph and the weights beside it, the
    tokenizer, and what its description says of labels, inputs and output. It is not over the
    temperature, which the policy replaces.
    """

    name: Text
    version: Text
    sha256: Sha256


class Models(_Part):
    """The pair that the policy was made for."""

    fast: ModelEntry
    slow: ModelEntry


class GoalEntry(_Part):
    """What was asked for; `confidence` where the promise is one with a probability."""

    name: Text
    limit: Finite
    confidence: Share | None = None


class Data(_Part):
    """What it was made from: a checksum of the records, and rows by what they were used for."""

    sha256: Sha256
    rows: dict[Literal["fit", "choose", "judge"], Annotated[int, Field(ge=0)]]
    seed: int


class Contents(_Part):
    """All that a policy says but its name.

    Attributes:
        version: of this format.
        created: when, as ISO 8601 in UTC.
        method: how τ was found.
        promise: what holds, at which confidence, as a sentence.
        goal: what was asked for.
        measure: from the fast model's probabilities to the score.
        tau: exit iff score ≥ τ.
        taus: fast label → its own τ; all other labels have the common one.
        temperatures: of both models.
        delta_ms: the time the slow model gets, where the policy says so.
        models: which it was made for.
        data: which it was made from.
        curve: columns of equal length, for plots: `tau` and what would come of it.
        judged: what τ did on rows that had no part in choosing it.
    """

    version: Literal[1] = 1
    created: Text
    method: Text
    promise: Text
    goal: GoalEntry
    measure: MeasureEntry = MeasureEntry()
    tau: Share
    taus: dict[str, Share] = Field(default_factory=dict)
    temperatures: Temperatures
    delta_ms: Annotated[int, Field(ge=0, le=LONGEST_MS)] | None = None
    models: Models
    data: Data
    curve: dict[str, list[Finite | None]] = Field(default_factory=dict)
    judged: dict[str, Finite | None] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_even(self) -> Self:
        if len({len(column) for column in self.curve.values()}) > 1:
            raise ValueError("the columns of curve differ in length")
        return self

    def checksum(self) -> str:
        """The first digits of the sha256 of everything but the name."""
        contents = self.model_dump(mode="json", exclude={"name"})
        text = json.dumps(contents, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:CHECKSUM_DIGITS]


class Policy(Contents):
    """The contents of a policy file; `name` is how decisions name it, and ends in its checksum."""

    name: Annotated[str, Field(pattern="^[A-Za-z0-9._-]{1,60}$")]

    @model_validator(mode="after")
    def _is_as_it_was_made(self) -> Self:
        if self.name.rpartition("-")[2] != self.checksum():
            raise ValueError(
                "it was changed after it was made, and its name stands for what it was: "
                "calibrate again, or set tau beside it"
            )
        return self

    def text(self) -> str:
        """As it stands in a file, to be read by people too."""
        contents = {"name": self.name} | self.model_dump(mode="json")
        return json.dumps(contents, indent=2, ensure_ascii=False) + "\n"


def named(stem: str, contents: Contents) -> Policy:
    """The policy of these contents: its name is the stem and their checksum."""
    return Policy(name=f"{stem}-{contents.checksum()}", **contents.model_dump())


def parsed(text: bytes | str, where: str) -> Policy:
    """The policy in a file or record; `where` it stands is for the sentence of `PolicyError`."""
    try:
        return Policy.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        what = str(first["ctx"]["error"]) if first["type"] == "value_error" else first["msg"]
        key = ".".join(map(str, first["loc"]))
        said = f"{key}: {what}" if key else what
        raise PolicyError(f"The policy in {where} cannot be used: {said}.") from None


def enforced(
    policy: Policy, settings: ExitPolicy, labels: Sequence[str], *, has_logits: bool
) -> ExitPolicy:
    """What the fast stage decides by under a policy; what it leaves open is as in the settings.

    Args:
        policy: which was made for the models in use.
        settings: what counts without it.
        labels: of the fast model, in the order of its columns.
        has_logits: whether the fast model puts out logits, and not probabilities.

    Raises `PolicyError` for a τ of a label that the model does not have, and for a measure that is
    unknown, has other numbers than it must, or cannot be taken of this model.
    """
    column_of = {label: column for column, label in enumerate(labels)}
    if unknown := sorted(set(policy.taus) - set(column_of)):
        raise PolicyError(
            f"The policy {policy.name} has a tau for the label {unknown[0]!r}, which the fast "
            "model does not know: calibrate it again with this model."
        )
    try:
        measure = Measure(policy.measure.name, policy.measure.numbers)
        measure.require(len(labels), has_logits=has_logits)
    except ConfigError as error:
        raise PolicyError(f"The policy {policy.name} cannot be used: {error}") from None
    return replace(
        settings,
        name=policy.name,
        tau=policy.tau,
        taus={column_of[label]: tau for label, tau in policy.taus.items()},
        measure=measure,
        temperature=policy.temperatures.fast,
        slow_temperature=policy.temperatures.slow,
        delta_ms=settings.delta_ms if policy.delta_ms is None else policy.delta_ms,
    )
