"""How far `hunch record` is, on stderr: a bar on a terminal, elsewhere a line now and then."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import typer

from hunch.clock import Clock

LINE_MS = 10_000


class Progress:
    """What is recorded by now.

    Args:
        is_quiet: tells nothing, for programs that read.
    """

    def __init__(self, *, is_quiet: bool) -> None:
        self._is_quiet = is_quiet
        self._done: int | None = None
        self._total: int | None = None

    def on_progress(self, done: int, total: int | None) -> None:
        """Takes rows that are recorded by now, and how many there will be, if known."""
        if done and self._done is None and not self._is_quiet:
            typer.echo(f"hunch: {done:,} rows are recorded already: going on.", err=True)
        self._done, self._total = done, total

    @asynccontextmanager
    async def told(self, clock: Clock) -> AsyncIterator[None]:
        """Tells it every `LINE_MS` as long as the body runs."""
        telling = asyncio.create_task(self._tell(clock))
        try:
            yield
        finally:
            telling.cancel()
            with suppress(asyncio.CancelledError):
                await telling

    async def _tell(self, clock: Clock) -> None:
        while not self._is_quiet:
            await clock.sleep(LINE_MS)
            typer.echo(f"hunch: {self._line()}", err=True)

    def _line(self) -> str:
        if self._done is None:
            return "Looking through the rows, and timing the models."
        of = "" if self._total is None else f" of {self._total:,}"
        return f"{self._done:,}{of} rows are recorded."


class Bar(Progress):
    """The same as a bar that moves."""

    def __init__(self) -> None:
        super().__init__(is_quiet=False)
        from rich.console import Console  # noqa: PLC0415  only a terminal needs it
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bars  # noqa: PLC0415

        self.bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self.bars.add_task("timing", total=None)

    def on_progress(self, done: int, total: int | None) -> None:
        """Moves the bar."""
        super().on_progress(done, total)
        self.bars.update(self._task, description="recording", completed=done, total=total)

    async def _tell(self, clock: Clock) -> None:
        """The bar moves by itself."""


@contextmanager
def watching(*, as_json: bool) -> Iterator[Progress]:
    """What fits where stderr goes."""
    if as_json or not sys.stderr.isatty():
        yield Progress(is_quiet=as_json)
        return
    bar = Bar()
    with bar.bars:
        yield bar
