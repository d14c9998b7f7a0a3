"""Every mutant applies to the code as it is: one that does not shows nothing."""

import compileall

import pytest
from tests.brokers import ROOT
from tests.chaos.mutants import Change, DoesNotApply, Mutant, described, mutate
from tests.chaos.package import copy_app
from tests.chaos.schedule import MIXES


@pytest.mark.parametrize("mutant", described(), ids=lambda mutant: mutant.name)
def test_a_mutant_applies_and_compiles(mutant, tmp_path):
    """Its texts stand exactly once in the code, its changes are Python, and its mix exists."""
    app = copy_app(ROOT / "app", tmp_path)
    mutate(mutant, app)

    assert compileall.compile_dir(app / "hunch", quiet=2)
    assert mutant.mix in MIXES


def test_there_are_eight():
    """Each rule that must not be broken has its mutant."""
    assert 8 == len({mutant.name for mutant in described()})


def test_a_mutant_that_the_code_has_left_behind_is_told(tmp_path):
    """A text that is not there any more is an error, not a mutant that survives."""
    change = Change(file="clock.py", old="no such text", new="")
    app = copy_app(ROOT / "app", tmp_path)

    with pytest.raises(DoesNotApply, match="0 times"):
        mutate(Mutant(name="stale", why="", changes=(change,)), app)
