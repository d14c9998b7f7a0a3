"""One run: a cascade under a steady load, faults from a seed, and the verdict on what came of it.

start     fresh topics, two processes of each stage; every partition has spoken
quiet     nothing happens
faults    until their time is over and as many as wanted of each kind were done
quiet     all of it is undone; the load goes on
end       the load ends; everything is decided; the witness hears whether anything comes twice
"""

import json
import resource
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient
from tests.brokers import ROOT, KafkaBroker, comes_true
from tests.chaos.accounts import account, bugs, takeovers
from tests.chaos.crew import Crew
from tests.chaos.gaps import Gaps, gaps, standstills
from tests.chaos.havoc import Havoc, set_topic
from tests.chaos.load import Load
from tests.chaos.markers import aborted
from tests.chaos.oracle import TAU, Oracle
from tests.chaos.schedule import Kind, Mix, faults, visit
from tests.chaos.slow_worker import SlowWorker
from tests.chaos.verdicts import Interval, Verdicts, judge, lateness, merged, restless_spans
from tests.chaos.witness import Witness, read_again, read_truth
from tests.kafka.processes import HUNCH, hunch, surroundings

PARTITIONS = 4
HEARD_S = 60.0
DECIDED_S = 90.0
STALLED_S = 20.0
"""With nothing new decided for so long, the rest is taken for lost."""
SETTLED_S = 5.0
"""From the first decision in each partition until the groups must have settled."""
LAST_S = 3.0
"""After everything is decided, the time in which a second decision may still come."""
TOPICS = ("decisions", "deferrals", "late-results", "dead-letters")
EVIDENCE = 50
"""Anomalies of each kind that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run is made of.

    Attributes:
        delivery: the promise that is tested.
        seconds: of faults.
        wanted: how many faults of a kind must be done at least, however long that takes.
        session_ms: short ones make for more faults a minute.
        app: the folder that holds the package `hunch`.
        settings: of Hunch, over those of the mix.
    """

    mix: Mix
    seed: int
    seconds: float
    delivery: str = "exactly-once"
    wanted: Mapping[Kind, int] = field(default_factory=dict)
    rate: float = 500.0
    session_ms: int = 6_000
    quiet_s: float = 6.0
    app: Path = ROOT / "app"
    settings: Mapping[str, object] = field(default_factory=dict)

    @property
    def may_repeat(self) -> bool:
        """Whether the promise lets a message be decided twice."""
        return self.delivery == "at-least-once"

    @property
    def session_s(self) -> float:
        """The session time-out in force."""
        return float(str(self.in_force("")["session_timeout_ms"])) / 1000

    def in_force(self, bootstrap: str) -> dict[str, object]:
        """Every setting that the stages are given."""
        return {
            "bootstrap": bootstrap,
            "delivery": self.delivery,
            "tau": TAU,
            "delta_ms": 1_000,
            "session_timeout_ms": self.session_ms,
            "heartbeat_interval_ms": max(100, min(500, self.session_ms // 5)),
            **self.mix.settings,
            **self.settings,
        }


@dataclass(slots=True)
class Outcome:
    """What came of a run."""

    plan: Plan
    folder: Path
    verdicts: Verdicts
    bugs: list[str]
    gaps: dict[str, Gaps]
    deeds: Counter[str]
    counts: dict[str, Any]

    @property
    def problems(self) -> dict[str, int]:
        """All that must be zero."""
        return {**self.verdicts.counts(), "bugs": len(self.bugs)}

    @property
    def has_passed(self) -> bool:
        """Whether nothing is wrong but what the promise allows."""
        allowed = {"duplicate"} if self.plan.may_repeat else set()
        return not any(count for name, count in self.problems.items() if name not in allowed)

    def as_json(self) -> dict[str, Any]:
        """All of it, anomalies in part."""
        return {
            "mix": self.plan.mix.name,
            "seed": self.plan.seed,
            "delivery": self.plan.delivery,
            "settings": self.plan.in_force(""),
            "problems": self.problems,
            "evidence": {
                name: values[:EVIDENCE]
                for name, values in (asdict(self.verdicts) | {"bugs": self.bugs}).items()
                if isinstance(values, list)
            },
            "faults": dict(self.deeds),
            "gaps_s": {kind: found.as_columns() for kind, found in sorted(self.gaps.items())},
            **self.counts,
        }


class Progress:
    """Hears how a run gets on; this one keeps quiet."""

    def say(self, line: str) -> None:
        """Something has happened."""

    def show(self, run: "Run") -> None:
        """Called some times a second."""


class Run:
    """A run under way."""

    def __init__(self, plan: Plan, broker: KafkaBroker, folder: Path, progress: Progress) -> None:
        self.plan = plan
        self.phase = "start"
        self.began_s = time.time()
        self._broker = broker
        self._progress = progress
        self._said = (folder / "faults.log").open("w", buffering=1)
        self.folder = folder
        self.prefix = f"chaos-{plan.mix.name}-{plan.seed}-{int(time.time()) % 100_000}."
        settings = plan.in_force(broker.bootstrap) | {"topic_prefix": self.prefix}
        self._create_topics(settings)
        mix = plan.mix
        oddities = json.dumps(
            {"seed": plan.seed, "notice_ms": mix.notice_ms, "forgets": mix.forgets}
        )
        self.crew = Crew(folder, settings, oddities, plan.app)
        self.havoc = Havoc(self.crew, broker, f"{self.prefix}decisions", self._say)
        self._oracle = Oracle.of(ROOT / "models")
        self.load = Load(
            broker.bootstrap,
            f"{self.prefix}messages",
            self._oracle,
            rate=plan.rate,
            partitions=PARTITIONS,
            hurried=plan.mix.hurried,
        )
        self.witness = Witness(broker.bootstrap, f"{self.prefix}decisions", 2 * PARTITIONS)
        self._worker = SlowWorker(
            broker.bootstrap, self.prefix, self._oracle, seed=plan.seed, partitions=PARTITIONS
        )

    def go(self) -> Outcome:
        """From start to end."""
        cpu_before, wall_before = _cpu_s(), time.monotonic()
        try:
            self._start()
            self._pause(self.plan.quiet_s)
            self._harm()
            self._settle()
            loaded_until_s = time.time()
            self._end()
        finally:
            self.load.stop()
            self._worker.stop()
            self.witness.stop()
            self.crew.kill_all()
            self._said.close()
        cpu_s, wall_s = _cpu_s() - cpu_before, time.monotonic() - wall_before
        return self._judge(loaded_until_s, {"wall_s": round(wall_s, 1), "cpu_s": round(cpu_s, 1)})

    # -- phases

    def _start(self) -> None:
        self.crew.start_all()
        self.crew.wait_ready()
        self.witness.start()
        self._worker.start()
        self.load.start()
        all_heard = set(range(2 * PARTITIONS))
        is_heard = self._wait(lambda: self.witness.partitions_heard() >= all_heard, HEARD_S)
        assert is_heard, "some partitions of decisions never spoke"
        self._started_s = time.time() + SETTLED_S

    def _harm(self) -> None:
        self.phase = "faults"
        until = time.monotonic() + self.plan.seconds
        for fault in faults(self.plan.mix, self.plan.seed, self.plan.session_s):
            if time.monotonic() > until and not self._missing():
                break
            self.havoc.do(fault)
            if self.plan.mix.least_pause_s:
                self._wait(self.havoc.is_quiet, 60.0)
            self._pause(fault.pause_s)
        if self.plan.mix.visited:
            self._wait(self.havoc.is_quiet, 60.0)
            self._pause(self.plan.session_s)
        for stage in self.plan.mix.visited:
            self.havoc.do(visit(stage))

    def _missing(self) -> dict[Kind, int]:
        done = self.havoc.counts
        return {
            kind: wanted - done[kind]
            for kind, wanted in self.plan.wanted.items()
            if done[kind] < wanted
        }

    def _settle(self) -> None:
        self.phase = "quiet"
        self._wait(self.havoc.is_quiet, 60.0)
        self._pause(self.plan.session_s + self.plan.quiet_s)

    def _end(self) -> None:
        self.phase = "end"
        self.load.stop()
        self._truth = read_truth(self._broker.bootstrap, self.prefix, PARTITIONS)
        self._wait(self._is_decided_or_stalled(), DECIDED_S)
        self._pause(LAST_S)
        self.crew.end()
        self._truth = read_truth(self._broker.bootstrap, self.prefix, PARTITIONS)
        self._wait(lambda: self.witness.origins >= self._truth.messages.keys(), LAST_S)
        self.witness.stop()
        self._reading = read_again(
            self._broker.bootstrap, f"{self.prefix}decisions", 2 * PARTITIONS, self.witness.seen
        )
        self._aborted = aborted(self._broker.data, [f"{self.prefix}{topic}" for topic in TOPICS])

    def _is_decided_or_stalled(self) -> Callable[[], bool]:
        decided, since_s = 0, time.monotonic()

        def is_over() -> bool:
            nonlocal decided, since_s
            if len(self.witness.origins) > decided:
                decided, since_s = len(self.witness.origins), time.monotonic()
            is_stalled = time.monotonic() - since_s > STALLED_S
            return is_stalled or self.witness.origins >= self._truth.messages.keys()

        return is_over

    def _judge(self, loaded_until_s: float, cost: dict[str, float]) -> Outcome:
        plan, seen = self.plan, self._reading.decisions
        deeds = self.havoc.deeds
        start = Interval(self.began_s * 1000, self._started_s * 1000)
        restless = merged([start, *restless_spans(deeds, plan.session_s)])
        verdicts = judge(
            self._truth,
            seen,
            self._oracle,
            partitions=PARTITIONS,
            unrest=restless,
            may_repeat=plan.may_repeat,
        )
        for one in self._reading.gone:
            verdicts.note(verdicts.contradiction, one, "was seen and is gone")
        if self.witness.problem is not None:
            verdicts.contradiction.append(self.witness.problem)
        found_bugs = bugs(self.crew)
        if self.load.refused:
            found_bugs.append(f"the load lost {self.load.refused} messages: it proves nothing")
        if self.load.sent < plan.rate / 2 * (loaded_until_s - self._started_s):
            found_bugs.append(f"the load sent {self.load.sent} messages only: it proves little")
        if plan.in_force("")["delta_ms"] == 0 and any(one.path == "slow" for one in seen):
            found_bugs.append("a slow answer was in time although the slow model got none")
        if plan.mix.least_pause_s:
            found_bugs += standstills(
                seen,
                deeds,
                partitions=PARTITIONS,
                session_s=plan.session_s,
                ended_s=loaded_until_s,
            )
        return Outcome(
            plan=plan,
            folder=self.folder,
            verdicts=verdicts,
            bugs=found_bugs,
            gaps=gaps(
                seen,
                deeds,
                takeovers(self.crew),
                partitions=PARTITIONS,
                session_s=plan.session_s,
                ended_s=loaded_until_s,
            ),
            deeds=Counter(str(deed.kind) for deed in deeds),
            counts={
                "messages": len(self._truth.messages),
                "decisions": len(seen),
                "missed_by_witness": self._reading.missed,
                "paths": dict(Counter(f"{one.path}/{one.reason}" for one in seen)),
                "worker_answers": self._worker.answers,
                "aborted_transactions": self._aborted,
                "found_after_s": self._found_after_s(verdicts),
                "left_out": dict(self.havoc.left_out),
                **account(self.crew),
                **cost,
                "fallback_ms": lateness(seen, restless),
            },
        )

    # -- meanwhile

    def _wait(self, claim: Callable[[], bool], timeout_s: float) -> bool:
        return comes_true(claim, timeout_s, self._tend)

    def _pause(self, seconds: float) -> None:
        comes_true(lambda: False, seconds, self._tend)

    def _tend(self) -> None:
        self.havoc.tend()
        self._progress.show(self)

    def _found_after_s(self, verdicts: Verdicts) -> float | None:
        """From the first fault to the first decision that is wrong, or to the end."""
        deeds = self.havoc.deeds
        if not any(verdicts.counts().values()) or not deeds:
            return None
        first_s = time.time() if verdicts.first_ms is None else verdicts.first_ms / 1000
        return round(first_s - deeds[0].began_s, 1)

    def _say(self, line: str) -> None:
        told = f"{time.time() - self.began_s:7.1f} {line}"
        self._said.write(told + "\n")
        self._progress.say(told)

    def _create_topics(self, settings: Mapping[str, object]) -> None:
        arguments = [f"--set={key}={value}" for key, value in settings.items()]
        made = subprocess.run(
            hunch("topics", "apply", *arguments, program=HUNCH),
            cwd=self.folder,
            env=surroundings(PYTHONPATH=str(self.plan.app)),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert made.returncode == 0, f"hunch topics apply says: {made.stdout}{made.stderr}"
        admin = AdminClient({"bootstrap.servers": self._broker.bootstrap, "log_level": 0})
        set_topic(admin, f"{self.prefix}decisions", "message.timestamp.type", "LogAppendTime")


def run(
    plan: Plan,
    broker: KafkaBroker,
    progress: Progress | None = None,
    *,
    folder: Path | None = None,
) -> Outcome:
    """Runs a plan; logs stay in the folder, which is a new temporary one where none is given."""
    broker.start()
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix=f"hunch-chaos-{plan.mix.name}-{plan.seed}-"))
    outcome = Run(plan, broker, folder, progress or Progress()).go()
    (folder / "outcome.json").write_text(json.dumps(outcome.as_json(), indent=1))
    return outcome


def _cpu_s() -> float:
    """CPU time of this process and of all children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
