"""Carries the faults of a schedule out, undoes them in time, and remembers whom they hit and when.

A fault whose stage has nobody left to hit is left out, and counted as that.
"""

import heapq
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
)
from tests.brokers import KafkaBroker
from tests.chaos.crew import Crew, is_extra
from tests.chaos.schedule import BROKER, Fault, Kind

SMALL_BYTES = (300, 2_000)
"""`max.message.bytes` of decisions while they are refused: all of them, or larger batches."""
LOOK_S = 0.05
ADMIN_TRIES = 100


@dataclass(slots=True)
class Deed:
    """A fault that was carried out; times in epoch s.

    Attributes:
        slot: of the process hit; of the stage or `broker` where it hit more than one.
        hit: partitions that it owned; None for all.
        ended_s: when whoever was hit was back, or set going again.
    """

    kind: Kind
    stage: str
    slot: str
    hit: frozenset[int] | None
    began_s: float
    ended_s: float


class Undo(NamedTuple):
    """What has to be done later."""

    at_s: float
    number: int
    action: Callable[[], None]


class Havoc:
    """Does harm to a crew and a broker."""

    def __init__(
        self, crew: Crew, broker: KafkaBroker, decisions: str, say: Callable[[str], None]
    ) -> None:
        self.deeds: list[Deed] = []
        self.left_out: Counter[Kind] = Counter()
        self._crew = crew
        self._broker = broker
        self._decisions = decisions
        self._say = say
        self._limit_bytes = ""
        self._undos: list[Undo] = []
        self._numbers = itertools.count()

    @property
    def counts(self) -> Counter[Kind]:
        """Faults carried out, by kind."""
        return Counter(deed.kind for deed in self.deeds)

    @property
    def is_over(self) -> bool:
        """Whether everything was undone."""
        return not self._undos

    def do(self, fault: Fault) -> None:
        """Carries one fault out; only those of the broker take their time."""
        if fault.kind in BROKER:
            self._hit_broker(fault)
        elif fault.kind is Kind.REFUSAL:
            self._refuse(fault)
        elif fault.kind is Kind.STALL:
            self._stall(fault)
        elif fault.kind is Kind.EXTRA:
            slot = self._crew.extra(fault.stage)
            deed = self._note(fault, slot, None, fault.lasts_s)
            self._later(fault.lasts_s, partial(self._leave, slot, deed))
        else:
            self._hit_process(fault)

    def tend(self) -> None:
        """Undoes what is due."""
        while self._undos and self._undos[0].at_s <= time.time():
            heapq.heappop(self._undos).action()
        self._crew.tend()

    def pause(self, seconds: float) -> None:
        """Lets time pass, and tends to what is due."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.tend()
            time.sleep(LOOK_S)

    def is_quiet(self) -> bool:
        """Whether nothing is under way."""
        self.tend()
        return self.is_over

    # -- processes

    def _hit_process(self, fault: Fault) -> None:
        live = self._crew.live(fault.stage)
        if not live:
            self.left_out[fault.kind] += 1
            return
        slot = live[int(fault.pick * len(live))]
        back_in_s = None if is_extra(slot) else fault.lasts_s
        deed = self._note(fault, slot, self._crew.owned(slot), fault.lasts_s)
        if fault.kind is Kind.KILL:
            self._crew.kill(slot, back_in_s)
        elif fault.kind is Kind.STOP:
            self._crew.stop(slot, back_in_s)
        else:
            self._crew.freeze(slot)
            self._later(fault.lasts_s, partial(self._thaw, slot, deed))

    def _stall(self, fault: Fault) -> None:
        live = self._crew.live("slow")
        deed = self._note(fault, "slow", None, fault.lasts_s)
        for slot in live:
            if fault.is_harsh and not is_extra(slot):
                self._crew.kill(slot, fault.lasts_s)
            else:
                self._crew.freeze(slot)
                self._later(fault.lasts_s, partial(self._thaw, slot, deed))

    def _thaw(self, slot: str, deed: Deed) -> None:
        deed.ended_s = time.time()
        self._crew.thaw(slot)
        self._say(f"{slot} goes on")

    def _leave(self, slot: str, deed: Deed) -> None:
        deed.ended_s = time.time()
        if slot in self._crew.live(deed.stage):
            self._crew.stop(slot, None)
            self._say(f"{slot} leaves")

    # -- the broker

    def _hit_broker(self, fault: Fault) -> None:
        deed = self._note(fault, "broker", None, 0.0)
        if fault.kind is Kind.BROKER_PAUSE:
            self._broker.freeze()
            self.pause(fault.lasts_s)
            self._broker.thaw()
        else:
            if fault.kind is Kind.BROKER_KILL:
                self._broker.kill()
            else:
                self._broker.stop()
            self.pause(fault.lasts_s)
            starting = threading.Thread(target=self._broker.start)
            starting.start()
            while starting.is_alive():
                self.pause(LOOK_S)
            starting.join()
        deed.ended_s = time.time()
        self._say("broker is back")

    def _refuse(self, fault: Fault) -> None:
        deed = self._note(fault, "decisions", None, fault.lasts_s)
        self._limit_bytes = self._limit_bytes or self._limit()
        self._set_limit(str(SMALL_BYTES[fault.is_harsh]))
        self.pause(fault.lasts_s)
        self._set_limit(self._limit_bytes)
        deed.ended_s = time.time()

    def _limit(self) -> str:
        resource = ConfigResource(ConfigResource.Type.TOPIC, self._decisions)
        admin = self._admin()
        (found,) = admin.describe_configs([resource]).values()
        limit: str = found.result(10.0)["max.message.bytes"].value
        return limit

    def _set_limit(self, limit_bytes: str) -> None:
        set_topic(self._admin(), self._decisions, "max.message.bytes", limit_bytes)

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self._broker.bootstrap, "log_level": 0})

    # -- what was done

    def _note(self, fault: Fault, slot: str, hit: frozenset[int] | None, lasts_s: float) -> Deed:
        now = time.time()
        stage = "broker" if fault.kind in BROKER | {Kind.REFUSAL} else fault.stage
        stage = "slow" if fault.kind is Kind.STALL else stage
        deed = Deed(fault.kind, stage, slot, hit, now, now + lasts_s)
        self.deeds.append(deed)
        self._say(f"{fault.kind} {slot}" + ("" if hit is None else f" {sorted(hit)}"))
        return deed

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._undos, Undo(time.time() + seconds, next(self._numbers), action))


def set_topic(admin: AdminClient, topic: str, key: str, value: str) -> None:
    """Sets one configuration of a topic; tries again while the broker is coming up."""
    entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
    for left in reversed(range(ADMIN_TRIES)):
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
        (altered,) = admin.incremental_alter_configs([resource]).values()
        try:
            altered.result(10.0)
        except KafkaException:
            if not left:
                raise
            time.sleep(0.2)
        else:
            return
