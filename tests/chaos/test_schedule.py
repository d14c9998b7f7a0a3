"""Schedules: the same seed gives the same faults again. Gaps: whom they belong to."""

import itertools
from typing import Any

import pytest
from tests.chaos.accounts import Takeover
from tests.chaos.gaps import gaps
from tests.chaos.havoc import Deed
from tests.chaos.schedule import BROKER, MIXES, Kind, faults
from tests.chaos.witness import Decision


@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES)
def test_a_seed_gives_the_same_faults_again(mix):
    """Two schedules of a seed are equal, one of another seed is not."""
    first, again, other = (
        list(itertools.islice(faults(mix, seed, 6.0), 100)) for seed in (1, 1, 2)
    )

    assert first == again
    assert first != other


@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES)
def test_a_round_holds_every_kind_as_often_as_it_weighs(mix):
    """No kind is left to luck."""
    one_round = itertools.islice(faults(mix, 3, 6.0), sum(mix.weights.values()))
    counted = [fault.kind for fault in one_round]

    assert dict(mix.weights) == {kind: counted.count(kind) for kind in mix.weights}


def test_zombies_sleep_past_their_session():
    """A frozen process has lost its partitions before it goes on; faults of the broker pass."""
    some = list(itertools.islice(faults(MIXES["dense"], 1, 6.0), 500))

    assert all(fault.lasts_s > 6.0 for fault in some if fault.kind is Kind.FREEZE)
    assert BROKER <= {fault.kind for fault in some}


def _decision(partition: int, arrived_s: float) -> Decision:
    blank: dict[str, Any] = dict.fromkeys(Decision._fields)
    return Decision(**(blank | {"partition": partition, "arrived_ms": arrived_s * 1000}))


def test_gaps_are_told_apart_by_partition_and_path():
    """Partition 0 was hit and its joined decisions stood still; nothing else did."""
    steady = [tick / 10 for tick in range(300)]
    seen = [_decision(partition, at) for partition in (0, 1, 3) for at in steady]
    seen += [_decision(2, at) for at in steady if not 10.0 < at < 14.0]
    kill = Deed(Kind.KILL, "join", "join-0", frozenset({0}), 10.0, 11.0)

    found = gaps(seen, [kill], [], partitions=2, session_s=1.0, ended_s=30.0)["kill join"]

    assert [4.0] == pytest.approx(found.joined_hit)
    assert [0.1] == pytest.approx(found.joined_others)
    assert [0.1] == pytest.approx(found.fast_hit)


def test_a_gap_that_never_ends_lasts_until_the_load_does():
    """A partition that falls silent for good is not overlooked."""
    seen = [_decision(partition, 1.0) for partition in range(2)]
    kill = Deed(Kind.KILL, "join", "join-0", None, 2.0, 3.0)

    found = gaps(seen, [kill], [], partitions=1, session_s=6.0, ended_s=12.0)["kill join"]

    assert [11.0] == pytest.approx(found.joined_hit)


def test_a_process_that_joins_hits_what_it_takes_over():
    """The partitions that moved are those with a takeover while it was there."""
    seen = [_decision(partition, tick / 10) for partition in range(4) for tick in range(300)]
    extra = Deed(Kind.EXTRA, "fast", "fast-x1", None, 10.0, 15.0)
    taken = [Takeover("fast", 1, 11.0), Takeover("join", 0, 11.0), Takeover("fast", 0, 2.0)]

    found = gaps(seen, [extra], taken, partitions=2, session_s=1.0, ended_s=30.0)["extra fast"]

    assert (1, 1) == (len(found.fast_hit), len(found.fast_others))
