"""The page of `hunch report` in a real Chromium: it draws itself, asks nobody, and is used."""

import re

import pytest
from tests.browsers import Chromium, path_of_chromium
from tests.conftest import lack
from tests.evaluation import made, swept
from tests.evaluation.test_report import with_live

from hunch.evaluation.records import read
from hunch.evaluation.report.numbers import report_of
from hunch.evaluation.report.page import page
from hunch.evaluation.report.sections import sections_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
DRAWN = "'drawn' in document.documentElement.dataset"
STAR = """(() => {
  const traces = document.querySelectorAll('[data-chart="accuracy-latency"] .scatterlayer .trace');
  const point = traces[TRACE].querySelector('.point');
  point.scrollIntoView({block: 'center'});
  const {x, y, width, height} = point.getBoundingClientRect();
  return [x + width / 2, y + height / 2];
})()"""
PAPER = "document.querySelector('.chart .main-svg').style.background"
WHITE, DARK = "rgb(255, 255, 255)", "rgb(18, 22, 28)"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report of a small sweep, with one point that was measured."""
    folder = tmp_path_factory.mktemp("report")
    record = read(made.record(folder / "r", made.drawn(400)))
    return with_live(report_of(swept.file_of(record, folder), record))


@pytest.fixture
def browser(report, tmp_path):
    """A browser that has the page open, drawn."""
    program = path_of_chromium()
    if program is None:
        lack("The report needs a Chromium to be looked at: install it (Debian: chromium).")
    file = tmp_path / "report.html"
    file.write_text(page(report), encoding="utf-8")
    with Chromium(program, str(tmp_path / "profile")) as chromium:
        chromium.open(file.as_uri())
        chromium.wait_for(DRAWN)
        yield chromium


def place_of(browser, trace):
    """Where on the screen the first point of a trace of the frontier is."""
    expression = STAR.replace("TRACE", str(trace))
    browser.evaluate(expression)
    return browser.evaluate(expression)


def test_the_page_draws_itself_and_asks_nobody(browser, report):
    """Every chart has what plotly draws; no request leaves the file, and nothing complains."""
    charts = browser.evaluate("document.querySelectorAll('.chart').length")
    drawn = browser.evaluate(
        "[...document.querySelectorAll('.chart')].filter(it => it.querySelector("
        "'.cartesianlayer .point, .cartesianlayer .heatmaplayer image, .cartesianlayer .js-line'"
        ")).length"
    )

    assert charts == sum(len(it.charts) for it in sections_of(report))
    assert charts == drawn
    assert {"file"} == {it.partition(":")[0] for it in browser.requests} - {"data", "blob"}
    assert 1 == sum(it.startswith("file:") for it in browser.requests)
    assert [] == browser.problems


def test_a_point_tells_itself_and_is_clicked(browser, report):
    """The mouse over it shows τ and Δ; a click shows them with lines to copy."""
    browser.move(*place_of(browser, 2))
    hovered = browser.wait_for("document.querySelector('.hoverlayer')?.textContent")
    browser.click(*place_of(browser, 2))
    clicked = browser.wait_for("document.querySelector('#clicked pre')?.textContent")

    tau, delta = re.findall(r"= (\S+)", clicked)
    points = {(it.tau, it.delta_ms) for it in report.sweep.points}
    assert (float(tau), int(delta)) in points
    assert f"τ {float(tau):g}, Δ {int(delta):,} ms" in hovered
    assert browser.screenshot().startswith(b"\x89PNG")


def test_the_page_follows_the_light(browser):
    """Charts are as dark as the page, and light again."""
    assert WHITE == browser.evaluate(PAPER)
    browser.prefer(dark=True)
    browser.wait_for(f"{PAPER} === '{DARK}'")

    assert DARK == browser.evaluate("getComputedStyle(document.body).backgroundColor")
    browser.prefer(dark=False)
    assert browser.wait_for(f"{PAPER} === '{WHITE}'")


def test_the_page_fits_a_phone(browser):
    """Nothing but tables is wider than the screen, and charts are drawn anew."""
    browser.resize(390, 844, mobile=True)
    browser.wait_for(
        "[...document.querySelectorAll('.chart')].every(it => it._fullLayout.width < 390)"
    )

    assert 390 >= browser.evaluate("document.documentElement.scrollWidth")


def test_paper_is_light_and_leaves_nothing_folded(browser):
    """Also where the screen is dark; afterwards all is as it was."""
    browser.prefer(dark=True)
    browser.wait_for(f"{PAPER} === '{DARK}'")
    browser.evaluate(
        "addEventListener('beforeprint', () => { window.printed = "
        f"[{PAPER}, document.querySelectorAll('details:not([open])').length]; }})"
    )
    pdf = browser.pdf()

    assert pdf.startswith(b"%PDF")
    assert [WHITE, 0] == browser.evaluate("window.printed")
    assert browser.wait_for(f"{PAPER} === '{DARK}'")
    assert 0 < browser.evaluate("document.querySelectorAll('details:not([open])').length")


def test_other_points_have_their_latency_too(browser, report):
    """A choice in the list draws its curves; a click on a heading sorts the table under it."""
    before = browser.evaluate("document.querySelector('[data-chart=latency]').data[0].x.join()")
    browser.evaluate(
        "(() => { const list = document.querySelector('select[data-of=latency]');"
        "list.selectedIndex = list.options.length - 1;"
        "list.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )
    after = browser.evaluate("document.querySelector('[data-chart=latency]').data[0].x")
    browser.evaluate("document.querySelectorAll('#classes th')[5].click()")
    shares = browser.evaluate(
        "[...document.querySelectorAll('#classes tbody tr')].map(it => it.cells[5].textContent)"
    )

    assert list(report.sweep.alone["slow"].latency.quantiles_ms) == after
    assert before != ",".join(map(str, after))
    numbers = [float(it.split()[0]) for it in shares]
    assert sorted(numbers, reverse=True) == numbers
