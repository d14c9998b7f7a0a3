"""What another τ or Δ would have done: exact where the decisions say it, a range where not."""

import itertools

import orjson
import pytest

from hunch.errors import DataError
from hunch.evaluation.what_if import Late, Span, WhatIf, decided_of

TAU, DELTA_MS = 0.8, 300
DEFERRED_MS = 1_000.0
NUMBERS = itertools.count()


def decision(score, *, origin=None, path="fast", slow=None, join_ms=0.0, **more):
    """A decision as it stands on the topic; `slow` is the label of the slow model."""
    reason = {"fast": "confident", "slow": "verified", "fallback": "deadline"}.get(path, path)
    times = {"wait": 1.0, "fast": 2.0, "total": 5.0 + join_ms}
    if path != "fast":
        times["join"] = join_ms
    said = {
        "origin": origin or f"messages-0-{next(NUMBERS)}",
        "path": path,
        "reason": reason,
        "fast": {"label": "a", "confidence": score, "model": "f@1"},
        "slow": None if slow is None else {"label": slow, "confidence": 0.9, "model": "s@1"},
        "tau": TAU,
        "delta_ms": DELTA_MS,
        "policy": "p",
        "at_ms": DEFERRED_MS + join_ms,
        "deadline_ms": DEFERRED_MS + DELTA_MS,
        "times": times,
    }
    return orjson.dumps(said | more)


SENT = [
    *(decision(0.95) for _ in range(4)),
    decision(0.85),
    decision(0.7, path="slow", slow="a", join_ms=100.0),
    decision(0.6, path="slow", slow="b", join_ms=200.0),
    decision(0.5, path="slow", slow="b", join_ms=290.0),
    decision(0.4, path="fallback", join_ms=300.0, origin="late"),
    decision(0.3, path="fallback", join_ms=300.0, origin="never"),
]
"""Ten: five exit, three are verified, one answer comes too late and one never."""
LATE = {"late": Late("b", DEFERRED_MS + 450.0)}


@pytest.fixture
def asked():
    """These ten."""
    return WhatIf(decided_of(SENT, LATE))


def shares(found):
    """Exits, and the ranges of slow, fallback and other answers."""
    return found.exits, found.slow, found.fallback, found.changed


def bounds(found):
    """The same, all in one list."""
    return [found.exits, *found.slow, *found.fallback, *found.changed]


def test_what_is_in_force_gives_what_was_decided(asked):
    """To the message: nothing is answered otherwise."""
    found = asked.of(TAU, DELTA_MS)

    assert (0.5, Span(0.3, 0.3), Span(0.2, 0.2), Span(0.0, 0.0)) == shares(found)
    assert (None, 0.0, True) == (found.likely_changed, found.unknown, found.p95_ms.is_known)


def test_a_lower_tau_is_known(asked):
    """Of the two that now exit too the slow model had said something else of one."""
    found = asked.of(0.6, DELTA_MS)

    assert (0.7, Span(0.1, 0.1), Span(0.2, 0.2), Span(0.1, 0.1)) == shares(found)


def test_a_shorter_delta_is_known(asked):
    """Answers that came later than that would have been too late; one of them was another one."""
    found = asked.of(TAU, 250)

    assert (0.5, Span(0.2, 0.2), Span(0.3, 0.3), Span(0.1, 0.1)) == shares(found)
    assert 255.0 == pytest.approx(found.p95_ms.high)


def test_without_delta_all_that_waits_falls_back(asked):
    """Also what would have been deferred by a higher τ: the slow model has no say."""
    found = asked.of(0.9, 0)

    assert (0.4, Span(0.0, 0.0), Span(0.6, 0.6), Span(0.2, 0.2)) == shares(found)


def test_a_longer_delta_sees_late_answers_and_leaves_the_rest_open(asked):
    """One answer is known to come by then; nobody knows of the one that never came."""
    found = asked.of(TAU, 500)

    assert [0.5, 0.4, 0.5, 0.0, 0.1, 0.1, 0.2] == pytest.approx(bounds(found))
    assert found.likely_changed is None


def test_a_higher_tau_leaves_open_what_the_slow_model_had_said(asked):
    """Its share is between nothing and all that is newly deferred, likely less."""
    found = asked.of(0.9, DELTA_MS)

    assert [0.4, 0.3, 0.4, 0.2, 0.3, 0.0, 0.1] == pytest.approx(bounds(found))
    assert 0.1 == pytest.approx(found.unknown)
    assert found.likely_changed is not None
    assert 0.0 < found.likely_changed <= 0.1
    assert found.p95_ms.low <= found.p95_ms.high


def test_what_lies_just_below_tau_says_how_much_is_likely():
    """With 300 deferrals of which none was answered otherwise it is little: 3 in 200, by 95 %."""
    near = [decision(0.7, path="slow", slow="a", join_ms=50.0) for _ in range(300)]
    found = WhatIf(decided_of([*near, *(decision(0.9) for _ in range(100))], {})).of(0.95, DELTA_MS)

    assert 0.25 == pytest.approx(found.changed.high)
    assert 0.25 * 0.0149 == pytest.approx(found.likely_changed, rel=0.01)


def test_a_client_s_own_deadline_stays():
    """A longer Δ gives the slow model no more than the client does."""
    own = decision(
        0.5, path="fallback", join_ms=100.0, origin="late", deadline_ms=DEFERRED_MS + 100
    )
    found = WhatIf(decided_of([own], LATE)).of(TAU, 10_000)

    assert (Span(0.0, 0.0), Span(1.0, 1.0)) == (found.slow, found.fallback)


def test_only_the_policy_that_decided_last_is_asked_about():
    """Scores of another one may mean something else; errors are nothing to ask about."""
    values = [
        decision(0.9, policy="earlier", at_ms=1.0),
        decision(0.9),
        decision(0.9, path="error", fast=None),
        decision(0.9, path="fallback", reason="stale"),
        b"no decision",
        b"{}",
    ]
    found = decided_of(values, {})

    assert ("p", 1, 1, 2) == (
        found.policy,
        len(found.messages),
        found.other_policies,
        found.others,
    )


def test_of_repeated_decisions_the_first_counts():
    """At-least-once repeats some after a crash, maybe on another path."""
    values = [
        decision(0.5, path="fallback", join_ms=300.0, origin="same"),
        decision(0.5, path="slow", slow="a", join_ms=100.0, origin="same"),
    ]
    found = decided_of(values, {})

    assert [True] == [it.is_slow for it in found.messages]
    assert 1 == found.repeated


def test_delta_from_the_record_s_timestamp_is_no_client_s_deadline():
    """5 ms of each Δ have passed at the deferral: 100 ms more let a late answer in."""
    sent = [
        decision(0.5, path="fallback", join_ms=295.0, origin="late", deadline_ms=DEFERRED_MS + 295),
        decision(0.5, path="slow", slow="b", join_ms=100.0, deadline_ms=DEFERRED_MS + 295),
    ]
    late = {"late": Late("b", DEFERRED_MS + 394.0)}
    asked = WhatIf(decided_of(sent, late, deadline_from="ingest"))

    assert [0.5, 1.0, 0.5, 0.0] == [asked.of(TAU, it).slow.high for it in (300, 400, 105, 104)]


@pytest.mark.parametrize(
    "changes",
    [{"at_ms": None}, {"times": {}}, {"fast": "a"}, {"tau": "0.8"}, {"origin": 3}],
    ids=lambda changes: next(iter(changes)),
)
def test_what_only_looks_like_a_decision_does_not_count(changes):
    """Somebody else may write to the topic, too."""
    found = decided_of([decision(0.9), decision(0.9, **changes)], {})

    assert 1 == len(found.messages)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [([], "There are no decisions"), ([decision(0.5, path="error", fast=None)], "all are errors")],
    ids=["none", "errors only"],
)
def test_nothing_to_ask_about_is_one_sentence(values, sentence):
    """It says what is the matter."""
    with pytest.raises(DataError, match=sentence):
        decided_of(values, {})
