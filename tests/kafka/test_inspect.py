"""`hunch inspect` on a real Kafka: real stages, transactions, partitions too large to be read."""

import asyncio
import json
import os
import random
import sys
from typing import Any, NamedTuple

import pytest
from aiokafka import AIOKafkaProducer
from tests.kafka.checker import Checker
from tests.search.trails import Writer, a_decision, a_deferral, a_message, now_ms

from hunch.core.envelope import Path, Reason

PARTITIONS = 2
P = PARTITIONS
DELTA_MS = 60_000
HUNCH = "from hunch.cli import main; main()"


class Inspected(NamedTuple):
    """What one `hunch inspect` did."""

    code: int
    account: dict[str, Any]
    errors: str

    def path(self) -> list[tuple[str, str]]:
        """Path and reason of each decision."""
        return [(made["path"], made["reason"]) for made in self.account["decisions"]]


@pytest.fixture
def inspect(kafka_bootstrap, topic_prefix, tmp_path):
    """Runs `hunch inspect … --json` on this test's topics."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("HUNCH_")}
    settings = {"HUNCH_BOOTSTRAP": kafka_bootstrap, "HUNCH_TOPIC_PREFIX": topic_prefix}

    async def run(*arguments) -> Inspected:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", HUNCH, "inspect", *arguments, "--json"),
            cwd=tmp_path,
            env=clean | settings,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            said, errors = await process.communicate()
        assert process.returncode is not None
        return Inspected(process.returncode, json.loads(said or b"{}"), errors.decode())

    return run


class Sender:
    """Sends messages one by one to partition 0; answers their origins."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, checker: Checker) -> None:
        self.checker = checker
        self._producer = producer
        self._topic = topic

    async def send(self, value: bytes, *, in_ms: int | None = None, timestamp_ms=None) -> str:
        """One message, perhaps with a deadline of its own so far away."""
        headers = [] if in_ms is None else [("hunch-deadline-ms", b"%d" % (now_ms() + in_ms))]
        done = await self._producer.send_and_wait(
            self._topic, value, partition=0, headers=headers, timestamp_ms=timestamp_ms
        )
        return f"{self._topic}-0-{done.offset}"


@pytest.fixture
async def sender(kafka_bootstrap, fresh_topics):
    """A sender to fresh topics, with who sees the decisions."""
    prefix = await fresh_topics(partitions=PARTITIONS)
    async with (
        AIOKafkaProducer(bootstrap_servers=kafka_bootstrap, acks="all") as producer,
        Checker(kafka_bootstrap, f"{prefix}decisions", 2 * P) as checker,
    ):
        yield Sender(producer, f"{prefix}messages", checker)


async def until(inspect, origin, is_met) -> Inspected:
    """Inspects until a claim about it is true; fails after 20 s."""
    async with asyncio.timeout(20):
        while True:
            inspected: Inspected = await inspect(origin)
            if is_met(inspected.account):
                return inspected


def unsure(digits, decisions) -> bytes:
    """A digit that the slow model decided."""
    number = next(n for n, made in enumerate(decisions) if made == ("slow", "verified"))
    return bytes(digits[number])


@pytest.mark.timeout(150, func_only=True)
async def test_every_path_is_told_as_real_stages_went_it(
    sender, start_stage, topic_prefix, digits, inspect
):
    """Fast, slow, fallback, error, pending and unread: each with its hops, or why they miss."""
    stages = {
        stage: start_stage(stage, tau=0.9, delta_ms=DELTA_MS) for stage in ("fast", "slow", "join")
    }
    for stage in stages.values():
        stage.wait_ready()
    origins = [await sender.send(digit) for digit in digits[:60]]
    broken = await sender.send(b"oops")
    from_the_past = await sender.send(digits[0], timestamp_ms=1_000)
    await sender.checker.decide([*origins, broken, from_the_past], 20.0)
    made = [sender.checker.by_origin[origin][0].body for origin in origins]
    went = [(body["path"], body["reason"]) for body in made]
    stages.pop("slow").terminate()
    hurried = await sender.send(unsure(digits, went), in_ms=100)
    await sender.checker.decide([hurried], 20.0)
    patient = await sender.send(unsure(digits, went))
    pending = await until(inspect, patient, lambda account: account["deferrals"])
    stages.pop("fast").terminate()
    unread = await inspect(await sender.send(digits[0]))
    fast = await inspect(origins[went.index(("fast", "confident"))])
    slow = await inspect(origins[went.index(("slow", "verified"))])
    fallback, error, past = [await inspect(o) for o in (hurried, broken, from_the_past)]
    unknown = await inspect(f"{topic_prefix}messages-0-100000")
    start_stage("slow", delta_ms=DELTA_MS).wait_ready()
    verified = await until(inspect, patient, lambda account: account["is_decided"])
    expired = await until(
        inspect, hurried, lambda account: "came to it" in account["missing"]["slow_result"]
    )

    assert {("fast", "confident"), ("slow", "verified")} == set(went)
    assert (0, [("fast", "confident")], {}, []) == (
        fast.code,
        fast.path(),
        fast.account["missing"],
        fast.account["deferrals"],
    )
    assert (0, [("slow", "verified")], {}) == (slow.code, slow.path(), slow.account["missing"])
    [deferral], [result], [decision] = (
        slow.account[hop] for hop in ("deferrals", "slow_results", "decisions")
    )
    assert deferral["offset"] == result["deferral"]
    assert result["answer"] == decision["slow"]
    assert deferral["after_ms"] <= decision["after_ms"]
    assert (0, [("fallback", "deadline")]) == (fallback.code, fallback.path())
    assert fallback.account["missing"]["slow_result"].startswith(
        "none by the deadline: the slow stage is "
    )
    assert (0, [("error", "undecodable")]) == (error.code, error.path())
    assert ["undecodable"] == [letter["reason"] for letter in error.account["dead_letters"]]
    assert (0, 1) == (past.code, len(past.account["notes"]))
    assert (1, []) == (pending.code, pending.path())
    assert pending.account["missing"]["decision"].startswith("pending: its deadline is in ")
    assert pending.account["missing"]["slow_result"].startswith("not yet: the slow stage is ")
    assert (1, "not read yet: the fast stage is 1 record behind in this partition") == (
        unread.code,
        unread.account["missing"]["decision"],
    )
    assert [("slow", "verified")] == verified.path()
    assert (
        "none: the deadline had passed when the slow stage came to it"
        == (expired.account["missing"]["slow_result"])
    )
    assert (1, "not written") == (unknown.code, unknown.account["message"]["presence"])


COUNT = 50_000
TRANSACTION = 2_500
DEFERRED = 10_000
DISORDER = 1_500
"""How far from their order decisions of the joiner are written: more than what is always read."""


@pytest.fixture
async def large(kafka_bootstrap, fresh_topics, topic_prefix):
    """Topics with 50,000 fast decisions, 10,000 joined ones in disorder, aborted ones between."""
    await fresh_topics(partitions=PARTITIONS)
    writer = Writer(kafka_bootstrap, topic_prefix)
    await writer.append("messages", 0, [a_message() for _ in range(COUNT + DEFERRED)])
    began_ms = now_ms()

    async def decide(where: int, records, name: str) -> None:
        for start in range(0, len(records), TRANSACTION):
            batch = records[start : start + TRANSACTION]
            for is_aborted in (True, False):
                await writer.append(
                    *("decisions", where, batch[:50] if is_aborted else batch),
                    transactional_id=f"{topic_prefix}{name}",
                    is_aborted=is_aborted,
                )

    def decided(number: int, path: Path, reason: Reason, deferral: int | None = None):
        origin = f"{topic_prefix}messages-0-{number}"
        return a_decision(origin, path, reason, at_ms=began_ms, deferral=deferral, id=f"m-{number}")

    fast = [decided(number, Path.FAST, Reason.CONFIDENT) for number in range(COUNT)]
    await decide(0, fast, "fast")
    deferrals = await writer.append(
        "deferrals",
        0,
        [
            a_deferral(
                f"{topic_prefix}messages-0-{COUNT + number}",
                at_ms=began_ms,
                deadline_ms=began_ms + 500,
            )
            for number in range(DEFERRED)
        ],
    )
    chance = random.Random(4)
    order = sorted(range(DEFERRED), key=lambda number: number + chance.uniform(0, 2 * DISORDER))
    joined = [
        decided(COUNT + number, Path.FALLBACK, Reason.DEADLINE, deferrals[number])
        for number in order
    ]
    await decide(P, joined, "join")
    return topic_prefix


@pytest.mark.timeout(150, func_only=True)
async def test_large_partitions_are_not_read_through(large, inspect, measured):
    """Fast and joined decisions are found among 60,000 by reading few, aborted ones never."""
    reads = []
    for number in (
        0,
        1,
        2_500,
        25_001,
        49_999,
        COUNT,
        COUNT + 5_003,
        COUNT + 7_777,
        COUNT + DEFERRED - 1,
    ):
        found = await inspect(f"{large}messages-0-{number}")
        path = ("fast", "confident") if number < COUNT else ("fallback", "deadline")
        reads.append(found.account["records_read"])

        assert (0, [path], "there") == (
            found.code,
            found.path(),
            found.account["message"]["presence"],
        )
        assert (number >= COUNT) == bool(found.account["deferrals"])
    measured(f"inspect, records read among {COUNT + DEFERRED:,} decisions: {reads}")
    whole = await inspect(f"{large}messages-0-25001", "--all")

    assert 1_500 > max(reads[:5])
    assert 10_000 > max(reads)
    assert (0, [("fast", "confident")]) == (whole.code, whole.path())
    assert COUNT + DEFERRED < whole.account["records_read"]


async def test_an_id_is_looked_for_in_the_window_only(large, inspect):
    """The newest decisions are read first; what lies further back needs a wider window."""
    near = await inspect("--id", f"m-{COUNT - 10}")
    far = await inspect("--id", "m-3", "--window", "2000")
    wider = await inspect("--id", "m-3", "--window", "100000")

    assert (0, f"{large}messages-0-{COUNT - 10}") == (near.code, near.account["origin"])
    assert 10_000 > near.account["records_read"]
    assert (1, None) == (far.code, far.account["origin"])
    assert (0, f"{large}messages-0-3") == (wider.code, wider.account["origin"])


async def test_a_run_that_was_written_far_from_its_place_hides_no_decision(
    kafka_bootstrap, fresh_topics, topic_prefix, inspect
):
    """A process wrote on after its partition had gone: what lies before and behind is found."""
    await fresh_topics(partitions=PARTITIONS)
    numbers = [*range(1_000), *range(90, 110), *range(1_000, 2_000)]
    decisions = [
        a_decision(
            f"{topic_prefix}messages-0-{number}", Path.FAST, Reason.CONFIDENT, at_ms=now_ms()
        )
        for number in numbers
    ]
    await Writer(kafka_bootstrap, topic_prefix).append("decisions", 0, decisions)

    found = {n: await inspect(f"{topic_prefix}messages-0-{n}") for n in (100, 600, 1_001, 1_999)}
    whole = await inspect(f"{topic_prefix}messages-0-100", "--all")

    assert dict.fromkeys(found, 0) == {n: seen.code for n, seen in found.items()}
    assert [100, 1_010] == [made["offset"] for made in whole.account["decisions"]]
    assert whole.account["notes"][0].startswith("It was decided 2 times: ")


async def test_what_an_aborted_transaction_left_is_no_message(
    kafka_bootstrap, fresh_topics, topic_prefix, inspect
):
    """Neither its records nor its marker; the message behind them is one."""
    await fresh_topics(partitions=PARTITIONS)
    writer = Writer(kafka_bootstrap, topic_prefix)
    both = [a_message(), a_message()]
    client = f"{topic_prefix}client"
    await writer.append("messages", 0, both, transactional_id=client, is_aborted=True)
    [offset] = await writer.append("messages", 0, [a_message()])

    found = [await inspect(f"{topic_prefix}messages-0-{n}") for n in range(offset + 1)]

    assert ["not a message"] * 3 + ["there"] == [
        seen.account["message"]["presence"] for seen in found
    ]
    assert "none: there is nothing to decide" == found[0].account["missing"]["decision"]
    assert (
        "none: the fast stage has not read it, as far as is known"
        == (found[3].account["missing"]["decision"])
    )
