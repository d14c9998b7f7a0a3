"""Whether a stage is stuck: what counts as waiting, as progress, and as nobody's fault."""

import pytest

from hunch.core.progress import Look, ProgressState, ShortestLately


class Stage:
    """A stage that is looked at by the second; the time begins at a million."""

    def __init__(self):
        self.state = ProgressState()
        self.now_ms = 1_000_000.0

    def look(self, looks, owned=(0,), seconds=1, **in_hand):
        """A second later it looks like this; for how many seconds it has been stalled."""
        self.now_ms += 1_000 * seconds
        self.state.on_look(self.now_ms, owned, looks, **in_hand)
        return self.state.stalled_ms / 1_000


def waits(at, delivered=0, life=1):
    """A lane with work, at this position and after so many deliveries of this life."""
    return Look(is_waiting=True, read={"in": at}, life=life, delivered=delivered)


def idle(at):
    """A lane without work."""
    return Look(is_waiting=False, read={"in": at})


def test_work_that_waits_without_progress_is_stalled_since_it_was_seen():
    """Time counts from the first look at it, and a look at rest ends it."""
    stage = Stage()

    assert [0, 0, 1, 2, 0] == [
        stage.look({0: look}) for look in [idle(5), waits(5), waits(5), waits(5), idle(5)]
    ]


def test_an_idle_stage_is_never_stalled():
    """Nothing waits: however long nothing happens."""
    stage = Stage()

    assert {0.0} == {stage.look({0: idle(5)}, seconds=3_600) for _ in range(10)}


@pytest.mark.parametrize("moved", [waits(6), waits(5, delivered=1)])
def test_a_position_or_a_delivery_is_progress(moved):
    """Either begins the time anew."""
    stage = Stage()
    before = [stage.look({0: waits(5)}) for _ in range(3)]

    assert ([0, 1, 2], 0, 1) == (before, stage.look({0: moved}), stage.look({0: moved}))


def test_progress_of_one_lane_is_progress_of_the_stage():
    """One partition that stands while another gets on is not a stuck process."""
    stage = Stage()

    looks = [{0: waits(5), 1: waits(at)} for at in (10, 11, 12)]
    assert [0, 0, 0] == [stage.look(look, owned=(0, 1)) for look in looks]


def test_a_lane_that_is_opened_again_and_reads_the_same_again_makes_no_progress():
    """Lanes that fail over and over are stuck, although their positions move."""
    stage = Stage()

    looks = [{0: waits(9)}, {}, {0: waits(5, life=2)}, {}, {0: waits(9, life=3)}]
    assert [0, 1, 2, 3, 4] == [stage.look(look) for look in looks]
    assert 5 == stage.look({0: Look(is_waiting=True, read={}, life=3)})
    assert 0 == stage.look({0: waits(9, delivered=1, life=3)})


def test_a_lane_that_is_down_keeps_its_last_word():
    """Down with work: time goes on; down at rest: no time begins."""
    stage, resting = Stage(), Stage()

    assert [0, 1, 2] == [stage.look(looks) for looks in [{0: waits(5)}, {}, {}]]
    assert [0, 0, 0] == [resting.look(looks) for looks in [{0: idle(5)}, {}, {}]]


def test_a_partition_that_moved_away_is_forgotten():
    """What somebody else owns does not hold this process up."""
    stage = Stage()
    stage.look({0: waits(5), 1: idle(5)}, owned=(0, 1))

    assert 0 == stage.look({1: idle(5)}, owned=(1,), seconds=60)


def test_what_is_in_hand_is_nobodys_fault():
    """A long inference, or a broker that is away: time counts from its end."""
    stage = Stage()
    during = [stage.look({0: waits(5)}, is_in_hand=True) for _ in range(60)]

    assert ({0.0}, 1) == (set(during), stage.look({0: waits(5)}))


def test_the_shortest_way_of_the_last_minute_counts():
    """A backlog makes ways long, and then they are forgotten; without any there is no number."""
    ways = ShortestLately()
    before = ways.lowest(0)
    ways.add(7, 1_000)
    ways.add(3, 2_000)
    ways.add(5, 31_000)

    assert (None, 3) == (before, ways.lowest(31_000))
    assert 5 == ways.lowest(61_500)
    assert None is ways.lowest(200_000)
