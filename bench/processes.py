"""What the benches run against: a broker, stages as processes, and what these have computed."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HUNCH = [sys.executable, "-c", "from hunch.cli import main; main()"]


@contextlib.contextmanager
def broker(bootstrap: str | None) -> Iterator[str]:
    """The given broker, or one that lives as long as this program."""
    if bootstrap is not None:
        yield bootstrap
        return
    with subprocess.Popen(
        [str(ROOT / "deploy/local-kafka/kafka.sh"), "--until-stdin-closes"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("ready "):
            sys.exit("The local Kafka did not start: run `make kafka` to see why.")
        try:
            yield line.split()[1]
        finally:
            process.terminate()


@dataclass
class Running:
    """A stage as a process; its counters, as it told them in the end."""

    pid: int
    counts: dict[str, int] = field(default_factory=dict)


@contextlib.contextmanager
def stage(
    name: str, settings: Mapping[str, object], environment: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """One stage as a process, ready on entry."""
    arguments = [f"--set={key}={value}" for key, value in settings.items()]
    with subprocess.Popen(
        [*HUNCH, "run", name, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    ) as process:
        assert process.stderr is not None
        if not any('"event":"ready"' in line for line in process.stderr):
            sys.exit(f"The {name} stage did not start.")
        said: list[str] = []
        reading = threading.Thread(target=lambda: said.extend(process.stderr or ()))
        reading.start()
        running = Running(process.pid)
        try:
            yield running
        finally:
            process.terminate()
            process.wait(20)
            reading.join()
            ended = [line for line in said if '"event":"stopped"' in line]
            running.counts = json.loads(ended[-1])["counts"] if ended else {}


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used, in all of its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
