"""One trace as a tree for people: who did what, when, how long, and what it said.

A line a span: its name, its service, its start after the trace's first, its duration, and a bar
that shows both. Below stands what matters of its attributes. Children come in the order of their
start; a span whose parent is not there stands at the top, and says whose child it is.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.bar import Bar
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from hunch.telemetry import names
from hunch.testing.otlp_values import ReceivedSpan

NAME, SERVICE, OFFSET, DURATION, BAR = 19, 10, 8, 10, 24
INDENT = 4
"""What one level of a tree takes."""
EIGHTH = 1 / 8
MOST = 0.9
"""From this share of a span on, its batch took the whole of it."""
COLOURS = {"hunch-fast": "green", "hunch-slow": "blue", "hunch-join": "yellow"}
NS_PER_MS = 1e6
Batches = Mapping[str, ReceivedSpan]
"""Spans of batches by their span ids."""


def trace_tree(spans: Sequence[ReceivedSpan], batches: Iterable[ReceivedSpan] = ()) -> Tree:
    """The spans of one trace, at least one; `batches` tells more of the batches they link to."""
    start_ns = min(span.start_ns for span in spans)
    length_ns = max(span.end_ns for span in spans) - start_ns
    drawing = _Drawing(spans, batches, start_ns, length_ns)
    head = f"trace {spans[0].trace_id}  {_ms(length_ns)} ms, {drawing.size} spans"
    tree = Tree(Text(head, no_wrap=True), guide_style="dim")
    for span in drawing.tops():
        drawing.add(tree, span, depth=1)
    return tree


class _Drawing:
    def __init__(
        self,
        spans: Sequence[ReceivedSpan],
        batches: Iterable[ReceivedSpan],
        start_ns: int,
        length_ns: int,
    ) -> None:
        self._by_id = {span.span_id: span for span in spans}
        self._spans = sorted(self._by_id.values(), key=lambda span: (span.start_ns, span.end_ns))
        self._batches = {span.span_id: span for span in batches}
        self._start_ns = start_ns
        self._length_ns = length_ns

    @property
    def size(self) -> int:
        """How many spans there are."""
        return len(self._spans)

    def tops(self) -> list[ReceivedSpan]:
        """Spans without a parent among these."""
        return [span for span in self._spans if span.parent_id not in self._by_id]

    def add(self, tree: Tree, span: ReceivedSpan, *, depth: int) -> None:
        """Puts a span and all below it under `tree`."""
        said = Text(", ", style="dim").join(self._said(span, depth))
        below = [Padding(said, (0, 0, 0, 2), expand=False)] if said else []
        branch = tree.add(Group(self._line(span, depth), *below))
        for child in self._spans:
            if child.parent_id == span.span_id:
                self.add(branch, child, depth=depth + 1)

    def _line(self, span: ReceivedSpan, depth: int) -> RenderableType:
        line = Table.grid(padding=(0, 1, 0, 0))
        line.add_column(width=max(1, NAME - INDENT * (depth - 1)), no_wrap=True)
        line.add_column(width=SERVICE, no_wrap=True)
        line.add_column(width=OFFSET, no_wrap=True, justify="right")
        line.add_column(width=DURATION, no_wrap=True, justify="right")
        line.add_column(width=BAR, no_wrap=True)
        begin, end = span.start_ns - self._start_ns, span.end_ns - self._start_ns
        line.add_row(
            Text(span.name, style="bold red" if span.status == "error" else "bold"),
            Text(span.service, style=COLOURS.get(span.service, "")),
            Text(f"+{_ms(begin)}", style="dim"),
            Text(f"{_ms(end - begin)} ms"),
            _Share(self._length_ns, begin, end, COLOURS.get(span.service, "default")),
        )
        return line

    def _said(self, span: ReceivedSpan, depth: int) -> Iterator[Text]:
        said = span.attributes
        if names.PATH in said:
            yield Text(f"path {said[names.PATH]}", style="bold")
        for name, what in ((names.REASON, "reason"), (names.LABEL, "label")):
            if name in said:
                yield Text(f"{what} {said[name]}", style="dim")
        if names.CONFIDENCE in said:
            yield Text(_confidence(span), style="dim")
        if names.DELTA_MS in said and names.PATH not in said:
            yield Text(f"delta {said[names.DELTA_MS]:g} ms", style="dim")
        if names.MODEL in said and names.PATH not in said:
            yield Text(str(said[names.MODEL]), style="dim")
        for words in self._links(span):
            yield Text(words, style="dim")
        if names.ERROR_MESSAGE in said:
            yield Text(str(said[names.ERROR_MESSAGE]), style="red")
        if span.status == "error":
            yield Text(self._error(span), style="red")
        if depth == 1 and span.parent_id is not None:
            yield Text(f"child of {span.parent_id}, which is not here", style="dim")

    def _error(self, span: ReceivedSpan) -> str:
        """What went wrong, but not what the parent says already."""
        parent = self._by_id.get(span.parent_id or "")
        is_told = parent is not None and parent.description == span.description
        return "ERROR" if is_told else f"ERROR {span.description}".rstrip()

    def _links(self, span: ReceivedSpan) -> Iterator[str]:
        for link in span.links:
            batch = self._batches.get(link.span_id)
            if batch is not None:
                size = batch.attributes.get(names.BATCH_SIZE, "?")
                took_ns = batch.end_ns - batch.start_ns
                is_all = took_ns >= MOST * (span.end_ns - span.start_ns)
                yield f"batch of {size}" + ("" if is_all else f" took {_ms(took_ns)} ms")
            elif link.span_id in self._by_id:
                yield f"linked to {self._by_id[link.span_id].name}"


class _Share:
    """A bar from `begin` to `end` of `length`, never too thin to be seen."""

    def __init__(self, length: float, begin: float, end: float, colour: str) -> None:
        self._length = max(length, 1.0)
        self._begin = begin
        self._end = end
        self._colour = colour

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        cells = BAR / self._length
        begin = min(self._begin * cells, BAR - EIGHTH)
        end = max(self._end * cells, begin + EIGHTH)
        if options.ascii_only:
            first, last = int(begin), max(int(begin) + 1, round(end))
            yield Segment(" " * first + "#" * (last - first))
        else:
            yield Bar(BAR, begin, end, width=BAR, color=self._colour)


def _confidence(span: ReceivedSpan) -> str:
    """Against tau only where that was the question: in the fast stage."""
    confidence, tau = span.attributes[names.CONFIDENCE], span.attributes.get(names.TAU)
    if tau is None or names.PATH in span.attributes:
        return f"confidence {confidence:.3f}"
    score = span.attributes.get(names.SCORE)
    verb = "reaches" if (confidence if score is None else score) >= tau else "below"
    held = "" if score is None else f", score {score:.3f}"
    return f"confidence {confidence:.3f}{held} {verb} tau {tau:g}"


def _ms(ns: float) -> str:
    return f"{ns / NS_PER_MS:,.1f}"
