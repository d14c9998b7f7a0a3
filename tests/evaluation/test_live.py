"""What a live sweep makes of what it has seen: what counts, the place, and what is missed."""

import json

import numpy as np
import orjson
import pytest
from tests.evaluation import made
from tests.evaluation.simulated import exits, place, policy, scenario, simulate

from hunch.errors import DataError
from hunch.evaluation.live.comparing import NAMES, compared, missed
from hunch.evaluation.live.inputs import inputs_of
from hunch.evaluation.live.placing import fast_batches, merged, place_of, slow_batches
from hunch.evaluation.live.trial import Measured, Seen, SlowSeen, Trial, decided_of
from hunch.evaluation.records import read
from hunch.evaluation.rows import fingerprint
from hunch.evaluation.simulation.outcome import Prices, Truth
from hunch.evaluation.simulation.run import ENDS
from hunch.evaluation.simulator import Rows, Setting, Simulator

START_MS = 1_700_000_000_000.0
EVEN = dict.fromkeys(NAMES, 0.5) | {"p50_ms": 50.0, "p95_ms": 80.0, "p99_ms": 90.0}
NEVER_MS = 10_000


def decision(seen_ms, *, said="right", named="p", fast=1.0, at_ms=None, **more):
    """A decision as it is read, on the fast path where nothing else is said."""
    body = {
        "policy": named,
        "path": "fast",
        "reason": "confident",
        "label": said,
        "at_ms": seen_ms if at_ms is None else at_ms,
        "times": {"fast": fast},
    }
    return Seen(seen_ms, orjson.dumps(body | more, option=orjson.OPT_SERIALIZE_NUMPY))


def result(ms, written_ms=0, seen_ms=0.0, **more):
    """A slow result as it is read."""
    return SlowSeen(written_ms, seen_ms, orjson.dumps({"label": "x", "slow_ms": ms} | more))


def trial(found, decisions, **more):
    """A trial of a simulated run in which all was sent when it was due."""
    sent = (START_MS + found.arrived_ms).tolist()
    return Trial(
        policy="p",
        run=found,
        sent_ms=sent,
        late_ms=[0.0] * len(sent),
        busy=0.5,
        decisions=decisions,
        **more,
    )


def after(found, latency_ms, **more):
    """A decision of each message, so long after it was sent."""
    return {
        number: decision(START_MS + at_ms + latency_ms, **more)
        for number, at_ms in enumerate(found.arrived_ms.tolist())
    }


def lane(*times):
    """Decisions of one partition whose fast model took so long."""
    return [(0.0, decided_of(decision(1.0, fast=ms))) for ms in times]


def test_messages_count_by_their_time_and_their_policy():
    """Those of the warm-up and those that an earlier policy has decided are left out."""
    found = simulate(scenario(rate=50.0, seconds=4.0), which=exits(1.0))
    decisions = after(found, 7.0)
    due = np.flatnonzero((found.arrived_ms >= found.from_ms) & (found.arrived_ms < found.until_ms))
    other, wrong, *_ = due.tolist()
    decisions[other] = decision(START_MS, named="earlier")
    decisions[wrong] = decision(START_MS + found.arrived_ms[wrong] + 7.0, said="wrong")
    measured = Measured(trial(found, decisions), ["right"] * 1_000)

    numbers = measured.numbers_of()
    assert (1, len(due) - 1) == (measured.strayed, len(measured.numbers))
    assert 1.0 - 1 / (len(due) - 1) == pytest.approx(numbers["accuracy"])
    assert (1.0, 0.0, 0.0, 0.0) == tuple(
        numbers[name] for name in ("fast", "slow", "fallback", "shed")
    )
    assert [7.0] * 3 == pytest.approx([numbers[name] for name in ("p50_ms", "p95_ms", "p99_ms")])


def test_a_shed_is_a_fallback_too():
    """As in the simulation."""
    found = simulate(scenario(rate=50.0, seconds=4.0), which=exits(1.0))
    decisions = after(found, 1.0, path="fallback", reason="shed")
    numbers = Measured(trial(found, decisions), ["right"] * 1_000).numbers_of()

    assert (1.0, 1.0, 0.0) == (numbers["shed"], numbers["fallback"], numbers["fast"])


def test_too_few_messages_say_nothing():
    """The sentence says what to raise."""
    found = simulate(scenario(rate=2.0, seconds=2.0), which=exits(1.0))

    with pytest.raises(DataError, match="messages count: raise --rate or --seconds"):
        Measured(trial(found, after(found, 1.0)), ["right"] * 1_000)


def test_what_is_no_decision_is_one_sentence():
    """Somebody else has written to the topic."""
    with pytest.raises(DataError, match="A record on decisions is no decision"):
        decided_of(Seen(0.0, b"[]"))


def test_neighbours_with_the_same_time_were_one_batch():
    """Not those of another partition, nor those behind another batch."""
    found = fast_batches([lane(0.5, 0.5, 0.7, 0.5), lane(0.5)])

    assert {2: [0.5], 1: [0.7, 0.5, 0.5]} == found


def test_results_with_the_same_time_were_one_batch():
    """Whatever their partition; a shed has no time, and no batch is larger than it can be."""
    shed = SlowSeen(0, 0.0, b'{"shed":true}')
    results = [result(3.0), result(5.0), result(3.0), shed, *[result(9.0)] * 5]

    assert {2: [3.0], 1: [5.0]} == slow_batches(results, most=4)


def test_sizes_that_did_not_come_are_stretched():
    """By what the nearest size took here against what was recorded; in between nothing is made."""
    batches = {2: [4.0] * 5, 4: [12.0] * 5, 3: [7.0]}
    recorded = {1: (1.0, 2.0), 2: (2.0,), 3: (3.0,), 4: (4.0,), 8: (8.0,)}

    found = merged("slow", batches, recorded)
    assert {1: (2.0, 4.0), 2: (4.0,) * 5, 4: (12.0,) * 5, 8: (24.0,)} == found


def test_without_a_size_that_came_often_all_is_stretched_alike():
    """By the median of all batches."""
    batches = {1: [2.0, 2.0], 2: [9.0], 3: [6.0, 6.0]}

    assert {1: (2.0,), 4: (8.0,)} == merged("slow", batches, {1: (1.0,), 4: (4.0,)})


def test_a_model_that_had_no_batches_is_not_measured():
    """The sentence says what to do."""
    with pytest.raises(DataError, match="The slow model answered too few batches to measure"):
        merged("slow", {1: [1.0]}, {1: (1.0,)})


@pytest.mark.parametrize("is_exactly_once", [True, False])
def test_a_place_is_found_again(is_exactly_once):
    """Seen from outside: models, hop, timers, and the fast path's p50 and p95 are as they were."""
    truth = place(
        fast_ms=2.0, slow_ms=9.0, hop_ms=3.0, commit_ms=15.0, write_ms=6.0, timer_ms=2.0, spread=0.5
    )
    given = scenario(
        rate=100.0,
        seconds=20.0,
        where=truth,
        is_exactly_once=is_exactly_once,
        max_batch_size=8,
        commit_interval_ms=50,
    )
    rows = np.zeros((100, 2), dtype=np.float32)
    rows[:, 0] = np.linspace(0.5, 1.0, 100)
    rows[:, 1] = 1.0 - rows[:, 0]
    simulator = Simulator(
        Rows(
            sha256="",
            labels=("a", "b"),
            probabilities=rows,
            energies=None,
            truth=Truth(fast_right=rows[:, 0] > 0.7, slow_right=rows[:, 0] > 0.6),
            right_by="label",
            unlabelled=0,
        ),
        policy(),
        given,
        seeds=[3],
        in_time_ms=100.0,
        prices=Prices(),
    )
    setting = Setting(tau=0.7, delta_ms=NEVER_MS)
    found = simulator.runs(setting)[0]
    measured = Measured(as_seen(found, truth), ["a"] * 100)
    assumed = simulator.somewhere(place(fast_ms=1.0, slow_ms=1.0, commit_ms=1.0, hop_ms=0.5))
    again = place_of(measured, assumed, setting)
    then, now = (
        fast_percentiles(it.runs(setting)[0]) for it in (simulator, simulator.somewhere(again))
    )

    assert 2.0 == pytest.approx(float(np.median(again.fast[1])), abs=0.01)
    assert 9.0 == pytest.approx(float(np.median(again.slow[1])), abs=0.01)
    assert 3.0 == pytest.approx(again.hop_ms, abs=0.1)
    assert then == pytest.approx(now, rel=0.05)
    if is_exactly_once:
        assert 6.0 == pytest.approx(again.write_ms, abs=0.1)
        assert 15.0 == pytest.approx(again.commit_ms, rel=0.15)


def as_seen(found, truth):
    """What an outside reader would have seen of a run in a place."""
    chance = np.random.default_rng(0)
    decisions, results = {}, []
    for number, (at_ms, seen_ms, end) in enumerate(
        zip(found.arrived_ms.tolist(), found.seen_ms.tolist(), found.ends.tolist(), strict=True)
    ):
        path, reason = ENDS[end]
        fast_ms = 2.0 + 1e-6 * number
        at = START_MS + at_ms + truth.hop_ms + fast_ms
        decisions[number] = decision(
            START_MS + seen_ms, path=path.value, reason=reason.value, fast=fast_ms, at_ms=at
        )
        if reason.value == "verified":
            took_ms = truth.write_ms + truth.hop_ms + chance.uniform(-0.01, 0.01)
            results.append(result(9.0 + 1e-6 * number, int(at), int(at) + 0.5 + took_ms))
    return trial(found, decisions, slow_results=results)


def fast_percentiles(found):
    """Of the messages that count."""
    counts = (found.arrived_ms >= found.from_ms) & (found.arrived_ms < found.until_ms)
    latency_ms = (found.seen_ms - found.arrived_ms)[counts & (found.ends == 0)]
    return np.percentile(latency_ms, (50, 95)).tolist()


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, ()),
        ({"accuracy": 0.52, "p95_ms": 90.0, "p50_ms": 500.0}, ()),
        ({"accuracy": 0.4799}, ("accuracy",)),
        ({"shed": 0.53, "fallback": 0.53}, ("fallback", "shed")),
        ({"p95_ms": 90.1}, ("p95_ms",)),
        ({"p95_ms": 69.0}, ("p95_ms",)),
    ],
    ids=["the same", "at the bounds", "accuracy", "rates", "later", "earlier"],
)
def test_what_is_further_apart_than_allowed_is_missed(changes, names):
    """2 points, or 10 % and 10 ms; percentiles besides the p95 are not judged."""
    assert names == missed(EVEN | changes, EVEN)


def test_a_tenth_of_a_long_p95_is_allowed():
    """Where that is more than 10 ms."""
    long = EVEN | {"p95_ms": 1_000.0}

    assert ((), ("p95_ms",)) == (
        missed(EVEN | {"p95_ms": 900.0}, long),
        missed(EVEN | {"p95_ms": 899.0}, long),
    )


def test_a_point_has_the_same_names_on_both_sides(tmp_path):
    """And says where it is."""
    simulator = Simulator(
        Rows.of(
            read(made.record(tmp_path / "r", made.drawn(300))),
            fast_temperature=1.0,
            slow_temperature=1.0,
        ),
        policy(),
        scenario(),
        seeds=[0],
        in_time_ms=100.0,
        prices=Prices(),
    )
    setting = Setting(tau=0.9, delta_ms=300)
    point = compared(setting, simulator.scenario.traffic, simulator.outcome(setting), EVEN, 0.5)

    assert (0.9, 300, 100.0, "poisson") == (
        point.tau,
        point.delta_ms,
        point.rate_per_s,
        point.pattern,
    )
    assert list(NAMES) == list(point.predicted) == list(point.measured)


def recorded(tmp_path, texts):
    """A record of these texts, as `hunch record` would know them."""
    given = made.drawn(len(texts))
    folder = made.record(tmp_path / "r", given)
    found = read(folder)
    marks = [fingerprint({"text": text}, ["text"]) for text in texts]
    return type(found)(
        **{name: getattr(found, name) for name in found.__slots__} | {"inputs": marks}
    )


def test_messages_are_found_again_by_what_the_models_read(tmp_path):
    """In the order of the rows, whatever else is in the file; the first of equal ones."""
    record = recorded(tmp_path, ["one two", "three"])
    lines = [
        {"text": "Three", "n": 1},
        {"text": "four"},
        {"text": "one  two", "n": 2},
        {"text": "three"},
    ]
    file = tmp_path / "x.jsonl"
    file.write_text("\ufeff" + "\n\n".join(map(json.dumps, lines)) + "\nnot JSON\n[1]\n")

    assert [b'{"text": "one  two", "n": 2}', b'{"text": "Three", "n": 1}'] == inputs_of(
        file, record, ["text"]
    )


def test_another_file_is_refused(tmp_path):
    """It says how many messages it lacks."""
    record = recorded(tmp_path, ["one", "two", "three"])
    file = tmp_path / "x.jsonl"
    file.write_text('{"text": "one"}\n')

    with pytest.raises(DataError, match=r"lacks 2 of the 3 inputs that .* was recorded from"):
        inputs_of(file, record, ["text"])
