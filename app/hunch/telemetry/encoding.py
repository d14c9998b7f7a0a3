"""Spans as OTLP has them: protobuf, written by hand.

Measured for a message's two spans, side by side: the SDK's encoder 100 µs, the generated protobuf
classes 25 µs, this 6 µs, because what thousands of spans have in common is encoded once for each
`Form`. At 1 % of 50,000 messages a second that decides whether tracing is noticed. The numbers are
those of opentelemetry/proto/trace/v1/trace.proto.
"""

import struct
from collections.abc import Iterable, Mapping
from weakref import WeakKeyDictionary

from opentelemetry.sdk.resources import Resource

from hunch import __version__
from hunch.telemetry.traces import Form, Span

SPAN_KIND_INTERNAL, SPAN_KIND_PRODUCER, SPAN_KIND_CONSUMER = 1, 4, 5
STATUS_CODE_ERROR = 2
FLAG_SAMPLED, FLAG_REMOTE_IS_KNOWN, FLAG_IS_REMOTE = 0x1, 0x100, 0x200
_KINDS = {
    "fast": SPAN_KIND_CONSUMER,
    "defer": SPAN_KIND_PRODUCER,
    "slow": SPAN_KIND_CONSUMER,
    "join": SPAN_KIND_CONSUMER,
    "decide": SPAN_KIND_PRODUCER,
    "fast batch": SPAN_KIND_INTERNAL,
    "slow batch": SPAN_KIND_INTERNAL,
}
_TIMES = struct.Struct("<BQBQ")
_MAX_MS = (2**64 - 1) // 1_000_000
"""The last time that OTLP can say; who writes a deferral may name any."""
_DOUBLE = struct.Struct("<d")
_FLAGS = struct.Struct("<I")
_START, _END = 7 << 3 | 1, 8 << 3 | 1
_TRACE_ID, _SPAN_ID, _PARENT_ID = b"\x0a\x10", b"\x12\x08", b"\x22\x08"
_NAME, _KIND, _ATTRIBUTE, _LINK, _STATUS = b"\x2a", b"\x30", b"\x4a", b"\x6a", b"\x7a"
_SPAN_FLAGS, _LINK_FLAGS = b"\x85\x01", b"\x35"
_FIRST, _SECOND = b"\x0a", b"\x12"
_SHORT = [bytes([number]) for number in range(128)]


class Encoder:
    """Makes requests (`ExportTraceServiceRequest`) of spans.

    Args:
        resources: who a span of each stage belongs to.
    """

    def __init__(self, resources: Mapping[str, Resource]) -> None:
        scope = _message(
            _FIRST, _message(_FIRST, b"hunch") + _message(_SECOND, __version__.encode())
        )
        self._heads = {
            stage: (_message(_FIRST, _resource(resource)), scope)
            for stage, resource in resources.items()
        }
        self._forms: WeakKeyDictionary[Form, bytes] = WeakKeyDictionary()

    def request(self, spans: Iterable[tuple[Span, float]]) -> bytes:
        """One request for spans, each with the time at which the broker acknowledged it."""
        by_stage: dict[str, list[bytes]] = {}
        for span, acknowledged_ms in spans:
            by_stage.setdefault(span.form.stage, []).append(self._span(span, acknowledged_ms))
        parts = []
        for stage, encoded in by_stage.items():
            resource, scope = self._heads[stage]
            scope_spans = _message(_SECOND, scope + b"".join(encoded))
            parts.append(_message(_FIRST, resource + scope_spans))
        return b"".join(parts)

    def _span(self, span: Span, acknowledged_ms: float) -> bytes:
        form, trace_id, span_id, parent_id, start_ms, end_ms, own, links, error = span
        end_ms = acknowledged_ms if end_ms is None else end_ms
        start_ms, end_ms = (min(max(0.0, ms), _MAX_MS) for ms in (start_ms, end_ms))
        shared = self._forms.get(form)
        if shared is None:
            shared = self._forms[form] = _form(form)
        parts = [_TRACE_ID, bytes.fromhex(trace_id), _SPAN_ID, bytes.fromhex(span_id)]
        if parent_id is not None:
            parts += _PARENT_ID, bytes.fromhex(parent_id)
        parts.append(
            _TIMES.pack(_START, int(start_ms * 1e6), _END, int(max(start_ms, end_ms) * 1e6))
        )
        parts.append(shared)
        parts += [_attribute(_ATTRIBUTE, key, value) for key, value in own.items()]
        parts += [_link(trace, one) for trace, one in links]
        if error is not None:
            status = (
                _message(_SECOND, error.encode("utf-8", "replace"))
                + b"\x18"
                + _varint(STATUS_CODE_ERROR)
            )
            parts.append(_message(_STATUS, status))
        return _message(_SECOND, b"".join(parts))


def _form(form: Form) -> bytes:
    flags = FLAG_SAMPLED | FLAG_REMOTE_IS_KNOWN | (FLAG_IS_REMOTE if form.is_parent_remote else 0)
    attributes = [_attribute(_ATTRIBUTE, key, value) for key, value in form.attributes.items()]
    head = _message(_NAME, form.name.encode()) + _KIND + _varint(_KINDS[form.name])
    return head + _SPAN_FLAGS + _FLAGS.pack(flags) + b"".join(attributes)


def _resource(resource: Resource) -> bytes:
    return b"".join(_attribute(_FIRST, key, value) for key, value in resource.attributes.items())


def _link(trace_id: str, span_id: str) -> bytes:
    ids = _TRACE_ID + bytes.fromhex(trace_id) + _SPAN_ID + bytes.fromhex(span_id)
    return _message(_LINK, ids + _LINK_FLAGS + _FLAGS.pack(FLAG_SAMPLED | FLAG_REMOTE_IS_KNOWN))


def _attribute(tag: bytes, key: str, value: object) -> bytes:
    if isinstance(value, bool):
        held = b"\x10" + _varint(int(value))
    elif isinstance(value, int):
        held = b"\x18" + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)
    elif isinstance(value, float):
        held = b"\x21" + _DOUBLE.pack(value)
    else:
        held = _message(_FIRST, str(value).encode("utf-8", "replace"))
    return _message(tag, _message(_FIRST, key.encode()) + _message(_SECOND, held))


def _message(tag: bytes, body: bytes) -> bytes:
    return tag + _varint(len(body)) + body


def _varint(number: int) -> bytes:
    if number < 128:
        return _SHORT[number]
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)
