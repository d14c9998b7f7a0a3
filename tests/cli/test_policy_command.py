"""`hunch policy`: what is pushed is shown, and taken back; a wrong file is one sentence."""

import json
import shutil

import pytest
from tests.policies import policy

from hunch.bundled import bundled
from hunch.cli.policy import Turn, _tell
from hunch.errors import PolicyError

STRANGERS = {side: {"name": "x", "version": "1", "sha256": "0" * 64} for side in ("fast", "slow")}
HOT = {"fast": 900.0, "slow": 1.0}


def test_push_show_and_rollback(hunch, kafka_bootstrap, topic_prefix, tmp_path):
    """Two pushes and two rollbacks, and at each step `show` says what is in force."""
    connection = {"HUNCH_BOOTSTRAP": kafka_bootstrap, "HUNCH_TOPIC_PREFIX": topic_prefix}
    first, second = policy(stem="first"), policy(stem="second", tau=0.5)
    for made in (first, second):
        (tmp_path / f"{made.name}.json").write_text(made.text())
    hunch("topics", "apply", **connection)

    nothing = hunch("policy", "show", **connection)
    pushed = hunch("policy", "push", f"{first.name}.json", **connection)
    hunch("policy", "push", f"{second.name}.json", "--json", **connection)
    again = hunch("policy", "push", f"{second.name}.json", **connection)
    shown = hunch("policy", "show", "--json", **connection)
    back = hunch("policy", "rollback", "--json", **connection)
    hunch("policy", "rollback", **connection)
    end = hunch("policy", "rollback", **connection)

    assert nothing.stdout.startswith("No policy is pushed")
    assert pushed.stdout.startswith(f"{first.name} is in force, after settings")
    assert again.stdout == f"{second.name} is in force already.\n"
    assert (0.5, [first.name, None]) == (
        json.loads(shown.stdout)["in_force"]["tau"],
        json.loads(shown.stdout)["before"],
    )
    assert {"in_force": first.name, "before": second.name, "changed": True} == json.loads(
        back.stdout
    )
    assert (2, 1) == (end.returncode, end.stderr.count("\n"))
    assert "nothing to roll back to" in end.stderr


def test_a_file_is_shown_without_a_broker(hunch, tmp_path):
    """Promise, goal, tau and models of a policy file, a line each."""
    made = policy(promise="At most 2 in 100 are wrong.", taus={"3": 0.4})
    (tmp_path / "p.json").write_text(made.text())
    done = hunch("policy", "show", "p.json")

    rows = dict(line.split("\t") for line in done.stdout.splitlines())
    assert "At most 2 in 100 are wrong." == rows["promise"]
    assert "0.8, and its own for 3" == rows["tau"]
    assert "digits-fast@1, digits-slow@1" == rows["models"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "There is no policy file p.json"),
        ("{", "The policy in p.json cannot be used: Invalid JSON"),
        (policy().text().replace("0.8", "0.9"), "changed after it was made"),
        (policy(models=STRANGERS).text(), "was made for the fast model x@1"),
        (policy(measure={"name": "sense"}).text(), "no confidence measure 'sense'"),
        (policy(measure={"name": "learned", "numbers": (0,) * 4}).text(), "number of labels"),
        (policy(temperatures=HOT).text().replace("900.0", "1e-50"), "temperatures.fast: "),
    ],
    ids=["absent", "broken", "changed", "other models", "new measure", "learned", "frozen"],
)
@pytest.mark.parametrize("command", [("policy", "push", "p.json"), ("run",)], ids=["push", "run"])
def test_a_policy_that_cannot_be_used_is_one_sentence(hunch, tmp_path, text, said, command):
    """Neither push nor start takes it, and both say why."""
    if text is not None:
        (tmp_path / "p.json").write_text(text)
    where = {"HUNCH_BOOTSTRAP": "127.0.0.1:1", "HUNCH_POLICY_FILE": "p.json"}
    done = hunch(*command, **where)

    assert 2 == done.returncode
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_same_graph_with_other_labels_is_another_model(hunch, tmp_path):
    """A tau for one label would be held against another: it is not pushed."""
    shutil.copytree(bundled("models") / "digits-fast" / "1", tmp_path / "turned")
    described = json.loads((tmp_path / "turned" / "model.json").read_text())
    described["labels"] = described["labels"][1:] + described["labels"][:1]
    (tmp_path / "turned" / "model.json").write_text(json.dumps(described))
    (tmp_path / "p.json").write_text(policy(taus={"3": 0.4}).text())
    where = {"HUNCH_BOOTSTRAP": "127.0.0.1:1", "HUNCH_FAST_MODEL": "turned"}
    done = hunch("policy", "push", "p.json", **where)

    assert 2 == done.returncode
    assert "was made for the fast model digits-fast@1" in done.stderr


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        (Turn("a", "b", "b", is_written=True), "b is in force, after a"),
        (Turn(None, "b", "b", is_written=False), "b is in force already"),
        (Turn("b", "b", "b", is_written=True), "b is in force: it was broken"),
        (Turn("a", None, None, is_written=True), "settings is in force, after a"),
    ],
)
def test_what_a_turn_came_to_is_one_line(capsys, turn, said):
    """A person reads what counts now."""
    _tell(turn, as_json=False)

    assert capsys.readouterr().out.startswith(said)


@pytest.mark.parametrize("as_json", [True, False])
def test_a_push_that_another_one_overtook_says_which_counts(as_json):
    """Who pushes at the same moment as somebody else learns it."""
    with pytest.raises(PolicyError, match=r"^c is in force: it was pushed at the same moment as b"):
        _tell(Turn("a", "b", "c", is_written=True), as_json=as_json)


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (("config",), 0, "hunch: There is no policy file gone.json"),
        (("topics", "plan", "--bootstrap", "embedded"), 0, "hunch: There is no policy file gone"),
        (("policy", "show", "p.json"), 0, ""),
        (("policy", "push", "p.json"), 3, "hunch: No Kafka broker answers at 127.0.0.1:1"),
        (("policy", "rollback"), 3, "hunch: No Kafka broker answers at 127.0.0.1:1"),
        (("record", "nowhere.jsonl", "--out", "r"), 2, "hunch: There is no file nowhere.jsonl"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, tuple) else "",
)
def test_a_missing_policy_file_stops_no_command_that_does_not_need_it(
    hunch, tmp_path, command, code, said
):
    """Recording and pushing are how one comes by it."""
    (tmp_path / "hunch.toml").write_text('policy_file = "gone.json"\nbootstrap = "127.0.0.1:1"\n')
    (tmp_path / "p.json").write_text(policy().text())
    done = hunch(*command)

    assert code == done.returncode
    assert done.stderr.startswith(said)
    assert bool(said) == done.stderr.count("\n")
