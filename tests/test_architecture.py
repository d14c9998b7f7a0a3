"""The lines of the house: imports follow the arrows, the core is pure, pieces stay small."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "app/hunch"
MODULES = sorted(PACKAGE.rglob("*.py"))

LEAVES = {"settings", "clock", "bundled"}
MAY_IMPORT = {
    "hunch": set(),
    "errors": set(),
    "clock": set(),
    "bundled": set(),
    "settings": {"settings", "core", "errors"},
    "core": {"core", "errors"},
    "telemetry": {"telemetry", "core", "errors"},
    "inference": {"inference", "core", "errors"},
    "evaluation": {"evaluation", "inference", "core", "errors"},
    "kafka": {"kafka", "telemetry", "core", "errors"},
    "stages": {"stages", "kafka", "inference", "telemetry", "core", "errors"},
    "testing": {"testing", "stages", "kafka", "inference", "telemetry", "core", "errors"},
    "http": {"http", "kafka", "telemetry", "core", "errors"},
    "assembly": {"stages", "kafka", "inference", "telemetry", "core", "errors"},
    "main": {"assembly", "http", "stages", "kafka", "inference", "telemetry", "core", "errors"},
    "cli": {
        "cli",
        "main",
        "assembly",
        "testing",
        "stages",
        "kafka",
        "evaluation",
        "inference",
        "telemetry",
        "core",
        "errors",
    },
}
"""Room → rooms that it may import, besides the leaves, which all but the leaves and core may."""

IMPURE = {"asyncio", "time", "os", "logging", "random", "datetime", "threading", "socket"}
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60


def named(path: Path) -> str:
    """How a test case of a module is called."""
    return str(path.relative_to(PACKAGE))


def room_of(path: Path) -> str:
    """The room that a module belongs to."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "hunch" if first == "__init__" else first


def imported(path: Path) -> set[str]:
    """Full names of all that a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert 0 == node.level, f"{named(path)} imports relatively"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def broken_arrows(room: str, names: set[str]) -> set[str]:
    """Imports of rooms that this room may not know."""
    knows_leaves = room not in LEAVES | {"hunch", "errors", "core"}
    allowed = MAY_IMPORT[room] | (LEAVES if knows_leaves else set())
    inside = {name.split(".")[1] for name in names if name.startswith("hunch.")}
    return {name for name in inside if name in MAY_IMPORT} - allowed


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_imports_follow_the_arrows(path):
    """cli, main → {stages, http, evaluation} → {kafka, inference, telemetry} → core → errors."""
    room = room_of(path)

    assert room in MAY_IMPORT, f"{room} is no room of the house"
    assert set() == broken_arrows(room, imported(path))


def test_an_import_against_the_arrows_is_seen(tmp_path):
    """The test above can fail: it sees imports inside functions, and of whole modules."""
    module = tmp_path / "x.py"
    module.write_text("import hunch.stages.fast\ndef f():\n    from hunch import kafka\n")

    assert {"stages", "kafka"} == broken_arrows("core", imported(module))
    assert {"stages"} == broken_arrows("kafka", imported(module))
    assert set() == broken_arrows("cli", imported(module))


@pytest.mark.parametrize("path", sorted((PACKAGE / "core").rglob("*.py")), ids=named)
def test_the_core_is_pure(path):
    """No waiting, no clock, no environment, no log, no chance: what it needs are arguments."""
    tree = ast.parse(path.read_text())
    waits = [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef | ast.Await)]

    assert set() == {name.split(".")[0] for name in imported(path)} & IMPURE
    assert [] == waits


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_pieces_stay_small(path):
    """A module has at most 400 lines, a function at most 60."""
    text = path.read_text()
    functions = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    long = {
        node.name
        for node in functions
        if node.end_lineno is not None
        and node.end_lineno - node.body[0].lineno >= MAX_FUNCTION_LINES
    }

    assert len(text.splitlines()) <= MAX_MODULE_LINES
    assert set() == long
