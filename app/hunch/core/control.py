"""The control topic's meaning: which policy was pushed, and which ones before it.

Every policy is a record of its own, under the key `policy/<name>`; the record `in-force` names the
one that counts, and those before it. So a policy is taken whole or not at all, and one that was
pushed before can be named again.

Who cannot use the newest one takes the newest that it can: so one that reads the topic from its
start comes to the same as one that has heard it all.

Two that push at the same moment do not see each other: the later one is in force, and the earlier
one is not in its history. Who pushes reads back what came of it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from hunch.core.policy import Policy, parsed
from hunch.errors import ConfigError, PolicyError, WireError

IN_FORCE = b"in-force"
POLICY = b"policy/"
VERSION = 1
MAX_HISTORY = 20
"""Policies that can be rolled back to; older ones leave the topic."""
Change = tuple[bytes, bytes | None]
"""Key and value of a record to be written; None removes the key."""
T = TypeVar("T")


class Refused(NamedTuple):
    """A policy that cannot be used, and why."""

    name: str
    error: PolicyError


@dataclass(slots=True)
class ControlState:
    """What the records so far say.

    Attributes:
        policies: name → policy, as it was written.
        history: names, the newest first; the first is in force, None are the settings.
    """

    policies: dict[str, bytes] = field(default_factory=dict)
    history: tuple[str | None, ...] = (None,)

    def take(self, key: bytes | None, value: bytes | None) -> bool:
        """Takes one record; whether it may have changed what is in force.

        Raises `WireError` for what nobody of ours has written; it changes nothing.
        """
        if key == IN_FORCE:
            self.history = (None,) if value is None else _history(value)
            return True
        if key is None or not key.startswith(POLICY):
            raise WireError("A record on control has a key that Hunch does not know.")
        name = key.removeprefix(POLICY).decode("utf-8", "replace")
        if value is None:
            self.policies.pop(name, None)
        else:
            self.policies[name] = value
        return name in self.history

    def in_force(self) -> Policy | None:
        """The policy that was pushed last; None where the settings count. Raises `PolicyError`."""
        name = self.history[0]
        return None if name is None else self.policy(name)

    def usable(self, use: Callable[[Policy], T]) -> tuple[T | None, list[Refused]]:
        """What the newest policy that can be used means, and the newer ones that cannot.

        Args:
            use: what a policy means; raises `PolicyError` where it cannot be used.

        Without any, and where the settings came after it, that is None.
        """
        refused: list[Refused] = []
        for name in self.history:
            if name is None:
                break
            try:
                return use(self.policy(name)), refused
            except PolicyError as error:
                refused.append(Refused(name, error))
        return None, refused

    def policy(self, name: str) -> Policy:
        """A policy that was pushed; raises `PolicyError`."""
        if name not in self.policies:
            raise PolicyError(f"The control topic names the policy {name} and does not hold it.")
        found = parsed(self.policies[name], f"the control topic under {name}")
        if found.name != name:
            raise PolicyError(f"The control topic holds {found.name} under the name {name}.")
        return found

    def push(self, policy: Policy) -> list[Change]:
        """The records that bring a policy into force; none where it is already, whole."""
        text, is_newest = policy.text().encode(), self.history[0] == policy.name
        if is_newest and self.policies.get(policy.name) == text:
            return []
        history = self.history if is_newest else (policy.name, *self.history)
        return [(POLICY + policy.name.encode(), text), *self._turn(history)]

    def rollback(self) -> list[Change]:
        """The records that bring back what was in force before; raises `ConfigError`."""
        if len(self.history) < 2:
            raise ConfigError("Nothing was in force before: there is nothing to roll back to.")
        return self._turn(self.history[1:])

    def _turn(self, history: tuple[str | None, ...]) -> list[Change]:
        kept = history[:MAX_HISTORY]
        body = {"v": VERSION, "policy": kept[0], "before": kept[1:]}
        gone = sorted(set(self.policies) - set(kept))
        return [
            (IN_FORCE, json.dumps(body).encode()),
            *((POLICY + name.encode(), None) for name in gone),
        ]


def _history(value: bytes) -> tuple[str | None, ...]:
    try:
        body: Any = json.loads(value)
        names = (body["policy"], *body["before"])
    except (ValueError, KeyError, TypeError) as error:
        raise WireError(f"The record in-force on control is garbled: {error!r}.") from None
    if body.get("v") != VERSION or not all(name is None or type(name) is str for name in names):
        raise WireError("The record in-force on control is of another version of Hunch.")
    return names
