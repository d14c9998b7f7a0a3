"""A report as one HTML file: the chart library is in it, and nothing is ever asked from elsewhere.

Style and script are `hunch/assets/report`; the browser itself is told not to load anything. The
library is in it as gzip, which a browser opens by itself: a third of the size.
"""

import base64
import gzip
import html
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from plotly.offline import get_plotlyjs

from hunch.evaluation.report.charts import Chart, charts_of
from hunch.evaluation.report.contents import Section, Setting, Table
from hunch.evaluation.report.markdown import title_of
from hunch.evaluation.report.numbers import Report
from hunch.evaluation.report.sections import sections_of
from hunch.evaluation.report.written import lines

ASSETS = Path(__file__).parents[2] / "assets" / "report"
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)

NUMBER = re.compile(r"none|[-+]?[\d.,]+(e-?\d+)?( %)?( \(.*\)| …)?|")
UNIT = re.compile(r"(?<=\d) (?=(%|ms|/s|points)(?![a-z]))|(?<=[τΔ]) (?=\d)")


def page(report: Report) -> str:
    """The whole file."""
    charts = charts_of(report)
    title = html.escape(title_of(report))
    sections = sections_of(report)
    links = "".join(f'<a href="#{it.name}">{html.escape(it.title)}</a>' for it in sections)
    body = "".join(part for it in sections for part in _section(it, charts))
    data = {
        "figures": {name: chart.figures for name, chart in charts.items()},
        "points": _points(report),
    }
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{title}</title>\n<style>\n{_asset('report.css')}</style>\n</head>\n<body>\n"
        f"<header><h1>{title}</h1><nav>{links}</nav></header>\n<main>\n{body}</main>\n"
        f'<script type="text/plain" id="library">{_library()}</script>\n'
        f'<script type="application/json" id="data">{_as_json(data)}</script>\n'
        f"<script>\n{_asset('report.js')}</script>\n</body>\n</html>\n"
    )


def _points(report: Report) -> list[dict[str, object]]:
    """What is shown of a point that was clicked, and the lines to copy."""
    sweep = report.sweep
    has_prices = sweep.asked.prices.are_given
    return [
        {
            "lines": lines(it, sweep.accuracy_of(at), has_prices=has_prices),
            "toml": f"tau = {it.tau!r}\ndelta_ms = {it.delta_ms}\n"
            if sweep.policy is None and not it.taus
            else None,
        }
        for at, it in enumerate(sweep.points)
    ]


def _section(section: Section, charts: dict[str, Chart]) -> Iterator[str]:
    yield f'<section id="{section.name}"><h2>{html.escape(section.title)}</h2>\n'
    for sentence in section.sentences:
        yield f"<p>{_escaped(sentence)}</p>\n"
    if section.settings:
        yield '<div class="settings">\n'
        for setting in section.settings:
            yield from _setting(setting)
        yield "</div>\n"
    if section.charts:
        yield f'<div class="charts" data-section="{section.name}">\n'
        for name in section.charts:
            yield from _chart(name, charts[name])
        yield "</div>\n"
    if section.name == "frontier":
        yield (
            '<div id="clicked" class="setting" aria-live="polite"><p>Click a point to see its '
            "settings.</p></div>\n"
        )
    for table in section.tables:
        yield from _table(table)
    yield "</section>\n"


def _chart(name: str, chart: Chart) -> Iterator[str]:
    title = html.escape(chart.title)
    yield f"<figure><figcaption>{title}</figcaption>\n"
    if len(chart.figures) > 1:
        options = "".join(f"<option>{html.escape(it)}</option>" for it in chart.figures)
        yield f'<select aria-label="{title}" data-of="{name}">{options}</select>\n'
    yield f'<div class="chart" data-chart="{name}" role="img" aria-label="{title}"></div>\n'
    yield "</figure>\n"


def _setting(setting: Setting) -> Iterator[str]:
    yield f'<div class="setting"><h3>{html.escape(setting.name)}</h3>'
    yield f"<p>{html.escape(setting.meaning)}</p>"
    if setting.toml is not None:
        yield f"<pre>{html.escape(setting.toml)}</pre><button data-copy>Copy</button> "
    where = f"data:application/json;charset=utf-8,{quote(setting.policy)}"
    yield (
        f'<a href="{html.escape(where)}" download="{html.escape(setting.policy_name)}.json">Save '
        "as a policy</a></div>\n"
    )


def _table(table: Table) -> Iterator[str]:
    title = html.escape(table.title)
    if table.is_long:
        yield f"<details><summary>{title}</summary>"
    elif title:
        yield f"<h3>{title}</h3>"
    kinds = [_kind([row[column] for row in table.rows]) for column in range(len(table.columns))]
    heads = "".join(
        f'<th scope="col"{kind}>{html.escape(it)}</th>'
        for it, kind in zip(table.columns, kinds, strict=True)
    )
    yield f'<div class="wide"><table aria-label="{title}">'
    yield f"<thead><tr>{heads}</tr></thead>\n<tbody>" if any(table.columns) else "<tbody>"
    for row in table.rows:
        yield "<tr>"
        for it, kind in zip(row, kinds, strict=True):
            own = ' class="missed"' if it == "missed" else kind
            yield f"<td{own}>{_escaped(it)}</td>"
        yield "</tr>\n"
    yield "</tbody></table></div>\n"
    if table.is_long:
        yield "</details>\n"


def _kind(cells: Sequence[str]) -> str:
    """A column of numbers stands at the right."""
    is_number = bool(cells) and all(NUMBER.fullmatch(it) for it in cells)
    return ' class="number"' if is_number else ""


def _escaped(text: str) -> str:
    """As HTML, where no unit is parted from its number."""
    return UNIT.sub("\u00a0", html.escape(text))


def _as_json(data: object) -> str:
    """No text in it can end the script that it stands in."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _library() -> str:
    packed = gzip.compress(get_plotlyjs().encode(), compresslevel=9, mtime=0)
    return base64.b64encode(packed).decode()


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")
