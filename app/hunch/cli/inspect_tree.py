"""The account of one message as a tree for people: a branch a hop, its time, then what it says."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from hunch.cli.inspect_account import UNSEEN, Account, at_ms, duration
from hunch.cli.lines import COLOURS, printable

HOPS = (
    ("deferrals", "deferral", None),
    ("slow_results", "slow result", "slow_result"),
    ("decisions", "decision", "decision"),
    ("late_results", "late result", None),
    ("dead_letters", "dead letter", None),
)
"""Key of the account, its name for people, and its key among what is missing."""


def show_tree(account: Account) -> None:
    """Prints the tree on stdout, in colours on a terminal only."""
    Console(highlight=False, emoji=False).print(tree_of(account))


def tree_of(account: Account) -> Tree:
    """Message, deferral, slow result, decision and what else there is, in this order."""
    account = printable(account)
    root = Text(account["origin"], style="bold")
    if account["id"] is not None:
        root.append(f"  id {account['id']}", style="not bold")
    tree = Tree(root)
    if account["trace_id"] is not None:
        tree.add(_head("trace", account["trace_id"]))
    message, missing = account["message"], account["missing"]
    if "message" in missing:
        tree.add(_head("message", missing["message"]))
    else:
        branch = tree.add(_head("message", _moment(message["timestamp"])))
        branch.add(Text(_message(message)))
        if "payload" in message or "payload_base64" in message:
            payload = message.get("payload", message.get("payload_base64"))
            branch.add(
                Text(payload if isinstance(payload, str) else orjson.dumps(payload).decode())
            )
    for key, name, missing_key in HOPS:
        for hop in account[key]:
            _add_hop(tree, name, hop, LINES[key](hop))
        if not account[key] and missing_key in missing:
            tree.add(_head(name, missing[missing_key]))
    if UNSEEN in missing.get("decision", ""):
        branch = tree.add(_head("searched", "these offsets"))
        for line in dict.fromkeys(_searched(part) for part in account["searched"]):
            branch.add(Text(line))
    for note in account["notes"]:
        tree.add(Text(note, style="yellow"))
    return tree


def _add_hop(tree: Tree, name: str, hop: Account, lines: Iterator[Text | str]) -> None:
    after = hop["after_ms"]
    passed = "" if after is None else f"{'+' if after >= 0 else '-'}{duration(abs(after))}"
    where = f"{hop['topic']} {hop['partition']}/{hop['offset']}"
    head = _head(name, f"{_moment(at_ms(hop))}  {passed:>10}  ")
    head.append(where, style="dim")
    branch = tree.add(head)
    if "unreadable" in hop:
        branch.add(Text(f"nobody can read it: {hop['unreadable']}", style="red"))
        return
    for line in lines:
        branch.add(line if isinstance(line, Text) else Text(line))


def _head(name: str, said: str) -> Text:
    return Text(f"{name:<12}", style="bold").append(said, style="not bold")


def _moment(ms: float) -> str:
    try:
        moment = datetime.fromtimestamp(ms / 1000, tz=UTC).astimezone()
    except (OverflowError, OSError, ValueError):
        return f"{ms:.0f} ms"
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}"


def _message(message: Account) -> str:
    key = message.get("key", message.get("key_base64"))
    size = "no value" if message["is_tombstone"] else f"{message['bytes']:,} bytes"
    return f"{size}, {'no key' if key is None else f'key {key}'}"


def _searched(part: dict[str, Any]) -> str:
    where = f"{part['topic']} {part['partition']}"
    whole = f"it holds {part['log_start']:,} to {part['log_end']:,}"
    return f"{where}: {part['from']:,} to {part['to']:,}; {whole}"


def _deferral(hop: Account) -> Iterator[Text | str]:
    yield f"fast said {_answer(hop['fast'])} in {hop['fast_ms']:.1f} ms; {_tau(hop)}"
    yield f"deadline {_moment(hop['deadline_ms'])}, {_slack(hop['slack_ms'])}"


def _tau(hop: Account) -> str:
    """And what was held against it, where that is not the confidence."""
    score = hop.get("score")
    held = f"score {score:.3f}, " if isinstance(score, int | float) else ""
    return f"{held}τ is {hop.get('tau')}"


def _slack(slack_ms: float) -> str:
    late = "past when it was deferred" if slack_ms <= 0 else f"{duration(slack_ms)} for the slow"
    return late if slack_ms <= 0 else f"{late} model"


def _result(hop: Account) -> Iterator[Text | str]:
    if hop["outcome"] == "answer":
        yield f"{_answer(hop['answer'])} in {hop['slow_ms']:.1f} ms"
    elif hop["outcome"] == "shed":
        yield Text("shed: it would have come too late", style="yellow")
    else:
        yield Text(f"error: {hop['error']}", style="red")


def _decision(hop: Account) -> Iterator[Text | str]:
    path = str(hop.get("path"))
    line = Text(path, style=COLOURS.get(path, ""))
    line.append(f", {hop.get('reason')}: ", style="default")
    if hop.get("label") is None:
        yield line.append(str(hop.get("error")), style="default")
    else:
        chosen = hop.get(path) if path in {"fast", "slow"} else hop.get("fast")
        said = chosen if isinstance(chosen, dict) else hop
        tau = f"; {_tau(hop)}" if path == "fast" else ""
        yield line.append(f"{_answer(said)}{tau}", style="default")
    times = hop.get("times")
    if isinstance(times, dict) and times:
        yield ", ".join(
            f"{name} {duration(ms)}" for name, ms in times.items() if isinstance(ms, int | float)
        )


def _dead_letter(hop: Account) -> Iterator[Text | str]:
    yield Text(str(hop["reason"]), style="red").append(
        f" in {hop['stage']}: {hop['message']}", style="default"
    )


def _answer(answer: dict[str, Any]) -> str:
    confidence = answer.get("confidence")
    share = f" {confidence:.2f}" if isinstance(confidence, int | float) else ""
    model = f" ({answer['model']})" if answer.get("model") else ""
    return f"{answer.get('label')}{share}{model}"


LINES = {
    "deferrals": _deferral,
    "slow_results": _result,
    "decisions": _decision,
    "late_results": _result,
    "dead_letters": _dead_letter,
}
