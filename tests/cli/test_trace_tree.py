"""A trace as people see it on a terminal of 80 columns, in a pipe, and where parts are missing."""

import io

import pytest
from rich.console import Console

from hunch.cli.trace_tree import trace_tree
from hunch.testing import ReceivedLink, ReceivedSpan

TRACE = "0af7651916cd43dd8448eb211c80319c"
WRONG = "The field 'pixels' must be 64 numbers, not of shape [32]."


def span(name, service, span_id, parent_id, ms, *, links=(), error="", **said):
    """A span from `ms[0]` to `ms[1]`; keywords are its attributes without the prefix `hunch.`."""
    return ReceivedSpan(
        name=name,
        service=f"hunch-{service}",
        trace_id=TRACE,
        span_id=span_id,
        parent_id=parent_id,
        kind="internal",
        start_ns=int(1e6 * ms[0]),
        end_ns=int(1e6 * ms[1]),
        attributes={f"hunch.{key}": value for key, value in said.items()},
        links=tuple(ReceivedLink(trace_id="", span_id=link, attributes={}) for link in links),
        status="error" if error else "unset",
        description=error,
    )


VERIFIED = (
    span("decide", "join", "e", "j", (140.2, 143.9), path="slow", reason="verified", label="2"),
    span("slow", "slow", "s", "d", (106, 138.3), links="v", label="2", confidence=0.9994),
    span("join", "join", "j", "d", (104.1, 140.2), links="s", reason="verified"),
    span("defer", "fast", "d", "f", (101.5, 104.1), delta_ms=300.0, reason="below"),
    span(
        *("fast", "fast", "f", None, (100, 101.5)),
        links="b",
        label="1",
        confidence=0.7266,
        tau=0.9,
        model="digits-fast@1",
    ),
)
BATCHES = (
    span("fast batch", "fast", "b", None, (100, 101.5), **{"batch.size": 12}),
    span("slow batch", "slow", "v", None, (120, 125), **{"batch.size": 3}),
)
REFUSED = (
    span("fast", "fast", "f", None, (0, 1), error=WRONG),
    span("decide", "fast", "e", "f", (1, 4), error=WRONG, path="error", reason="bad_input"),
)


def lines(spans, batches=(), width=80, **options):
    """What is printed, without spaces at the ends of lines."""
    printed = io.StringIO()
    Console(file=printed, highlight=False, width=width, **options).print(trace_tree(spans, batches))
    return [line.rstrip() for line in printed.getvalue().splitlines()]


def test_a_verified_message_reads_like_this():
    """Order by start, depth by parent, offsets, durations, bars, and what each span says."""
    assert (
        f"""
trace {TRACE}  43.9 ms, 5 spans
└── fast                hunch-fast     +0.0     1.5 ms ▊
      label 1, confidence 0.727 below tau 0.9, digits-fast@1, batch of 12
    └── defer           hunch-fast     +1.5     2.6 ms ▕█▏
          reason below, delta 300 ms
        ├── join        hunch-join     +4.1    36.1 ms   ███████████████████▉
        │     reason verified, linked to slow
        │   └── decide  hunch-join    +40.2     3.7 ms                      ▕██
        │         path slow, reason verified, label 2
        └── slow        hunch-slow     +6.0    32.3 ms    █████████████████▉
              label 2, confidence 0.999, batch of 3 took 5.0 ms
""".strip().splitlines()
        == lines(VERIFIED, BATCHES)
    )


def test_an_error_says_what_went_wrong_once():
    """The sentence stands where it happened, and is not repeated below."""
    assert (
        f"""
trace {TRACE}  4.0 ms, 2 spans
└── fast                hunch-fast     +0.0     1.0 ms ██████
      ERROR {WRONG}
    └── decide          hunch-fast     +1.0     3.0 ms       ██████████████████
          path error, reason bad_input, ERROR
""".strip().splitlines()
        == lines(REFUSED)
    )


def test_a_span_whose_parent_is_elsewhere_stands_at_the_top():
    """The producer's own span is not in the trace, nor is what a dead stage did not export."""
    found = lines([span("fast", "fast", "f", "abcd", (0, 1)), VERIFIED[0], VERIFIED[2]])

    names = [line.replace("│", " ").split()[1] for line in found if "── " in line]
    assert ["fast", "join", "decide"] == names
    assert "│     child of abcd, which is not here" == found[2]
    assert found[4].endswith("child of d, which is not here")


def test_children_come_in_the_order_of_their_start():
    """Neither that in which they arrived nor that of the alphabet."""
    starts = {"c": 1, "a": 2, "b": 3}
    children = [span(name, "fast", name, "f", (starts[name], 9)) for name in "bca"]

    found = lines([*children, span("fast", "fast", "f", None, (0, 9))])

    assert ["fast", "c", "a", "b"] == [line.split()[1] for line in found[1:]]


def test_a_span_that_came_twice_is_shown_once():
    """An exporter that had no answer sends again."""
    assert lines(VERIFIED) == lines([*VERIFIED, *VERIFIED])


@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_line_is_wider_than_the_terminal(width):
    """Long sentences are wrapped below their span."""
    long = " ".join(["A model that is asked for too much says so."] * 9)
    spans = [*VERIFIED, span("decide", "join", "x", "e", (144, 145), error=long)]

    found = lines(spans, BATCHES, width)

    assert max(map(len, found)) <= width
    assert long in " ".join(" ".join(found).replace("│", " ").split())


def test_a_pipe_gets_no_colours_and_a_terminal_does():
    """Escape codes only where they are understood."""
    piped = "".join(lines(VERIFIED))
    shown = "".join(lines(VERIFIED, force_terminal=True, color_system="standard"))

    assert "\x1b" not in piped
    assert "\x1b[" in shown


def test_where_only_ascii_can_be_written_it_is():
    """No sign that such an output could not encode."""
    raw = io.BytesIO()
    ascii_only = io.TextIOWrapper(raw, encoding="ascii", write_through=True)

    Console(file=ascii_only, width=80).print(trace_tree([*VERIFIED, *REFUSED], BATCHES))

    assert "#" in raw.getvalue().decode("ascii")
    ascii_only.close()


def test_spans_without_any_duration_are_seen():
    """A trace of no length still has its bars."""
    [_, line] = lines([span("fast", "fast", "f", None, (5, 5))])

    assert line.endswith("0.0 ms ▏")


def test_a_loop_of_parents_ends():
    """Spans that are each other's parents are no reason to hang: nothing of them is shown."""
    loop = [span("a", "fast", "1", "2", (0, 1)), span("b", "fast", "2", "1", (0, 1))]

    assert [f"trace {TRACE}  1.0 ms, 2 spans"] == lines(loop)
