"""`hunch …` in a process that kills itself at its n-th write, with a signal that none can catch.

Writes are what the interpreter reports before it does them: a file is opened for writing, a file
gets another name, a folder is made; all of them below one folder.
"""

import os
import signal
import sys
from itertools import count
from pathlib import Path
from typing import Any

from hunch.cli import main

WRITES = {"open", "os.rename", "os.mkdir"}


def die_at(number: int, folder: Path) -> None:
    """Ends this process just before its write of that number, counted from 1."""
    numbers = count(1)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in WRITES or not str(arguments[0]).startswith(str(folder)):
            return
        if event == "open" and not set(str(arguments[1])) & set("wxa+"):
            return
        if next(numbers) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


if __name__ == "__main__":
    die_at(int(sys.argv[1]), Path(sys.argv[2]))
    sys.argv[1:] = sys.argv[3:]
    main()
