"""Which faults come, in which order, and how long they last: all of it drawn from a seed.

The schedule knows no process and no clock, so the same seed gives the same faults again; only the
moment within the stream differs from run to run.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

STAGES = ("fast", "slow", "join")


class Kind(StrEnum):
    """What can be done to a running cascade."""

    KILL = "kill"
    """kill -9 of a process, which is back after up to 2 s."""
    FREEZE = "freeze"
    """SIGSTOP past the session time-out, then SIGCONT: a zombie that knows of nothing."""
    STUTTER = "stutter"
    """SIGSTOP for about the transaction time-out: still the owner, and perhaps fenced."""
    STOP = "stop"
    """SIGTERM, and back."""
    EXTRA = "extra"
    """One more process of a stage for a while: two planned handovers."""
    STALL = "slow-stall"
    """Both slow processes are dead, or stopped, for a while."""
    REFUSAL = "refusal"
    """The broker refuses larger batches of decisions for about a second."""
    BROKER_RESTART = "broker-restart"
    """SIGTERM of the broker, and back."""
    BROKER_KILL = "broker-kill"
    """kill -9 of the broker, and back."""
    BROKER_PAUSE = "broker-pause"
    """SIGSTOP of the broker for some seconds."""


BROKER = frozenset({Kind.BROKER_RESTART, Kind.BROKER_KILL, Kind.BROKER_PAUSE})
EVERYTHING: Mapping[Kind, int] = {
    Kind.KILL: 12,
    Kind.FREEZE: 3,
    Kind.STUTTER: 1,
    Kind.STOP: 3,
    Kind.EXTRA: 2,
    Kind.STALL: 1,
    Kind.REFUSAL: 1,
    Kind.BROKER_RESTART: 1,
    Kind.BROKER_KILL: 1,
    Kind.BROKER_PAUSE: 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """A kind of trouble: which faults, how dense, and the settings that it needs.

    Attributes:
        weights: how often each kind comes in a round; rounds are shuffled.
        stages: whom faults of processes hit, drawn evenly.
        mean_pause_s: between the end of a fault's beginning and the next; exponential.
        least_pause_s: added to each pause: with it, faults come one at a time.
        notice_ms: how late a process notices what a rebalance has changed.
        forgets: the share of answers about committed offsets that are empty.
        hurried: the share of messages that ask for a deadline of their own, 1 s after they are
            sent: with a long Δ, old deferrals wait among young ones that are decided.
        visited: stages that one more process joins and leaves after all other faults: a lane that
            moves away comes back, and must be opened again.
        settings: of Hunch.
    """

    name: str
    weights: Mapping[Kind, int]
    stages: tuple[str, ...] = ("fast", "join", "join", "fast", "slow")
    mean_pause_s: float = 2.5
    least_pause_s: float = 0.0
    notice_ms: int = 0
    forgets: float = 0.0
    hurried: float = 0.0
    visited: tuple[str, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)


PLANNED = {Kind.EXTRA: 2, Kind.STOP: 1}
OVERLOADED = {"max_batch_size": 4}
"""The slow stage cannot answer everything: what has time waits, and old deferrals stay pending."""
MIXES = {
    mix.name: mix
    for mix in (
        Mix(
            name="short",
            weights={
                Kind.KILL: 3,
                Kind.FREEZE: 2,
                Kind.STUTTER: 1,
                Kind.STOP: 1,
                Kind.EXTRA: 2,
                Kind.REFUSAL: 1,
                Kind.BROKER_KILL: 1,
            },
            stages=("fast", "join"),
            mean_pause_s=1.5,
            notice_ms=300,
            forgets=0.15,
            hurried=0.7,
            visited=("fast", "join"),
            settings={"delta_ms": 5_000, **OVERLOADED},
        ),
        Mix(name="dense", weights=EVERYTHING, hurried=0.2, forgets=0.02, notice_ms=300),
        Mix(
            name="sparse",
            weights=dict.fromkeys(Kind, 1),
            mean_pause_s=1.0,
            least_pause_s=25.0,
        ),
        Mix(
            name="late-notice",
            weights=PLANNED,
            stages=("fast", "join"),
            notice_ms=500,
        ),
        Mix(
            name="handovers",
            weights=PLANNED,
            stages=("join",),
            mean_pause_s=2.0,
            hurried=0.5,
            settings={"delta_ms": 8_000, **OVERLOADED},
        ),
        Mix(
            name="overflow",
            weights={Kind.KILL: 3, Kind.FREEZE: 1, Kind.STOP: 1, Kind.EXTRA: 1},
            stages=("join",),
            mean_pause_s=4.0,
            settings={"delta_ms": 8_000, "max_pending": 50, **OVERLOADED},
        ),
        Mix(
            name="no-delta",
            weights={Kind.KILL: 3, Kind.FREEZE: 1, Kind.STOP: 1, Kind.EXTRA: 1},
            stages=("fast", "join"),
            mean_pause_s=4.0,
            settings={"delta_ms": 0},
        ),
        Mix(
            name="brokers",
            weights={Kind.BROKER_KILL: 1, Kind.BROKER_RESTART: 1},
            mean_pause_s=2.0,
        ),
        Mix(
            name="long-transactions",
            weights={Kind.BROKER_KILL: 2, Kind.BROKER_RESTART: 1},
            mean_pause_s=4.0,
            settings={"transaction_timeout_ms": 30_000, "session_timeout_ms": 45_000},
        ),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault to come.

    Attributes:
        pick: chooses among those that can be hit, from 0 up to 1.
        lasts_s: until whoever was hit is back.
        is_harsh: the worse of two ways, where a kind has two.
        pause_s: until the next fault.
    """

    number: int
    kind: Kind
    stage: str
    pick: float
    lasts_s: float
    is_harsh: bool
    pause_s: float


def faults(mix: Mix, seed: int, session_s: float) -> Iterator[Fault]:
    """The faults of a seed, without end."""
    chance = random.Random(f"{mix.name} {seed}")
    number = 0
    while True:
        a_round = [kind for kind, weight in mix.weights.items() for _ in range(weight)]
        chance.shuffle(a_round)
        for kind in a_round:
            shortest_s, longest_s = _lasts_s(kind, session_s)
            yield Fault(
                number=number,
                kind=kind,
                stage=chance.choice(mix.stages),
                pick=chance.random(),
                lasts_s=round(chance.uniform(shortest_s, longest_s), 3),
                is_harsh=chance.random() < 0.5,
                pause_s=round(mix.least_pause_s + chance.expovariate(1 / mix.mean_pause_s), 3),
            )
            number += 1


def visit(stage: str) -> Fault:
    """An extra process of a stage, for long enough to own something."""
    return Fault(
        number=-1, kind=Kind.EXTRA, stage=stage, pick=0.0, lasts_s=12.0, is_harsh=False, pause_s=0.0
    )


def _lasts_s(kind: Kind, session_s: float) -> tuple[float, float]:
    session_s = min(session_s, 8.0)
    return {
        Kind.KILL: (0.0, 2.0),
        Kind.FREEZE: (1.3 * session_s, 2.4 * session_s),
        Kind.STUTTER: (0.7 * session_s, 1.0 * session_s),
        Kind.STOP: (0.0, 1.0),
        Kind.EXTRA: (3.0 + 0.3 * session_s, 4.0 + session_s),
        Kind.STALL: (4.0 + 0.5 * session_s, 6.0 + session_s),
        Kind.REFUSAL: (0.3, 1.5),
        Kind.BROKER_RESTART: (0.0, 1.0),
        Kind.BROKER_KILL: (0.0, 1.0),
        Kind.BROKER_PAUSE: (3.0, 8.0),
    }[kind]


def calm_s(kind: Kind, session_s: float) -> float:
    """How long after its end a fault may still delay a fallback: the bound that is promised.

    A dead process is missed after its session, and a takeover is granted 5 s on a busy machine; a
    lane that was refused waits for two heartbeats; a broker that is back finds members whose
    sessions have ended. The slow stage can delay nothing: its answers are not waited for.
    """
    takeover_s, two_beats_s = 5.0, 2.0
    return {
        Kind.KILL: session_s + takeover_s,
        Kind.FREEZE: session_s + takeover_s,
        Kind.STUTTER: session_s + takeover_s,
        Kind.STOP: takeover_s,
        Kind.EXTRA: takeover_s,
        Kind.STALL: 0.0,
        Kind.REFUSAL: two_beats_s + takeover_s,
        Kind.BROKER_RESTART: session_s + two_beats_s + takeover_s,
        Kind.BROKER_KILL: session_s + two_beats_s + takeover_s,
        Kind.BROKER_PAUSE: session_s + two_beats_s + takeover_s,
    }[kind]
