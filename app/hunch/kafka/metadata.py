"""What Hunch writes beside a committed offset, so that the next owner can go on from it.

`<crc32><json>`: a version, the owner's random mark, the offset that it was written for, numbers.
Metadata that is not there, was written by somebody else or is damaged reads as None, and beside
another offset it counts for nothing; that offset is then no proof of anything that Hunch has done.
"""

import zlib
from collections.abc import Mapping

import orjson

VERSION = 1


def pack(owner: int, offset: int, numbers: Mapping[str, int]) -> str:
    """The metadata of one commit at this offset."""
    body = orjson.dumps({"v": VERSION, "owner": owner, "at": offset, **numbers})
    return f"{zlib.crc32(body):08x}{body.decode()}"


def unpack(text: str | None) -> dict[str, int] | None:
    """The numbers in a commit's metadata, or None where they cannot be trusted."""
    if not text or len(text) <= 8:
        return None
    body = text[8:].encode()
    try:
        if int(text[:8], 16) != zlib.crc32(body):
            return None
        numbers = orjson.loads(body)
    except ValueError:
        return None
    if not isinstance(numbers, dict) or numbers.get("v") != VERSION:
        return None
    return {name: value for name, value in numbers.items() if isinstance(value, int)}


def trusted(text: str | None, offset: int) -> str:
    """The metadata itself where it was written for this offset; nothing where it was not."""
    numbers = unpack(text)
    return text if text and numbers is not None and numbers.get("at") == offset else ""
