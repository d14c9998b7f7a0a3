"""Arrivals: the rate that was asked for, the same for the same seed, each pattern its own shape."""

import numpy as np
import pytest

from hunch.errors import ConfigError, DataError
from hunch.evaluation.arrivals import PATTERNS, Traffic, read_timestamps

UNTIL_MS = 200_000.0


def traffic(pattern, rate_per_s=100.0):
    """Messages of that pattern; the recorded ones come in pairs."""
    stamps = (0.0, 1.0, 1000.0, 1001.0, 2000.0) if pattern == "recorded" else ()
    return Traffic(rate_per_s=rate_per_s, pattern=pattern, timestamps_ms=stamps)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_mean_rate_is_as_asked(pattern):
    """In 200 s come as many messages as the rate says, in order, within the time."""
    times = traffic(pattern).times(UNTIL_MS, 3)

    assert len(times) == pytest.approx(20_000, rel=0.03)
    assert (np.diff(times) >= 0).all()
    assert 0 <= times[0] <= times[-1] < UNTIL_MS


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_seed_stands_for_its_arrivals(pattern):
    """The same seed gives the same times, another one others."""
    first, again, other = (traffic(pattern).times(5_000, seed) for seed in (1, 1, 2))

    assert np.array_equal(first, again)
    assert not np.array_equal(first[:20], other[:20])


def test_how_unevenly_messages_come():
    """Counts a second: none varies when steady, as much as the mean by chance, more in bursts."""
    counts = {
        pattern: np.histogram(traffic(pattern).times(UNTIL_MS, 5), bins=np.arange(0, 200_001, 1e3))
        for pattern in ("steady", "poisson", "burst")
    }
    spread = {pattern: found.var() / found.mean() for pattern, (found, _) in counts.items()}

    assert spread["steady"] < 0.1
    assert spread["poisson"] == pytest.approx(1.0, abs=0.35)
    assert spread["burst"] > 10


def test_recorded_gaps_keep_their_proportions():
    """Pairs stay pairs when the rate is another one."""
    gaps = np.diff(traffic("recorded", rate_per_s=10.0).times(UNTIL_MS, 1))

    assert {0.2, 199.8, 100.0} == {round(float(gap), 1) for gap in gaps}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"rate_per_s": 0.0}, "The rate is 0 messages a second, but it must be above 0."),
        ({"rate_per_s": float("nan")}, "The rate is nan messages a second"),
        ({"rate_per_s": 1.0, "pattern": "tidal"}, "There is no pattern 'tidal': use one of steady"),
        ({"rate_per_s": 1.0, "pattern": "recorded"}, "The pattern recorded needs the timestamps"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments, sentence):
    """One sentence for each."""
    with pytest.raises(ConfigError) as caught:
        Traffic(**arguments)

    assert str(caught.value).startswith(sentence)


def test_more_messages_than_fit_are_refused():
    """A rate and a time that ask for a billion messages are one sentence."""
    with pytest.raises(ConfigError, match="1,000,000,000 messages are too many for one run"):
        Traffic(rate_per_s=1e9).times(1_000, 0)


def test_timestamps_are_read_in_any_order(tmp_path):
    """One a line, sorted; empty lines do not count."""
    (tmp_path / "t").write_text("30\n10\n\n20.5\n")

    assert (10.0, 20.5, 30.0) == read_timestamps(tmp_path / "t")


@pytest.mark.parametrize(
    "text", ["", "1\n", "1\n1\n", "1\nx\n", "1\ninf\n", "1\nnan\n", "1\nnan\n3\n"]
)
def test_files_without_usable_timestamps_are_refused(tmp_path, text):
    """Nothing, one, equal ones, words and infinities."""
    (tmp_path / "t").write_text(text)

    with pytest.raises(DataError, match="must hold"):
        read_timestamps(tmp_path / "t")


def test_a_file_that_is_not_there_is_a_sentence(tmp_path):
    """It names the file."""
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_timestamps(tmp_path / "t")
