"""Banking77 through three processes on a real Kafka equals the offline cascade."""

import itertools
import json
from collections import Counter
from typing import NamedTuple

import numpy as np
import onnxruntime as ort
import pytest
from tests.kafka.checker import Checker
from tests.kafka.load import Load
from tokenizers import Tokenizer

TAU = 0.9
COUNT = 3_000
STAGES = ("fast", "slow", "join")
SAME = 1e-5
"""Scores of the same text in another batch differ by less."""


class Offline(NamedTuple):
    """What the models say about one text, one at a time."""

    text: str
    fast: tuple[str, float]
    slow: tuple[str, float] | None


class Model:
    """One model of the pair, run by hand on one thread, a text at a time."""

    def __init__(self, folder) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        config = json.loads((folder / "config.json").read_text())
        self._labels = config["id2label"]
        self._temperature = config["temperature"]

    def answer(self, output: str, feeds: dict[str, np.ndarray]) -> tuple[str, float]:
        """The best label and its calibrated probability."""
        scores = self._session.run([output], feeds)[0][0].astype(np.float64)
        logits = np.log(scores) if output == "probabilities" else scores
        odds = np.exp((logits - logits.max()) / self._temperature)
        return self._labels[str(odds.argmax())], float(odds.max() / odds.sum())


class FastModel(Model):
    """The string-tensor model."""

    def say(self, text: str) -> tuple[str, float]:
        """Label and score of one text."""
        return self.answer("probabilities", {"text": np.array([[text]], dtype=object)})


class SlowModel(Model):
    """The Optimum export."""

    def __init__(self, folder) -> None:
        super().__init__(folder)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def say(self, text: str) -> tuple[str, float]:
        """Label and score of one text."""
        encoding = self._tokenizer.encode(text)
        columns = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
        }
        feeds = {name: np.array([column], dtype=np.int64) for name, column in columns.items()}
        return self.answer("logits", feeds)


@pytest.fixture(scope="module")
def offline(banking77) -> list[Offline]:
    """The cascade computed here, message by message, with nothing of Hunch."""
    fast, slow = FastModel(banking77 / "fast"), SlowModel(banking77 / "slow_w8")
    computed = []
    with (banking77 / "test.jsonl").open() as lines:
        for line in itertools.islice(lines, COUNT):
            text = json.loads(line)["text"]
            said = fast.say(text)
            is_sure = said[1] >= TAU + SAME
            computed.append(Offline(text, said, None if is_sure else slow.say(text)))
    assert COUNT == len(computed)
    return computed


@pytest.fixture
def answer_all(kafka_bootstrap, fresh_topics, start_stage, banking77, offline):
    """A function that sends all texts at a rate through three processes; text → decisions."""

    async def answer(delta_ms: int, rate: float) -> list[list[dict[str, object]]]:
        prefix = await fresh_topics(partitions=4)
        models = {"fast_model": banking77 / "fast", "slow_model": banking77 / "slow_w8"}
        processes = [start_stage(stage, tau=TAU, delta_ms=delta_ms, **models) for stage in STAGES]
        for process in processes:
            process.wait_ready()
        values = [json.dumps({"text": row.text}).encode() for row in offline]
        async with (
            Checker(kafka_bootstrap, f"{prefix}decisions", 8) as checker,
            Load(
                kafka_bootstrap, f"{prefix}messages", values, rate=rate, limit=len(values)
            ) as load,
        ):
            origins = await load.end()
            await checker.decide(origins, 60.0)
            codes = [process.terminate() for process in processes]
            await checker.reach(await checker.ends())
        assert [0, 0, 0] == codes
        assert set(origins) == set(checker.by_origin)
        return [[seen.body for seen in checker.by_origin[origin]] for origin in origins]

    return answer


def is_same(answer: object, expected: tuple[str, float] | None) -> bool:
    """Whether an answer in a decision is the one computed here."""
    if expected is None or not isinstance(answer, dict):
        return answer is None and expected is None
    return bool(answer["label"] == expected[0] and abs(answer["confidence"] - expected[1]) <= SAME)


def told(reasons) -> str:
    """How many decisions were made in which way, in words."""
    return ", ".join(f"{count} {'/'.join(way)}" for way, count in sorted(reasons.items()))


def untrue(decision, row: Offline) -> list[str]:
    """What in a decision is not as the offline cascade has it."""
    is_fast = decision["fast"]["confidence"] >= decision["tau"]
    is_slow = decision["path"] == "slow"
    claims = {
        "tau": decision["tau"] == TAU,
        "path": is_fast == (decision["path"] == "fast"),
        "fast": is_same(decision["fast"], row.fast),
        "slow": is_same(decision["slow"], row.slow if is_slow else None),
        "label": is_same(decision, row.slow if is_slow else row.fast),
    }
    return [f"{name} of {decision}" for name, is_true in claims.items() if not is_true]


@pytest.mark.timeout(120, func_only=True)
async def test_every_decision_is_that_of_the_offline_cascade(answer_all, offline, measured):
    """With time enough, labels, paths and scores are the offline ones, and nothing falls back."""
    decisions = await answer_all(delta_ms=30_000, rate=1_500)
    reasons = Counter((found[0]["path"], found[0]["reason"]) for found in decisions)
    measured(f"Banking77, Δ = 30 s: {told(reasons)}")

    assert [1] * COUNT == [len(found) for found in decisions]
    assert {("fast", "confident"), ("slow", "verified")} == set(reasons)
    assert [[]] * COUNT == [
        untrue(found[0], row) for found, row in zip(decisions, offline, strict=True)
    ]


@pytest.mark.timeout(120, func_only=True)
async def test_what_the_slow_model_cannot_hold_falls_back(answer_all, offline, measured):
    """With 50 ms and too high a rate the fast answer stands in: one decision each, with reason."""
    decisions = await answer_all(delta_ms=50, rate=2_000)
    reasons = Counter((found[0]["path"], found[0]["reason"]) for found in decisions)
    measured(f"Banking77, Δ = 50 ms: {told(reasons)}")
    fallbacks = reasons["fallback", "deadline"] + reasons["fallback", "shed"]

    assert [1] * COUNT == [len(found) for found in decisions]
    assert 0 < fallbacks
    assert COUNT == fallbacks + reasons["fast", "confident"] + reasons["slow", "verified"]
    assert [[]] * COUNT == [
        untrue(found[0], row) for found, row in zip(decisions, offline, strict=True)
    ]
