"""A policy takes over between two batches, whole; what cannot be used changes nothing."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from tests.policies import policy
from tests.stages.parties import by_origin, cascade, schema_errors

from hunch.core.batching import BatchPolicy
from hunch.core.confidence import Measure
from hunch.core.control import MAX_HISTORY, ControlState
from hunch.core.exiting import ExitPolicy
from hunch.core.policy import enforced
from hunch.errors import PolicyError
from hunch.stages.in_force import Control, InForce
from hunch.telemetry import Metrics

SETTINGS = ExitPolicy(name="settings", tau=0.9, delta_ms=500)


def records(changes):
    """Changes as records of the control topic."""
    return [
        SimpleNamespace(key=key, value=value, offset=offset)
        for offset, (key, value) in enumerate(changes)
    ]


def control(in_force, metrics=None, *, refuses=()):
    """The control of a process that refuses policies of these names."""

    def enforce(made):
        if made.name in refuses:
            raise PolicyError("It was made for another model.")
        return enforced(made, SETTINGS, ("a", "b"), has_logits=True)

    return Control(in_force, enforce, metrics or Metrics())


async def test_every_decision_names_the_policy_that_made_it_and_obeys_it():
    """Between two batches τ changes for all that follows, on every path."""
    in_force = InForce(SETTINGS)
    async with cascade(in_force=in_force) as memory:
        await memory.start()
        before = [memory.send({"c": c}) for c in (0.95, 0.7)]
        await memory.clock.advance(10)
        in_force.replace(replace(SETTINGS, name="other", tau=0.6, taus={0: 0.72}))
        after = [memory.send({"c": c}) for c in (0.75, 0.7, 0.35)]
        await memory.clock.advance(1_000)
        found = by_origin(memory)

    shown = [(found[o]["policy"], found[o]["tau"], found[o]["path"]) for o in before + after]
    assert [
        ("settings", 0.9, "fast"),
        ("settings", 0.9, "slow"),
        ("other", 0.72, "fast"),
        ("other", 0.72, "slow"),
        ("other", 0.6, "fast"),
    ] == shown


async def test_temperatures_of_a_policy_reach_both_models():
    """The fast confidence and the slow one are those of the policy's temperatures."""
    hot = replace(SETTINGS, temperature=2.0, slow_temperature=4.0)
    async with cascade(in_force=InForce(hot)) as memory:
        await memory.start()
        origin = memory.send({"c": 0.8})
        await memory.clock.advance(10)
        decision = by_origin(memory)[origin]

    root = 99**0.25
    assert pytest.approx(2 / 3, abs=1e-6) == decision["fast"]["confidence"]
    assert pytest.approx(root / (1 + root), abs=1e-6) == decision["slow"]["confidence"]


async def test_what_is_deferred_keeps_the_temperature_of_its_policy():
    """Two deferrals that share a batch, one from before a push and one from after it."""
    warm = replace(SETTINGS, name="warm", slow_temperature=2.0)
    hot = replace(SETTINGS, name="hot", slow_temperature=4.0)
    in_force = InForce(warm)
    async with cascade(
        in_force=in_force, batch_policy=BatchPolicy(max_batch_size=8, max_queue_delay_ms=50)
    ) as memory:
        await memory.start()
        before = memory.send({"c": 0.8})
        await memory.clock.advance(10)
        in_force.replace(hot)
        after = memory.send({"c": 0.8})
        await memory.clock.advance(200)
        found = by_origin(memory)

    roots = [99 ** (1 / 2), 99 ** (1 / 4)]
    decisions = [found[before], found[after]]
    assert ["warm", "hot"] == [decision["policy"] for decision in decisions]
    assert [pytest.approx(root / (1 + root), abs=1e-6) for root in roots] == [
        decision["slow"]["confidence"] for decision in decisions
    ]


def test_temperatures_of_long_ago_are_forgotten():
    """What is remembered has a bound; for an unknown name the policy in force counts."""
    in_force = InForce(SETTINGS)
    for turn in range(MAX_HISTORY + 1):
        in_force.replace(replace(SETTINGS, name=f"p{turn}", slow_temperature=1.0 + turn))

    assert 2.0 == in_force.slow_temperature("p1")
    assert 1.0 + MAX_HISTORY == in_force.slow_temperature("p0")
    assert 1.0 + MAX_HISTORY == in_force.slow_temperature("of another process")


async def test_another_measure_shows_its_score():
    """Where τ is held against something else than the confidence, decisions say what it was."""
    margin = replace(SETTINGS, name="m", measure=Measure("margin"), tau=0.5)
    async with cascade(in_force=InForce(margin)) as memory:
        await memory.start()
        sure, unsure = memory.send({"c": 0.8}), memory.send({"c": 0.7})
        await memory.clock.advance(10)
        found = by_origin(memory)

    assert ("fast", pytest.approx(0.6, abs=1e-6)) == (found[sure]["path"], found[sure]["score"])
    assert ("slow", pytest.approx(0.4, abs=1e-6)) == (found[unsure]["path"], found[unsure]["score"])
    assert [] == schema_errors("decisions", found[sure]) + schema_errors("decisions", found[unsure])


def test_a_push_comes_into_force_and_a_rollback_takes_it_back():
    """A process follows the topic, however the records are dealt out to it."""
    in_force, state = InForce(SETTINGS), ControlState()
    listening = control(in_force)
    first, second = policy(tau=0.3), policy(tau=0.4)
    shown = []
    for turn in (lambda: state.push(first), lambda: state.push(second), state.rollback):
        changes = turn()
        for change in changes:
            state.take(*change)
            listening.take(records([change]))
        shown.append(in_force.policy.name)
    for change in state.rollback():
        listening.take(records([change]))

    assert [first.name, second.name, first.name] == shown
    assert in_force.policy is SETTINGS


@pytest.mark.parametrize(
    "strange",
    [
        (b"tau", b"0.1"),
        (b"in-force", json.dumps({"v": 1, "policy": "gone", "before": []}).encode()),
    ],
)
def test_what_cannot_be_used_changes_nothing_and_is_counted(strange):
    """A strange record, or a name without its policy, leaves what is in force."""
    in_force, metrics, made = InForce(SETTINGS), Metrics(), policy(tau=0.3)
    listening = control(in_force, metrics)
    listening.take(records([*ControlState().push(made), strange]))

    assert in_force.policy.name in {made.name, "settings"}
    listening.take(records(ControlState().push(made)))
    assert made.name == in_force.policy.name
    assert {"policies_refused": 1} == metrics.snapshot()


def test_a_policy_for_other_models_is_refused_and_the_old_one_stays():
    """The stage goes on as before, and says that it refused."""
    in_force, metrics = InForce(SETTINGS), Metrics()
    good, bad = policy(tau=0.3), policy(tau=0.4)
    listening, state = control(in_force, metrics, refuses={bad.name}), ControlState()
    for made in (good, bad):
        changes = state.push(made)
        for change in changes:
            state.take(*change)
        listening.take(records(changes))

    assert good.name == in_force.policy.name
    assert {"policies_refused": 1} == metrics.snapshot()


def test_running_and_restarted_stages_decide_by_the_same_policy():
    """After every push and rollback, refused or not, a process that starts now agrees."""
    running, first, bad, worse = (
        InForce(SETTINGS),
        policy(tau=0.3),
        policy(tau=0.4),
        policy(tau=0.5),
    )
    refuses = {bad.name, worse.name}
    listening, state, log = control(running, refuses=refuses), ControlState(), []
    shown = []
    for turn in (
        lambda: state.push(first),
        lambda: state.push(bad),
        lambda: state.push(worse),
        state.rollback,
        state.rollback,
        state.rollback,
        lambda: state.push(bad),
    ):
        changes = turn()
        log += changes
        for change in changes:
            state.take(*change)
        listening.take(records(changes))
        restarted = InForce(SETTINGS)
        control(restarted, refuses=refuses).take(records(dict(log).items()))
        shown.append((running.policy.name, restarted.policy.name))

    names = [*[first.name] * 5, "settings", "settings"]
    assert list(zip(names, names, strict=True)) == shown


def test_a_refused_policy_is_told_once_for_each_push():
    """One that lies below a newer one that is refused too was told when it was pushed."""
    metrics, bad, worse = Metrics(), policy(tau=0.4), policy(tau=0.5)
    listening = control(InForce(SETTINGS), metrics, refuses={bad.name, worse.name})
    state = ControlState()
    for made in (bad, worse):
        changes = state.push(made)
        for change in changes:
            state.take(*change)
        listening.take(records(changes))

    assert {"policies_refused": 2} == metrics.snapshot()


@pytest.mark.parametrize(
    "measure",
    [
        {"name": "of a newer Hunch"},
        {"name": "mixture", "numbers": [1, 1, 1]},
        {"name": "energy"},
        {"name": "learned", "numbers": [0, 0, 0, 0, 0, 0]},
    ],
)
def test_a_measure_that_cannot_be_taken_is_refused_and_stages_go_on(measure):
    """It is counted, and what was in force stays."""
    in_force, metrics, good = InForce(SETTINGS), Metrics(), policy(tau=0.3)
    listening, state = control(in_force, metrics), ControlState()
    for made in (good, policy(measure=measure)):
        changes = state.push(made)
        for change in changes:
            state.take(*change)
        listening.take(records(changes))

    assert good.name == in_force.policy.name
    assert {"policies_refused": 1} == metrics.snapshot()


def test_a_policy_that_is_mended_on_the_topic_comes_into_force():
    """A record that was garbled and is written again counts in running stages, too."""
    in_force, made = InForce(SETTINGS), policy(tau=0.3)
    listening = control(in_force)
    broken = [(b"policy/" + made.name.encode(), b"{"), *ControlState().push(made)[1:]]
    state = ControlState()
    for change in broken:
        state.take(*change)
    listening.take(records(broken))
    before = in_force.policy.name
    for change in state.push(made):
        listening.take(records([change]))

    assert ("settings", made.name) == (before, in_force.policy.name)


@pytest.mark.parametrize("value", [None, b"{"])
def test_a_policy_that_the_topic_loses_counts_no_more(value):
    """Running stages do as those do that start afterwards: the newest that is whole counts."""
    in_force, state, log = InForce(SETTINGS), ControlState(), []
    first, second = policy(tau=0.3), policy(tau=0.4)
    listening = control(in_force)
    for made in (first, second):
        changes = state.push(made)
        log += changes
        for change in changes:
            state.take(*change)
    log.append((b"policy/" + second.name.encode(), value))
    for change in log:
        listening.take(records([change]))
    restarted = InForce(SETTINGS)
    control(restarted).take(records(dict(log).items()))

    assert (first.name, first.name) == (in_force.policy.name, restarted.policy.name)
