"""What a graph file says of itself, found without loading it: its outputs, where its weights lie.

An ONNX file is a protobuf of `ModelProto`. What is none has nothing to say here: ONNX Runtime,
which loads it, says what is wrong with it.
"""

import mmap
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

GRAPH, OUTPUT, NAME = 7, 12, 1
"""The numbers of `ModelProto.graph`, `GraphProto.output` and `ValueInfoProto.name`."""
_LOCATION = re.compile(rb"\x0a\x08location\x12")
"""Key of a `StringStringEntryProto` before its value: the file with the weights of a tensor."""


def outputs_of(graph: Path) -> tuple[str, ...]:
    """Names of what the graph puts out, in their order."""
    return _found(graph, _outputs)


def weights_of(graph: Path) -> tuple[str, ...]:
    """Files with weights, as they lie seen from the graph's folder; a look at every byte of it."""
    return _found(graph, _locations)


def _found(graph: Path, look: Callable[[mmap.mmap], Iterable[str]]) -> tuple[str, ...]:
    if not graph.stat().st_size:
        return ()
    with graph.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return tuple(look(data))
        except IndexError:  # it ends in the middle, or is no protobuf
            return ()


def _outputs(data: mmap.mmap) -> Iterator[str]:
    for start, end in _fields(data, GRAPH, 0, len(data)):
        for output in _fields(data, OUTPUT, start, end):
            for name in _fields(data, NAME, *output):
                yield data[slice(*name)].decode("utf-8", "replace")


def _locations(data: mmap.mmap) -> list[str]:
    found = set()
    for after in [match.end() for match in _LOCATION.finditer(data)]:
        size, start = _varint(data, after)
        found.add(data[start : start + size].decode("utf-8", "replace"))
    return sorted(found)


def _fields(data: mmap.mmap, wanted: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """From where to where the fields of this number lie in a message that lies there."""
    while start < end:
        tag, start = _varint(data, start)
        match tag & 7:
            case 0:  # a number
                _, start = _varint(data, start)
            case 1:  # eight bytes
                start += 8
            case 5:  # four bytes
                start += 4
            case 2:  # so many bytes
                size, start = _varint(data, start)
                if start + size > end:
                    raise IndexError(start)
                if tag >> 3 == wanted:
                    yield start, start + size
                start += size
            case _:
                raise IndexError(start)


def _varint(data: mmap.mmap, start: int) -> tuple[int, int]:
    """A number, and where what follows it begins."""
    number = 0
    for place in range(10):
        byte = data[start + place]
        number |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return number, start + place + 1
    raise IndexError(start)
