"""`Report`: all numbers of a report."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from hunch.evaluation.records import Record
from hunch.evaluation.report.rows import RecordRows, rows_of
from hunch.evaluation.sweep_file import Point, SweepFile


class Report(BaseModel):
    """A sweep with what its record says.

    Attributes:
        recommended: place of the point that the report is about: the least cost within ε, or
            today's where nothing is.
        rows: of the record.
        sweep: the file as it is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    recommended: int
    rows: RecordRows
    sweep: SweepFile

    @property
    def point(self) -> Point:
        """What is recommended."""
        return self.sweep.points[self.recommended]

    def text(self) -> str:
        """As it stands in a file."""
        return self.model_dump_json(indent=1) + "\n"


def report_of(sweep: SweepFile, record: Record) -> Report:
    """Raises `DataError` for another record than the sweep was made with."""
    least = next((it.point for it in sweep.choices if it.name == "least-cost"), None)
    index = sweep.today if least is None else least
    rows = rows_of(sweep, record, sweep.points[index])
    return Report(recommended=index, rows=rows, sweep=sweep)
