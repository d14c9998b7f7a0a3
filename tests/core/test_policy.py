"""A policy file is read as it was made, or not at all."""

import json

import pytest
from tests.policies import contents, policy

from hunch.core.exiting import ExitPolicy
from hunch.core.policy import enforced, named, parsed
from hunch.errors import PolicyError

SETTINGS = ExitPolicy(name="settings", tau=0.9, delta_ms=500, max_age_ms=1_000)


def test_a_policy_comes_back_as_it_was_written():
    """Writing and reading change nothing, and the name stands first in the file."""
    made = policy(taus={"3": 0.5}, curve={"tau": [0.1, 0.2], "accuracy": [0.9, None]})

    assert made == parsed(made.text(), "a test")
    assert "name" == next(iter(json.loads(made.text())))


def test_the_name_stands_for_the_contents():
    """Other contents have another name under the same stem."""
    names = {named("x", contents(tau=tau)).name for tau in (0.1, 0.2, 0.2)}

    assert 2 == len(names)
    assert all(name.startswith("x-") for name in names)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace('"tau": 0.8', '"tau": 0.7'), "changed after it was made"),
        (lambda text: text.replace('"tau": 0.8', '"tau": 1.7'), "tau: "),
        (lambda text: text.replace('"curve": {}', '"curve": {}, "tou": 1'), "tou: Extra inputs"),
        (lambda text: text.replace('"version": 1,', '"version": 2,', 1), "version: "),
        (lambda text: text[:-20], "Invalid JSON"),
        (lambda _: "[]", "object"),
        (lambda _: b"\xff", "Invalid JSON"),
    ],
)
def test_a_broken_policy_is_one_sentence(change, said):
    """Whatever is wrong with a file is said with where it stands, in one line."""
    with pytest.raises(PolicyError, match=r"^The policy in p\.json cannot be used: ") as refused:
        parsed(change(policy().text()), "p.json")

    assert said in str(refused.value)
    assert 1 == len(str(refused.value).splitlines())


def test_columns_that_differ_in_length_are_refused():
    """A curve is a table."""
    with pytest.raises(ValueError, match="differ in length"):
        contents(curve={"tau": [0.1], "accuracy": []})


def test_a_policy_replaces_what_it_says_and_leaves_the_rest():
    """τ, its table and temperatures are the policy's; Δ only where it names one."""
    made = policy(tau=0.7, taus={"b": 0.4}, temperatures={"fast": 2.0, "slow": 3.0})
    in_force = enforced(made, SETTINGS, ("a", "b"), has_logits=True)

    assert (made.name, 0.7, {1: 0.4}) == (in_force.name, in_force.tau, in_force.taus)
    assert (2.0, 3.0) == (in_force.temperature, in_force.slow_temperature)
    assert (500, 1_000) == (in_force.delta_ms, in_force.max_age_ms)
    assert 80 == enforced(policy(delta_ms=80), SETTINGS, ("a", "b"), has_logits=True).delta_ms


def test_a_tau_for_an_unknown_label_is_refused():
    """A table for other labels than the model's is not half applied."""
    with pytest.raises(PolicyError, match="'c', which the fast model does not know"):
        enforced(policy(taus={"a": 0.1, "c": 0.2}), SETTINGS, ("a", "b"), has_logits=True)


@pytest.mark.parametrize(
    ("measure", "labels", "has_logits", "said"),
    [
        ({"name": "entropy-2"}, "ab", True, "no confidence measure 'entropy-2'"),
        ({"name": "mixture", "numbers": (1, 1, 1)}, "ab", True, "their sum 1"),
        ({"name": "energy"}, "ab", True, "energy has 0 numbers"),
        ({"name": "energy", "numbers": (0, 1)}, "ab", False, "energy needs logits"),
        ({"name": "learned", "numbers": (0,) * 5}, "ab", True, "another number of labels"),
        ({"name": "learned", "numbers": (0,) * 5}, "abcdefg", True, "another number of labels"),
    ],
)
def test_a_measure_that_the_model_cannot_be_asked_for_is_refused(measure, labels, has_logits, said):
    """What would end a stage at its first message is refused before it is in force."""
    made = policy(measure=measure)
    with pytest.raises(PolicyError, match=f"^The policy {made.name} cannot be used: ") as refused:
        enforced(made, SETTINGS, tuple(labels), has_logits=has_logits)

    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("measure", "labels", "has_logits"),
    [
        ({"name": "energy", "numbers": (0, 1)}, "ab", True),
        ({"name": "learned", "numbers": (0,) * 4}, "ab", False),
        ({"name": "learned", "numbers": (0,) * 6}, "abcdefg", False),
        ({"name": "margin"}, "ab", False),
    ],
)
def test_a_measure_that_fits_the_model_is_taken(measure, labels, has_logits):
    """So many numbers as its labels ask for, and logits only where it needs them."""
    found = enforced(policy(measure=measure), SETTINGS, tuple(labels), has_logits=has_logits)

    assert measure["name"] == found.measure.name


@pytest.mark.parametrize("temperature", [1e-50, 1e-4, 1e4, 0.0])
def test_temperatures_that_leave_no_probabilities_are_refused(temperature):
    """Logits that are divided by them would be NaN, or all the same."""
    text = policy(temperatures={"fast": 2.0, "slow": 3.0}).text()
    with pytest.raises(PolicyError, match=r"temperatures\.fast: "):
        parsed(text.replace('"fast": 2.0', f'"fast": {temperature}'), "p.json")


def test_a_delta_that_no_deadline_can_carry_is_refused():
    """A deferral with a longer one could be read by nobody."""
    text = policy(delta_ms=80).text()
    with pytest.raises(PolicyError, match="delta_ms: "):
        parsed(text.replace('"delta_ms": 80', f'"delta_ms": {10**17}'), "p.json")
