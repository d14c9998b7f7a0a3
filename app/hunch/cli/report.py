"""`hunch report`: a sweep as one page to read, or the same numbers as JSON or Markdown."""

from pathlib import Path
from typing import Annotated

import typer

from hunch.cli.options import Json
from hunch.errors import ConfigError
from hunch.evaluation import require_extra

app = typer.Typer()
ENDINGS = (".html", ".json", ".md")


@app.command()
def report(
    sweep: Annotated[
        Path, typer.Argument(metavar="SWEEP", help="File that `hunch sweep` has written.")
    ] = Path("sweep.json"),
    *,
    record: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Its record, where it is not where it was."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Ends in .html, .json or .md.")] = Path(
        "report.html"
    ),
    as_json: Json = False,
) -> None:
    """Makes a page of a sweep that needs no network: frontier, surfaces, latency, confidence."""
    require_extra()
    from hunch.evaluation.files import write_whole  # noqa: PLC0415  needs the extra
    from hunch.evaluation.records import read  # noqa: PLC0415
    from hunch.evaluation.report.markdown import markdown  # noqa: PLC0415
    from hunch.evaluation.report.numbers import report_of  # noqa: PLC0415
    from hunch.evaluation.report.page import page  # noqa: PLC0415
    from hunch.evaluation.sweep_file import read_sweep  # noqa: PLC0415

    if out.suffix not in ENDINGS:
        raise ConfigError(f"--out {out} must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}.")
    if out.resolve() == sweep.resolve():
        raise ConfigError(f"--out {out} is the sweep itself: name another file.")
    file = read_sweep(sweep)
    found = report_of(file, read(record or Path(file.record.folder)))
    if as_json:
        typer.echo(found.text(), nl=False)
        return
    match out.suffix:
        case ".html":
            text = page(found)
        case ".md":
            text = markdown(found)
        case _:
            text = found.text()
    try:
        write_whole(out, text.encode())
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror}.") from error
    typer.echo(f"{out} is written: {len(file.points):,} points, {file.record.rows:,} rows.")
