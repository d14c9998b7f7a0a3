"""A report as Markdown: the sentences, tables and settings; charts are for the page."""

from collections.abc import Iterator, Sequence

from hunch.evaluation.report.contents import Section, Table
from hunch.evaluation.report.numbers import Report
from hunch.evaluation.report.sections import sections_of


def markdown(report: Report) -> str:
    """The whole text."""
    lines = [f"# {title_of(report)}", ""]
    for section in sections_of(report):
        lines += _section(section)
    return "\n".join(lines)


def title_of(report: Report) -> str:
    """What the report is about."""
    models = report.sweep.models
    return f"τ and Δ for {models.fast.name} and {models.slow.name}"


def _section(section: Section) -> Iterator[str]:
    yield from (f"## {section.title}", "")
    for sentence in section.sentences:
        yield from (sentence, "")
    for table in section.tables:
        yield from _table(table)
    for setting in section.settings:
        if setting.toml is not None:
            yield from (f"### {setting.name}: {setting.meaning}", "")
            yield from ("```toml", setting.toml.rstrip("\n"), "```", "")


def _table(table: Table) -> Iterator[str]:
    if table.title:
        yield from (f"**{table.title}**", "")
    yield _row(table.columns)
    yield _row(["---"] * len(table.columns))
    for row in table.rows:
        yield _row(row)
    yield ""


def _row(cells: Sequence[str]) -> str:
    escaped = (cell.replace("\\", "\\\\").replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(' '.join(cell.split()) for cell in escaped)} |"
