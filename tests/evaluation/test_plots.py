"""Plots of a calibration: the files, and that τ is where it was chosen."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from tests.evaluation import made

from hunch.core.selection import Goal
from hunch.evaluation import plots
from hunch.evaluation.calibrating import Plan, calibrate
from hunch.evaluation.records import read


@pytest.fixture
def calibrated(tmp_path):
    """A function that calibrates drawn rows for a goal."""

    def calibrate_it(name, limit, **more):
        record = read(made.record(tmp_path / "r", made.drawn(1000), **more))
        return calibrate(record, Plan(goal=Goal(name=name, limit=limit)))

    return calibrate_it


def test_labelled_rows_have_three_plots(calibrated, tmp_path):
    """Each is an SVG of its own, the same for the same rows, whatever the day."""
    found = calibrated("selective-risk", 0.1)

    files = plots.draw(found, tmp_path / "a" / "b")
    again = plots.draw(found, tmp_path / "c")

    names = {"risk-coverage.svg", "accuracy-coverage.svg", "reliability.svg"}
    assert names == {file.name for file in files}
    assert all(ET.parse(file).getroot().tag.endswith("svg") for file in files)
    for file in files:
        other = next(it for it in again if it.name == file.name)
        assert file.read_bytes() == other.read_bytes()


def test_rows_without_labels_have_one_plot(calibrated, tmp_path):
    """Without right and wrong, what is left is how often the exits disagree."""
    found = calibrated("agreement", 0.9, labels=[None] * 1000)

    assert ["risk-coverage.svg"] == [file.name for file in plots.draw(found, tmp_path / "p")]


@pytest.mark.parametrize(
    ("name", "limit"), [("selective-risk", 0.1), ("agreement", 0.9), ("slow-share", 0.3)]
)
def test_tau_is_marked_where_it_was_chosen(calibrated, name, limit):
    """The dot lies at the share that exits and at what comes of it, beside its τ."""
    found = calibrated(name, limit)
    judged = found.judged

    risk = judged.selective_risk if name != "agreement" else 1.0 - judged.agreement
    for make, height in ((plots._risk, risk), (plots._accuracy, judged.accuracy)):
        axes = make(found).axes[0]
        dots = np.asarray(axes.collections[0].get_offsets())
        assert [[judged.accept_rate, height]] == dots.tolist()
        assert any(f"tau = {found.selection.tau:.4g}" in it.get_text() for it in axes.texts)


def test_reliability_is_of_the_rows_that_are_answered(tmp_path):
    """Rows on which the slow model is silent make no point of it."""
    given = made.drawn(1000)
    slow = given.slow.copy()
    slow[::2] = np.nan
    record = read(made.record(tmp_path / "r", given._replace(slow=slow)))
    found = calibrate(record, Plan(goal=Goal(name="slow-share", limit=0.4)))

    panels = plots._reliability(found).axes

    texts = [text.get_text() for panel in panels for text in panel.texts]
    assert 4 == len(texts)
    assert not any("nan" in text for text in texts)
    lowest = [np.asarray(dots.get_offsets()).min() for dots in panels[1].collections]
    assert all(np.isfinite(lowest))


def test_without_tau_nothing_is_marked(calibrated):
    """What could not be guaranteed is drawn all the same, without a dot."""
    found = calibrated("selective-risk", 0.001)

    assert not found.selection.is_certified
    assert [] == list(plots._risk(found).axes[0].collections)
