"""`write_whole`: a file that is whole or not there, whenever the process ends."""

import os
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Writes under another name first; raises `OSError`."""
    half = path.with_name(f"{path.name}.tmp")
    with half.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(half, path)  # noqa: PTH105  pathlib's does the same
