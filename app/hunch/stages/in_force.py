"""The policy in force in this process: what the settings say, until a pushed one replaces it.

A batch of the fast model is decided by one policy from end to end, and what it defers carries the
name of that policy: the slow model answers it at the temperature of that one, also after a push.
Where a process does not know the name, as it was started after the push or hears of it later than
the fast stage, its own policy in force says the temperature.
"""

from collections import OrderedDict
from collections.abc import Callable

from hunch.core.control import MAX_HISTORY, ControlState
from hunch.core.exiting import ExitPolicy
from hunch.core.policy import Policy
from hunch.errors import PolicyError, WireError
from hunch.kafka.client import Record
from hunch.telemetry import Metrics, log_event

Enforce = Callable[[Policy], ExitPolicy]
"""From a policy to what this process can decide by; raises `PolicyError` for other models."""


class InForce:
    """The exit policy, replaced whole: who decides a batch takes it once and keeps it for that.

    Args:
        settings: what counts where nothing was pushed.

    Attributes:
        policy: what is in force now.
    """

    def __init__(self, settings: ExitPolicy) -> None:
        self.policy = settings
        self._settings = settings
        self._slow_temperatures: OrderedDict[str, float | None] = OrderedDict()
        self._remember()

    def slow_temperature(self, name: str) -> float | None:
        """What divides the slow model's logits for what a policy of this name has deferred.

        Of the last policies that were in force here; for others, of the one that is.
        """
        return self._slow_temperatures.get(name, self.policy.slow_temperature)

    def _remember(self) -> None:
        known, policy = self._slow_temperatures, self.policy
        known[policy.name] = policy.slow_temperature
        known.move_to_end(policy.name)
        if len(known) > MAX_HISTORY:
            known.popitem(last=False)

    def replace(self, pushed: ExitPolicy | None) -> bool:
        """Brings a policy into force, None the settings; whether it is another one than before."""
        before, self.policy = self.policy, pushed or self._settings
        self._remember()
        return before != self.policy


class Control:
    """What the control topic says, brought into force; what cannot be is refused and counted.

    Where the newest policy is refused, the newest that is not counts, as in a process that starts
    now.
    """

    def __init__(self, in_force: InForce, enforce: Enforce, metrics: Metrics) -> None:
        self._in_force = in_force
        self._enforce = enforce
        self._metrics = metrics
        self._state = ControlState()
        self._told: set[str] = set()

    def take(self, records: list[Record]) -> None:
        """Takes records in their order; only what the last of them says comes into force."""
        is_changed = False
        for record in records:
            try:
                is_changed |= self._state.take(record.key, record.value)
            except WireError as error:
                self._refuse(error, record.offset)
        if is_changed:
            self._bring_into_force(records[-1].offset)

    def _bring_into_force(self, offset: int) -> None:
        policy, refused = self._state.usable(self._enforce)
        is_another = self._in_force.replace(policy)
        for place, (name, error) in enumerate(refused):
            if place == 0 or name not in self._told:  # those below were told when they were pushed
                self._refuse(error, offset)
        self._told = {name for name, _ in refused}
        if is_another:
            now = self._in_force.policy
            log_event("policy_in_force", policy=now.name, tau=now.tau, delta_ms=now.delta_ms)

    def _refuse(self, error: PolicyError | WireError, offset: int) -> None:
        self._metrics.count("policies_refused")
        log_event(
            "policy_refused",
            message=str(error),
            offset=offset,
            stays=self._in_force.policy.name,
        )
