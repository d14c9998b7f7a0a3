"""What a person sees of the demo: a live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hunch.cli.demo_jaeger import Jaeger
from hunch.cli.demo_tally import PATHS, Sums
from hunch.cli.demo_traces import Trace, origin_of
from hunch.cli.trace_tree import trace_tree
from hunch.settings import Settings
from hunch.testing import ReceivedSpan

COLOURS = {"fast": "green", "slow": "blue", "fallback": "yellow", "error": "red"}
PER_SECOND = 5
PLAIN_EVERY_S = 3.0
WIDTH = 78
BAR = 26
NONE = "-"
TRACES = "\nOne message by each path, as its trace tells it: start, duration, what was said"
NO_JAEGER = (
    "\nA Jaeger at http://localhost:16686 would get these traces, and their links would\n"
    "stand here: `docker compose up --detach jaeger` in a checkout starts one."
)
NEXT = """
Where to look next
  hunch init               a settings file: your Kafka, models, tau and delta
  hunch send, hunch tail   your own messages, beside `hunch run` on your Kafka
  hunch inspect            every hop of one message, from Kafka itself
  the README               how it works, and what is promised"""


class Screen:
    """Tells a person what happens; `is_silent` for a program that waits for the JSON."""

    def __init__(self, *, is_silent: bool) -> None:
        self._console = Console(quiet=is_silent, highlight=False)
        self._live: Live | None = None
        self._plain_s = 0.0

    def say(self, text: str, style: str = "") -> None:
        """One line, which stays."""
        self._console.print(Text(text, style=style), soft_wrap=True)

    @contextmanager
    def streaming(self) -> Iterator[None]:
        """The time in which figures change: on a terminal one table that is drawn again."""
        self._plain_s = time.monotonic()
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def show(self, sums: Sums, count: int, elapsed_s: float) -> None:
        """The figures as they stand, `count` of messages being the goal."""
        if self._live is not None:
            self._live.update(_live(sums, count, elapsed_s), refresh=True)
        elif time.monotonic() - self._plain_s >= PLAIN_EVERY_S:
            self._plain_s = time.monotonic()
            self.say(_line(sums, count, elapsed_s))

    def summary(
        self, sums: Sums, verdict: Mapping[str, Any], settings: Settings, log: Path
    ) -> None:
        """The verdict and the table."""
        is_exact = verdict["is_exact"]
        found = (
            f"{verdict['sent']:,} messages, {verdict['decisions']:,} decisions: "
            f"{'each exactly one' if is_exact else 'not one each'}."
        )
        self.say(found, "bold green" if is_exact else "bold red")
        self._console.print(_paths(sums, is_final=True))
        self._console.print(_accuracies(sums))
        self.say(
            "Latency is from sending a message to reading its decision. The slow model was\n"
            "asked alone in this process, without Kafka. "
            f"tau was {settings.tau:g}, delta {settings.delta_ms} ms.\n"
            f"The log of the stages: {log}",
            "dim",
        )

    def spoilt(self, dead_letters: int) -> None:
        """What became of the message that no model can read."""
        many = f"{dead_letters:,} dead letter" + "s" * (dead_letters != 1)
        self.say(
            "One message was spoilt on purpose: its decision says `error`, and the topic\n"
            f"`dead-letters` says why ({many}).",
            "dim",
        )

    def traces(
        self,
        found: Mapping[str, Trace],
        batches: Sequence[ReceivedSpan],
        jaeger: Jaeger | None,
        *,
        is_passed_on: bool,
    ) -> None:
        """One message by each path, as its trace tells it."""
        if not found:
            self.say("\nNo traces came from the stages.", "yellow")
            return
        self.say(TRACES, "bold")
        for path, spans in found.items():
            self.say(f"\n{path}  {origin_of(spans)}", f"bold {COLOURS[path]}")
            self._console.print(trace_tree(spans, batches))
            if jaeger is not None and is_passed_on:
                self.say(jaeger.url(spans[0].trace_id))
        if jaeger is None:
            self.say(NO_JAEGER, "dim")
        elif not is_passed_on:
            self.say(f"\nThe Jaeger at {jaeger.ui} did not take all of the traces.", "yellow")

    def farewell(self) -> None:
        """Where to look next."""
        self.say(NEXT)


def _live(sums: Sums, count: int, elapsed_s: float) -> RenderableType:
    head = Table.grid(padding=(0, 2))
    head.add_row(
        ProgressBar(total=count, completed=sums.decided, width=BAR),
        Text(f"{sums.decided:,} of {count:,} decided"),
        Text(f"{_rate(sums, elapsed_s)}/s", style="bold"),
        Text(f"{elapsed_s:.0f} s", style="dim"),
    )
    return Group(Text(), head, _paths(sums, is_final=False), _accuracies(sums))


def _paths(sums: Sums, *, is_final: bool) -> Table:
    table = Table(box=box.SIMPLE, width=WIDTH, pad_edge=False)
    table.add_column("path")
    for name in ("decisions", "share", "right", "p50 ms", "p95 ms"):
        table.add_column(name, justify="right")
    if is_final:
        table.add_column("p99 ms", justify="right")
    for path in PATHS:
        found = sums.paths[path]
        if path == "error" and not found.count:
            continue
        cells = [f"{found.count:,}", _percent(found.share), _percent(found.accuracy)]
        cells += [_ms(found.p50_ms), _ms(found.p95_ms)] + [_ms(found.p99_ms)] * is_final
        table.add_row(Text(path, style=COLOURS[path]), *cells)
    return table


def _accuracies(sums: Sums) -> Text:
    text = Text("right:  ")
    text.append(f"fast alone {_percent(sums.fast_alone)}", style=COLOURS["fast"])
    text.append(f"   this cascade {_percent(sums.cascade)}", style="bold")
    text.append(f"   slow alone {_percent(sums.slow_alone)}", style=COLOURS["slow"])
    return text


def _line(sums: Sums, count: int, elapsed_s: float) -> str:
    shares = ", ".join(f"{path} {_percent(sums.paths[path].share)}" for path in PATHS[:3])
    waits = " / ".join(_ms(sums.paths[path].p50_ms) for path in PATHS[:3])
    return (
        f"{sums.decided:,} of {count:,} decided, {_rate(sums, elapsed_s)}/s: {shares}; "
        f"p50 {waits} ms; right: fast alone {_percent(sums.fast_alone)}, "
        f"this cascade {_percent(sums.cascade)}, slow alone {_percent(sums.slow_alone)}"
    )


def _rate(sums: Sums, elapsed_s: float) -> str:
    return f"{sums.decided / elapsed_s:,.0f}" if elapsed_s > 0 else NONE


def _percent(share: float | None) -> str:
    return NONE if share is None else f"{100 * share:.1f} %"


def _ms(ms: float | None) -> str:
    return NONE if ms is None else f"{ms:,.0f}"
