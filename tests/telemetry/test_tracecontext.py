"""W3C trace context: what is taken, what is not, and who is sampled."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hunch.telemetry import tracecontext
from hunch.telemetry.tracecontext import TraceContext, chosen, parsed, trace_id_for

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
def test_what_is_written_is_read(trace, span, is_sampled):
    """Every context survives its header."""
    context = TraceContext(f"{trace:032x}", f"{span:016x}", is_sampled)

    assert context == parsed(context.header())
    assert is_sampled == tracecontext.is_sampled(context.header())


@given(st.binary(max_size=80))
def test_no_bytes_break_it(header):
    """Anybody may write a header: it is a context or it is none."""
    found = parsed(header)

    assert found is None or (len(found.trace_id), len(found.span_id)) == (32, 16)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"00-{TRACE}-{SPAN}-02", False),
        (f"cc-{TRACE}-{SPAN}-01-what the future brings", True),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}", None),
        ("", None),
    ],
)
def test_w3c_is_followed(header, expected):
    """Lower case, no zero ids, version ff forbidden, later versions read by their first part."""
    found = parsed(header.encode())

    assert expected == (None if found is None else found.is_sampled)


def rows(partition, offsets, ratio):
    """The rows that are chosen."""
    found = chosen(partition, np.array(offsets, dtype=np.int64), ratio)
    return [row for row in range(len(offsets)) if row in found]


@given(st.integers(0, 63), st.lists(st.integers(0, 2**62), max_size=50), st.floats(0, 1))
def test_a_record_is_always_chosen_or_never(partition, offsets, ratio):
    """Whoever reads it, in whatever batch; and a higher ratio chooses it still."""
    together = rows(partition, offsets, ratio)
    alone = [row for row, offset in enumerate(offsets) if rows(partition, [offset], ratio)]
    higher = rows(partition, offsets, min(1.0, ratio * 2))

    assert together == alone
    assert set(together) <= set(higher)


@pytest.mark.parametrize("ratio", [0.0, 0.01, 0.5, 1.0])
def test_the_ratio_is_kept(ratio):
    """Of many records in a row, about that share is chosen."""
    share = sum(len(rows(p, range(50_000), ratio)) for p in range(4)) / 200_000

    assert ratio == pytest.approx(share, abs=0.002)


def test_a_trace_is_named_after_its_record():
    """The same record gives the same trace; another one, or a topic made anew, another."""
    ids = [trace_id_for("m-0-1", 5), trace_id_for("m-0-2", 5), trace_id_for("m-0-1", 6)]

    assert trace_id_for("m-0-1", 5) == ids[0]
    assert 3 == len(set(ids))
    assert all(len(found) == 32 for found in ids)
