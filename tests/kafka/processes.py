"""`hunch` as real processes: started, killed, frozen and watched from outside.

Each leads a process group of its own and has a watcher beside it, which ends it when this process
is gone, however that happened: nothing is left behind.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

HUNCH = "from hunch.cli import main; main()"
WATCH = 'cat >/dev/null; kill -KILL -- "-$1"'
READY_S = 30.0
Event = dict[str, Any]


def surroundings(**more: str) -> dict[str, str]:
    """This process's environment without what would set Hunch or its traces, and with `more`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HUNCH_", "OTEL_"))}
    return kept | more


def hunch(*arguments: str, program: str = HUNCH) -> list[str]:
    """The command line of `hunch` with these arguments."""
    return [sys.executable, "-c", program, *arguments]


class HunchProcess:
    """One `hunch` that runs until it is told to end, and the events that it logs.

    Args:
        stage: what it is called when something goes wrong.
        arguments: what stands behind `hunch`.
        folder: where it runs; it must hold no `hunch.toml`.
        environment: all of its environment.
        program: Python that runs in place of `hunch`.
        log: a file that what it says is added to, too.
    """

    def __init__(
        self,
        stage: str,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        *,
        program: str = HUNCH,
        log: Path | None = None,
    ) -> None:
        self.stage = stage
        self._log = log
        self._events: list[Event] = []
        self._logged = threading.Condition()
        self._process = subprocess.Popen(
            hunch(*arguments, program=program),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._watcher = subprocess.Popen(
            ["sh", "-c", WATCH, "sh", str(self._process.pid)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    @property
    def is_running(self) -> bool:
        """Whether the process lives (a frozen one does)."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the signal that ended it."""
        return self._process.poll()

    @property
    def events(self) -> list[Event]:
        """What was logged so far; `seen_s` is when it arrived here, on the monotonic clock."""
        with self._logged:
            return list(self._events)

    def of(self, name: str) -> list[Event]:
        """The events of one name."""
        return [event for event in self.events if event["event"] == name]

    def wait_for(
        self, is_wanted: Callable[[Event], bool], timeout_s: float = READY_S, *, after: int = 0
    ) -> Event:
        """The first wanted event at or after number `after`; fails at the time-out or the end."""
        until = time.monotonic() + timeout_s
        looked_at = after
        with self._logged:
            while True:
                for event in self._events[looked_at:]:
                    if is_wanted(event):
                        return event
                looked_at = max(looked_at, len(self._events))
                left_s = until - time.monotonic()
                assert left_s > 0, f"{self.stage} logged no such event in time:\n{self._tail()}"
                is_over = not self._reading.is_alive()
                assert not is_over, f"{self.stage} has ended, and said:\n{self._tail()}"
                self._logged.wait(min(left_s, 0.5))

    def wait_ready(self, timeout_s: float = READY_S) -> Event:
        """Returns once its lanes are open and its models warm."""
        return self.wait_for(lambda event: event["event"] == "ready", timeout_s)

    def owned(self) -> set[int]:
        """The partitions that the group gave it last."""
        assigned = self.of("assigned")
        return set(assigned[-1]["partitions"]) if assigned and self.is_running else set()

    def freeze(self) -> None:
        """SIGSTOP: it stands still, and its connections stay open."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.killpg(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """Ends it as a crash does, and cleans up; does nothing where it has ended."""
        if self.is_running:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._clean_up()

    def ask_to_end(self) -> None:
        """SIGTERM; returns at once."""
        self._process.terminate()

    def wait(self, timeout_s: float = 20.0) -> int:
        """Its exit code, once it has ended by itself."""
        code = self._process.wait(timeout_s)
        self._clean_up()
        return code

    def terminate(self, timeout_s: float = 20.0) -> int:
        """SIGTERM; waits for its end and returns the exit code."""
        self.ask_to_end()
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            msg = f"{self.stage} did not end on SIGTERM:\n{self._tail()}"
            raise AssertionError(msg) from None
        self._clean_up()
        return code

    def _clean_up(self) -> None:
        # The watcher goes first: it must not kill a group whose number is somebody else's by then.
        self._watcher.kill()
        self._watcher.wait()
        self._process.wait()
        self._reading.join()
        for pipe in (self._process.stderr, self._watcher.stdin):
            if pipe is not None:
                pipe.close()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if self._log is not None:
                with self._log.open("a") as log:
                    log.write(line)
            try:
                event = json.loads(line)
            except ValueError:
                event = {"event": "not JSON", "text": line.rstrip()}
            with self._logged:
                self._events.append({**event, "seen_s": time.monotonic()})
                self._logged.notify_all()

    def _tail(self) -> str:
        return "\n".join(str(event) for event in self._events[-15:])


class StageProcess(HunchProcess):
    """One `hunch run STAGE`.

    Args:
        settings: what is given with `--set`.
        environment: what is added to its environment.
    """

    def __init__(
        self,
        stage: str,
        folder: Path,
        settings: Mapping[str, object],
        environment: Mapping[str, str],
    ) -> None:
        arguments = [f"--set={key}={value}" for key, value in settings.items()]
        super().__init__(stage, ["run", stage, *arguments], folder, surroundings(**environment))
