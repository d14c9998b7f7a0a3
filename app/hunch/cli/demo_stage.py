"""A process of the demo: `hunch …` as ever, but it ends with whoever holds its stdin."""

import os
import threading

from hunch.cli import main


def _end_with_parent() -> None:
    """Waits for the end of stdin, which comes with the parent's, however it dies."""
    while os.read(0, 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    main()
