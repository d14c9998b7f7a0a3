"""`hunch report` from outside: three forms of the same, and one sentence for each mistake."""

import json

import pytest
from tests.evaluation import made

QUICK = ("--rate", "200", "--seconds", "1", "--warm-up", "0", "--seeds", "1", "--rounds", "0")


@pytest.fixture
def swept(hunch, tmp_path):
    """A folder with `sweep.json` and its record `r`."""
    made.record(tmp_path / "r", made.drawn(300))
    assert 0 == hunch("sweep", "r", *QUICK, "--grid", "3x2", "--jobs", "1").returncode
    return tmp_path


def test_a_report_has_three_forms(hunch, swept):
    """The ending says which; all have the τ that is recommended."""
    told = [hunch("report", "--out", f"x{it}") for it in (".html", ".md", ".json")]
    found = json.loads((swept / "x.json").read_bytes())
    tau = found["sweep"]["points"][found["recommended"]]["tau"]

    assert {0} == {it.returncode for it in told}
    assert "x.html is written: 6 points, 300 rows.\n" == told[0].stdout
    assert f"tau = {tau!r}\n" in (swept / "x.md").read_text(encoding="utf-8")
    assert f"tau = {tau!r}\n" in (swept / "x.html").read_text(encoding="utf-8")


def test_json_goes_to_programs(hunch, swept):
    """On stdout is what a file would hold, and no file is written."""
    hunch("report", "--out", "x.json")
    done = hunch("report", "--json")

    assert (swept / "x.json").read_text(encoding="utf-8") == done.stdout
    assert not (swept / "report.html").exists()


def test_a_record_may_have_moved(hunch, swept):
    """It is named then; without that the sentence says what is missing."""
    (swept / "r").rename(swept / "elsewhere")
    lost, found = hunch("report"), hunch("report", "--record", "elsewhere")

    assert lost.stderr.startswith("hunch: There is no record in r: ")
    assert "report.html is written: 6 points, 300 rows.\n" == found.stdout


@pytest.mark.usefixtures("swept")
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--out", "x.pdf"], "--out x.pdf must end in .html, .json or .md."),
        (["--out", "no/x.md"], "no/x.md cannot be written: No such file or directory."),
        (["sweep.json", "--out", "./sweep.json"], "--out sweep.json is the sweep itself"),
        (["none.json"], "none.json cannot be read: No such file or directory."),
        (["r/record.json"], "r/record.json is no sweep of the format 1"),
    ],
)
def test_a_mistake_is_one_sentence(hunch, arguments, sentence):
    """Nothing on stdout, one line on stderr, code 2."""
    done = hunch("report", *arguments)

    assert done.stderr.startswith(f"hunch: {sentence}")
    assert ("", 1, 2) == (done.stdout, done.stderr.count("\n"), done.returncode)
