"""`record.json`: what was recorded, of which models.

Whoever changes it by hand gets one sentence, not a number that means something else.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hunch.errors import DataError
from hunch.inference.outputs import OutputKind

FORMAT: Final = 2
Count = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelEntry(_Entry):
    """A model that answered; `labels` are in the order of its columns."""

    name: str
    version: str
    sha256: Sha256
    labels: Annotated[tuple[str, ...], Field(min_length=1)]
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    kind: OutputKind

    @model_validator(mode="after")
    def _has_labels_once(self) -> Self:
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("a label stands in it twice")
        return self


class ModelEntries(_Entry):
    """The pair that answered."""

    fast: ModelEntry
    slow: ModelEntry


class FileEntry(_Entry):
    """A file of messages, known by its contents; `name` is for people."""

    kind: Literal["file"] = "file"
    name: str
    sha256: str
    rows: Count


class TopicEntry(_Entry):
    """A stretch of each partition of a topic, from the first offset to before the second."""

    kind: Literal["topic"] = "topic"
    topic: str
    ranges: dict[Annotated[str, Field(pattern="^[0-9]+$")], tuple[Count, Count]]


class RecordFile(_Entry):
    """All that `record.json` says.

    Attributes:
        format: of the folder.
        models: that answered.
        label_field: of the messages.
        max_batch_size: of the batches that were answered.
        source: of the rows.
        created: when, as ISO 8601 in UTC.
        made_by: versions and the machine.
        is_complete: whether all rows are there.
        rows: how many there are, once they all are.
    """

    format: Literal[2] = FORMAT
    models: ModelEntries
    label_field: str
    max_batch_size: Annotated[int, Field(ge=1)]
    source: Annotated[FileEntry | TopicEntry, Field(discriminator="kind")]
    created: str
    made_by: Mapping[str, Any]
    is_complete: bool
    rows: Count | None = None

    @model_validator(mode="after")
    def _counts_its_rows(self) -> Self:
        if self.is_complete and self.rows is None:
            raise ValueError("it is complete, but does not say how many rows it has")
        return self


def checked(said: object, path: Path) -> RecordFile:
    """What stands in the file; raises `DataError` for what `hunch record` does not write."""
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise DataError(
            f"{path} is not of the format {FORMAT}: record again with this version, into another "
            "folder."
        )
    try:
        return RecordFile.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        what = str(first["ctx"]["error"]) if first["type"] == "value_error" else first["msg"]
        key = ".".join(map(str, first["loc"]))
        told = f"{key}: {what}" if key else what
        raise DataError(
            f"{path} is not as `hunch record` wrote it, {told}: record again into another folder."
        ) from None
