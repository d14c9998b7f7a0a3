"""The control topic: every reader comes to the same policy, and a rollback undoes a push."""

from functools import partial

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.policies import policy

from hunch.core.control import IN_FORCE, MAX_HISTORY, POLICY, ControlState
from hunch.errors import ConfigError, PolicyError, WireError

POLICIES = [policy(stem=f"p{number}", tau=number / 40) for number in range(MAX_HISTORY + 5)]


class Controlled(RuleBasedStateMachine):
    """Pushes and rollbacks by a writer, heard by a reader from the start and by one afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[tuple[bytes, bytes | None]] = []
        self.heard = ControlState()
        self.expected = [None]

    def write(self, changes):
        """Appends to the topic, and lets the reader hear."""
        self.log += changes
        for key, value in changes:
            self.heard.take(key, value)

    def late_reader(self):
        """Who reads the compacted topic from its start."""
        late = ControlState()
        newest = dict(self.log)
        for key, value in newest.items():
            late.take(key, value)
        return late

    @rule(made=st.sampled_from(POLICIES))
    def push(self, made):
        """A policy comes into force; one that is, stays."""
        self.write(self.late_reader().push(made))
        if self.expected[0] != made.name:
            self.expected = [made.name, *self.expected][:MAX_HISTORY]

    @precondition(lambda self: len(self.expected) > 1)
    @rule()
    def roll_back(self):
        """What was before comes back."""
        self.write(self.late_reader().rollback())
        del self.expected[0]

    @invariant()
    def readers_agree(self):
        """Both readers find the policy that is expected, whole."""
        for reader in (self.heard, self.late_reader()):
            found = reader.in_force()
            assert self.expected == list(reader.history)
            assert self.expected[0] == (None if found is None else found.name)

    @invariant()
    def is_bounded(self):
        """Only what can come back is kept."""
        assert set(self.heard.policies) <= {name for name in self.expected if name}


TestControlled = Controlled.TestCase
TestControlled.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def test_the_first_state_has_nothing_to_roll_back_to():
    """It is said, and nothing is written."""
    with pytest.raises(ConfigError, match="nothing to roll back"):
        ControlState().rollback()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, b"{}"),
        (b"tau", b"0.5"),
        (IN_FORCE, b"nonsense"),
        (IN_FORCE, b"[]"),
        (IN_FORCE, b'{"v": 9, "policy": "x", "before": []}'),
        (IN_FORCE, b'{"v": 1, "policy": 5, "before": []}'),
        (IN_FORCE, b'{"v": 1, "policy": "x"}'),
    ],
)
def test_what_is_not_ours_changes_nothing(key, value):
    """A strange record is refused, and what was in force stays."""
    state = ControlState()
    for change in state.push(POLICIES[1]):
        state.take(*change)

    with pytest.raises(WireError):
        state.take(key, value)
    found = state.in_force()
    assert found is not None
    assert POLICIES[1].name == found.name


@pytest.mark.parametrize("value", [None, b"{}", POLICIES[2].text().encode()])
def test_a_name_without_its_policy_is_refused(value):
    """What is in force must be there, whole, and be what it is called."""
    state = ControlState()
    for change in state.push(POLICIES[1]):
        state.take(*change)
    state.take(POLICY + POLICIES[1].name.encode(), value)

    with pytest.raises(PolicyError):
        state.in_force()


def heard(*changes):
    """What one knows that has heard these changes, a list for each turn."""
    state = ControlState()
    for change in [change for turn in changes for change in turn]:
        state.take(*change)
    return state


@pytest.mark.parametrize("value", [None, b"{", POLICIES[2].text().encode()])
def test_pushing_again_mends_what_the_topic_lost(value):
    """A policy in force whose record is gone or garbled is written again; nothing else turns."""
    state = heard(ControlState().push(POLICIES[1]))
    state.take(POLICY + POLICIES[1].name.encode(), value)
    for change in state.push(POLICIES[1]):
        state.take(*change)

    assert POLICIES[1] == state.in_force()
    assert (POLICIES[1].name, None) == state.history
    assert [] == state.push(POLICIES[1])


def test_what_is_not_usable_leaves_the_newest_that_is():
    """Older policies count before the settings do, and what was passed over is told."""
    first, second, third = POLICIES[1:4]
    state = heard(ControlState().push(first))
    for made in (second, third):
        for change in state.push(made):
            state.take(*change)

    def use(made, unusable):
        if made.name in unusable:
            raise PolicyError(f"No {made.name}.")
        return made.tau

    found = []
    for unusable in ({third.name}, {third.name, second.name}, {it.name for it in POLICIES}):
        tau, refused = state.usable(partial(use, unusable=unusable))
        found.append((tau, [it.name for it in refused]))

    assert [
        (second.tau, [third.name]),
        (first.tau, [third.name, second.name]),
        (None, [third.name, second.name, first.name]),
    ] == found


def test_a_policy_from_before_the_settings_came_back_does_not_count():
    """Who rolled back to the settings has them, whatever was pushed earlier."""
    state = heard([(IN_FORCE, b'{"v": 1, "policy": null, "before": ["gone"]}')])

    assert (None, []) == state.usable(lambda made: made)
