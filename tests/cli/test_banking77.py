"""Recording and calibrating a real pair: 77 labels, probabilities against logits."""

import json

import pytest


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_real_pair_gets_a_tau_that_other_rows_confirm(hunch, banking77, tmp_path):
    """τ from the validation rows, judged by the test rows: most exit, and accuracy stays."""
    pair = [f"--{side}-model={banking77 / side}" for side in ("fast", "slow")]
    for name, step in (("valid", 1), ("test", 3)):
        lines = (banking77 / f"{name}.jsonl").read_bytes().splitlines(keepends=True)
        (tmp_path / f"{name}.jsonl").write_bytes(b"".join(lines[::step]))
        done = hunch("record", f"{name}.jsonl", "--out", name, *pair)
        assert 0 == done.returncode, done.stderr

    goal = ["--goal", "accuracy-within=0.02", "--measure", "learned", "--judge", "test"]
    done = hunch("calibrate", "valid", *goal, "--json")

    said = json.loads(done.stdout)
    judged = said["judged"]
    assert (0, 1027) == (done.returncode, judged["rows"])
    assert 0.896 == pytest.approx(judged["fast_accuracy"], abs=0.01)
    assert judged["slow_accuracy"] - judged["accuracy"] < 0.02
    assert judged["accept_rate"] > 0.6
    assert (tmp_path / "policy.json").exists()
