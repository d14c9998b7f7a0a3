"""How far a recorder is, told where no bar can move."""

import asyncio

import pytest

from hunch.cli.record_progress import LINE_MS, Progress, watching
from hunch.testing import ManualClock


async def test_a_line_now_and_then(capsys):
    """One every ten seconds, from the start, until the recorder is done."""
    clock, progress = ManualClock(), Progress(is_quiet=False)
    async with progress.told(clock):
        await clock.advance(LINE_MS)
        progress.on_progress(0, 2000)
        await clock.advance(LINE_MS - 1)
        progress.on_progress(512, 2000)
        await clock.advance(1)
        progress.on_progress(1024, None)
        await clock.advance(LINE_MS)
    await clock.advance(LINE_MS)

    assert capsys.readouterr().err.splitlines() == [
        "hunch: Looking through the rows, and timing the models.",
        "hunch: 512 of 2,000 rows are recorded.",
        "hunch: 1,024 rows are recorded.",
    ]


async def test_programs_are_told_nothing(capsys):
    """With --json all is silent."""
    clock = ManualClock()
    with watching(as_json=True) as progress:
        async with progress.told(clock):
            progress.on_progress(512, 2000)
            await clock.advance(LINE_MS)

    assert "" == capsys.readouterr().err


async def test_a_recorder_that_fails_is_not_held_up():
    """What it raises comes through."""
    with pytest.raises(ValueError, match="it"):
        async with Progress(is_quiet=False).told(ManualClock()):
            raise ValueError("it")

    assert 1 == len(asyncio.all_tasks())
