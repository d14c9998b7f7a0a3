"""What the benches run against: a broker, stages as processes, and what these have computed."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
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


@contextlib.contextmanager
def stage(
    name: str, settings: Mapping[str, object], environment: Mapping[str, str] | None = None
) -> Iterator[int]:
    """One stage as a process, ready on entry; its process id."""
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
        drain = asyncio.get_running_loop().run_in_executor(None, process.stderr.read)
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait(20)
            del drain


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used, in all of its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
