"""W3C trace context as it travels in the header `traceparent`, and who is sampled.

Nothing here draws ids by chance: the trace of a message that came without one is named after its
record, so whoever reads the record again finds the same trace; and it is sampled by its offset.
"""

import re
from collections.abc import Container
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_PARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_MIX = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB], dtype=np.uint64)


class TraceContext(NamedTuple):
    """A place in a trace: which trace, which span, and whether it is recorded."""

    trace_id: str
    span_id: str
    is_sampled: bool

    def header(self) -> bytes:
        """As the value of `traceparent`."""
        flags = "01" if self.is_sampled else "00"
        return f"00-{self.trace_id}-{self.span_id}-{flags}".encode()


def parsed(header: bytes | None) -> TraceContext | None:
    """What a `traceparent` says; None where there is none, or none that W3C allows."""
    found = None if header is None else _PARENT.fullmatch(header)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    is_known = version == b"00" and more is None
    is_later = b"00" < version < b"ff"
    if not (is_known or is_later) or not trace_id.strip(b"0") or not span_id.strip(b"0"):
        return None
    return TraceContext(trace_id.decode(), span_id.decode(), int(flags, 16) & 1 == 1)


def is_sampled(header: bytes) -> bool:
    """The flag of a `traceparent` that W3C allows."""
    return int(header[53:55], 16) & 1 == 1


def trace_id_for(origin: str, timestamp_ms: int) -> str:
    """The trace of a record that brought none, as 32 hexadecimal digits."""
    return blake2b(f"{origin}@{timestamp_ms}".encode(), digest_size=16).hexdigest()


def chosen(partition: int, offsets: NDArray[np.int64], ratio: float) -> Container[int]:
    """The rows of the records that are sampled, so that a share `ratio` of all is.

    The same record is always chosen or never (splitmix64 of its place).
    """
    if ratio >= 1.0:
        return range(len(offsets))
    with np.errstate(over="ignore"):
        mixed = offsets.astype(np.uint64) * _MIX[0] + np.uint64(partition + 1) * _MIX[1]
        mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX[1]
        mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX[2]
        mixed ^= mixed >> np.uint64(31)
    return frozenset(np.flatnonzero(mixed < np.uint64(int(ratio * 2**64))).tolist())
