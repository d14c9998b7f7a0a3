"""The checker finds each anomaly, and finds nothing where there is none."""

import pytest
from tests.chaos.havoc import Deed
from tests.chaos.oracle import TAU
from tests.chaos.schedule import Kind
from tests.chaos.slow_worker import MODEL, confidence_for
from tests.chaos.verdicts import LATE_MS, Interval, judge, merged, restless_spans
from tests.chaos.witness import Decision, Truth

PARTITIONS = 4
DEADLINE_MS = 10_000


@pytest.fixture
def exiting(oracle):
    """The number of a message that the fast model decides, for partition 0."""
    return next(number for number in range(0, 400, 4) if oracle.exits(number))


@pytest.fixture
def deferred(oracle):
    """The number of a message that is deferred, for partition 0."""
    return next(number for number in range(0, 400, 4) if not oracle.exits(number))


@pytest.fixture
def truth(exiting, deferred):
    """Two messages, of which one was deferred at offset 7."""
    return Truth({"messages-0-0": exiting, "messages-0-1": deferred}, {(0, 7): "messages-0-1"})


@pytest.fixture
def right(oracle, exiting, deferred):
    """The decisions that should be seen."""
    fast, unsure = oracle.fast(exiting), oracle.fast(deferred)
    slow = oracle.slow(deferred)
    base = Decision(
        origin="messages-0-0",
        id=exiting,
        partition=0,
        offset=0,
        deferral=None,
        path="fast",
        reason="confident",
        label=fast.label,
        fast=tuple(fast),
        slow=None,
        tau=TAU,
        at_ms=5_000.0,
        deadline_ms=None,
        appended_ms=5_001,
        arrived_ms=5_002.0,
    )
    joined = base._replace(
        origin="messages-0-1",
        id=deferred,
        partition=PARTITIONS,
        deferral=7,
        path="slow",
        reason="verified",
        label=slow.label,
        fast=tuple(unsure),
        slow=(slow.label, confidence_for(0, 7), MODEL),
        deadline_ms=DEADLINE_MS,
    )
    return [base, joined]


@pytest.fixture
def fallback(right, oracle, deferred):
    """The second decision, had the slow model not answered."""
    return right[1]._replace(
        path="fallback",
        reason="deadline",
        label=oracle.fast(deferred).label,
        slow=None,
        at_ms=DEADLINE_MS + 1.0,
        appended_ms=DEADLINE_MS + 3,
    )


@pytest.fixture
def found(truth, oracle):
    """What is found in some decisions, by name, where anything is."""

    def find(seen, unrest=(), **named):
        counts = judge(truth, seen, oracle, partitions=PARTITIONS, unrest=unrest, **named).counts()
        return {name: count for name, count in counts.items() if count}

    return find


def test_right_decisions_are_right(found, right, fallback):
    """Nothing is found where all is as the models say."""
    assert {} == found(right)
    assert {} == found([right[0], fallback])


def test_a_lost_message_is_found(found, right):
    """A message without a decision is lost."""
    assert {"lost": 1} == found(right[:1])


def test_a_second_decision_is_found(found, right, fallback):
    """The same again is a duplicate; another path contradicts it, where nothing may repeat."""
    assert {"duplicate": 1} == found([*right, right[0]])
    assert {"duplicate": 1, "contradiction": 1} == found([*right, fallback])
    assert {"duplicate": 1} == found([*right, fallback], may_repeat=True)


def test_a_decision_out_of_thin_air_is_found(found, right):
    """Nobody sent that message."""
    assert {"out of thin air": 1} == found([*right, right[0]._replace(origin="messages-0-9")])


@pytest.mark.parametrize(
    "changed",
    [
        {"label": "none"},
        {"id": 999_999},
        {"partition": PARTITIONS + 1},
        {"partition": 0},
        {"path": "fast", "reason": "confident"},
        {"path": "error"},
        {"tau": 0.5},
        {"deferral": 8},
        {"deferral": None},
        {"slow": None},
        {"slow": ("none", confidence_for(0, 7), MODEL)},
        {"fast": ("none", 0.5)},
        {"reason": "confident"},
    ],
)
def test_an_impossible_decision_is_found(found, right, changed):
    """Whatever the models, τ and the deferral do not allow contradicts them."""
    assert {"contradiction": 1} == found([right[0], right[1]._replace(**changed)])


def test_an_answer_to_another_deferral_is_found(found, right, oracle, deferred):
    """The label is right by chance, and the answer was computed for a deferral that was aborted."""
    stray = (oracle.slow(deferred).label, confidence_for(0, 6), MODEL)

    assert {"contradiction": 1} == found([right[0], right[1]._replace(slow=stray)])


def test_a_late_fallback_is_found_where_no_fault_excuses_it(found, right, fallback):
    """Later than the bound is late; where a fault was in force, the bound counts from its end."""
    at_ms = DEADLINE_MS + int(LATE_MS) + 500
    late = [right[0], fallback._replace(appended_ms=at_ms)]

    assert {"late": 1} == found(late)
    assert {} == found(late, [Interval(DEADLINE_MS - 100, DEADLINE_MS + 600)])
    assert {"late": 1} == found(late, [Interval(DEADLINE_MS - 200, DEADLINE_MS - 100)])


def test_a_fallback_before_its_deadline_is_found(found, right, fallback):
    """The slow model gets all of its time."""
    assert {"late": 1} == found([right[0], fallback._replace(at_ms=DEADLINE_MS - 50.0)])


def test_faults_excuse_lateness_for_as_long_as_is_promised():
    """A kill for a session and a takeover, a stall of the slow stage for no time at all."""
    kill = Deed(Kind.KILL, "join", "join-0", frozenset({1}), 100.0, 101.0)
    stall = Deed(Kind.STALL, "slow", "slow", None, 200.0, 210.0)

    assert [Interval(100_000.0, 112_000.0)] == restless_spans([kill, stall], 6.0)


def test_intervals_that_overlap_are_one():
    """Dense faults make one long interval."""
    spans = [Interval(5.0, 9.0), Interval(1.0, 3.0), Interval(2.0, 4.0)]

    assert [Interval(1.0, 4.0), Interval(5.0, 9.0)] == merged(spans)


def test_confidences_tell_deferrals_apart():
    """Neighbours, and the same offset of another partition, have other confidences."""
    told = {confidence_for(partition, offset) for partition in range(4) for offset in range(5_000)}

    assert 20_000 == len(told)


def test_rounding_decides_no_path(oracle):
    """τ lies clear of every confidence, and about half of the digits are deferred."""
    share = sum(not oracle.exits(number) for number in range(899)) / 899

    assert oracle.is_clear()
    assert 0.4 < share < 0.6
