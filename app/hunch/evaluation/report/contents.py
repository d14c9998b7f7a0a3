"""What a section of a report holds: sentences, tables, settings, and the names of charts."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Cells as text; `is_long` where a page folds it away."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    is_long: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What to copy for a choice: lines of `hunch.toml`, or None where only a policy will do."""

    name: str
    meaning: str
    toml: str | None
    policy_name: str
    policy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One heading and what is under it; charts are names of `hunch.evaluation.report.charts`."""

    name: str
    title: str
    sentences: Sequence[str]
    charts: Sequence[str] = ()
    tables: Sequence[Table] = ()
    settings: Sequence[Setting] = field(default=())
