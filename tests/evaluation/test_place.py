"""The place: defaults, a file over them, and one sentence for what cannot be used."""

import pytest

from hunch.errors import ConfigError, DataError
from hunch.evaluation.simulation.deployment import Deployment
from hunch.evaluation.simulation.place import ModelTimes, read_place
from hunch.settings import Settings

RECORDED = {"fast": {1: [0.1, 0.2, 0.3]}, "slow": {1: [2.0], 4: [4.0]}}


def test_without_a_file_the_times_of_the_models_are_the_recorded_ones():
    """All else is the default."""
    found = read_place(None, RECORDED)

    assert (0.1, 0.2, 0.3) == found.fast[1]
    assert (2.0, 8.0) == (found.write_ms, found.commit_ms)


def test_a_file_replaces_what_it_names(tmp_path):
    """Times of a model too, by batch size; what it leaves open stays."""
    (tmp_path / "p.json").write_text('{"hop_ms": 3, "slow": {"1": [7]}}')
    found = read_place(tmp_path / "p.json", RECORDED)

    assert (3.0, {1: (7.0,)}, 2.0) == (found.hop_ms, found.slow, found.write_ms)
    assert (0.1, 0.2, 0.3) == found.fast[1]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not JSON"),
        ("[]", "must hold one JSON object"),
        ('{"hops_ms": 1}', "cannot be used to simulate: hops_ms: Extra inputs"),
        ('{"hop_ms": -1}', "cannot be used to simulate: hop_ms: Input should be greater"),
        ('{"slow": {}}', "cannot be used to simulate: there is no service time of the slow model"),
        ('{"slow": {"1": []}}', "cannot be used to simulate: slow.1: "),
        ('{"slow": {"0": [1]}}', "cannot be used to simulate: slow.0.[key]: "),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path, text, sentence):
    """It names the file and the key."""
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(DataError) as caught:
        read_place(tmp_path / "p.json", RECORDED)

    assert f"p.json {sentence}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    """It names the file."""
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_place(tmp_path / "p.json", RECORDED)


def test_a_record_without_service_times_is_one_sentence():
    """Nobody knows how long the model takes."""
    with pytest.raises(DataError, match="there is no service time of the fast model"):
        read_place(None, {"fast": {}, "slow": {1: [1.0]}})


def test_times_lie_on_a_line_between_sizes_and_grow_in_proportion_beyond():
    """Medians 2 ms for one and 4 ms for four: 2, 2.67, 3.33, 4, then a millisecond each."""
    times = ModelTimes({1: (2.0,), 4: (4.0, 4.0, 40.0)})

    expected = [2.0, 8 / 3, 10 / 3, 4.0, 5.0, 6.0]
    assert expected == pytest.approx(times.table(6)[1:])
    assert sorted([1.0, 1.0, 1.0, 10.0]) == sorted(times.ratios.tolist())
    assert 2 * 1000 / (1.0 + 0.25) == pytest.approx(times.per_second(6, 2, 0.25))


def test_a_deployment_is_as_the_settings_say():
    """Processes come on top."""
    settings = Settings(partitions=6, delivery="at-least-once", slow_reserve_ms=7)
    found = Deployment.of(settings, fast=2, slow=3)

    assert (6, False, 7.0) == (found.partitions, found.is_exactly_once, found.slow_reserve_ms)
    assert (2, 3, 1) == (found.fast_processes, found.slow_processes, found.join_processes)
    assert [[0, 1], [2, 3], [4, 5]] == found.shares(3)
    assert list(range(6)) == sorted(partition for own in found.shares(4) for partition in own)


@pytest.mark.parametrize("count", [0, 5])
def test_processes_without_a_partition_are_refused(count):
    """As many as there are partitions is the most."""
    with pytest.raises(ConfigError, match=f"{count} slow processes cannot share 4 partitions"):
        Deployment.of(Settings(), slow=count)
