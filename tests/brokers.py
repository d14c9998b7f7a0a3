"""The brokers that tests run against: a real Kafka started by `kafka.sh`, and topics on it."""

import asyncio
import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

ROOT = Path(__file__).resolve().parents[1]
KAFKA_SH = ROOT / "deploy/local-kafka/kafka.sh"
TOOLS_MISSING = 3
"""The exit code of kafka.sh where Java or Maven is missing."""


class Missing(Exception):  # noqa: N818 - it is an expected answer, not an error
    """What these tests need is not on this machine; the text says how to get it."""


def kafka_tool(name: str, *arguments: str) -> str:
    """What one of Kafka's own tools says, run from the jars that kafka.sh has fetched."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hunch"
    pom = (KAFKA_SH.parent / "pom.xml").read_text("utf-8")
    jars = cache / f"kafka-{pom.partition('<kafka.version>')[2].partition('<')[0]}"
    home = os.environ.get("JAVA_HOME")
    java = f"{home}/bin/java" if home else "java"
    done = subprocess.run(
        [java, "-Xmx128m", "-cp", f"{jars}/*", name, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.stdout + done.stderr


class KafkaBroker:
    """A real broker in a process of its own; its address and data outlive stop and kill."""

    def __init__(self, folder: Path, *, options: Sequence[str] = ()) -> None:
        self.bootstrap = ""
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        """The process id of the running broker."""
        assert self._process is not None, "the broker was never started"
        return self._process.pid

    @property
    def data(self) -> Path:
        """Where its files are."""
        return self._folder / "data"

    @property
    def is_running(self) -> bool:
        """Whether the process lives (a stopped one by SIGSTOP does)."""
        return self._process is not None and self._process.poll() is None

    def start(self, timeout_s: float = 300.0) -> None:
        """Starts the broker and waits until it serves; does nothing where it runs.

        Raises `Missing` where there is no Java or Maven.
        """
        if self.is_running:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        errors = self._folder / "stderr.log"
        options = [*self._options, "--data", str(self.data), "--until-stdin-closes"]
        if self.bootstrap:
            options += ["--port", self.bootstrap.rpartition(":")[2]]
        with errors.open("w") as stderr:
            self._process = subprocess.Popen(
                [str(KAFKA_SH), *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        assert self._process.stdout is not None
        is_readable, _, _ = select.select([self._process.stdout], [], [], timeout_s)
        line = self._process.stdout.readline() if is_readable else ""
        if not line.startswith("ready "):
            self.kill()
            said = errors.read_text().strip()
            if self._process.returncode == TOOLS_MISSING:
                raise Missing(said.splitlines()[-1])
            msg = f"kafka.sh did not come up within {timeout_s} s and said:\n{said}"
            raise AssertionError(msg)
        self.bootstrap = line.split()[1]

    def freeze(self) -> None:
        """SIGSTOP: it answers nobody, and its connections stay open."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """Ends the broker cleanly and waits for its end."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the broker as a power cut does, and waits for its end."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(60.0)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


async def delete_topics(bootstrap: str, names: Sequence[str]) -> None:
    """Keeps the broker small, so that it restarts fast; one that hangs is left as it is."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=5_000)
    with contextlib.suppress(KafkaError, TimeoutError):
        async with asyncio.timeout(5.0):
            await admin.start()
            await admin.delete_topics(list(names))
    await admin.close()


def is_ci() -> bool:
    """Whether nothing may be skipped."""
    return os.environ.get("CI") == "true"


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    shown = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return shown.stdout.strip()[:1] not in {"", "Z"}


def comes_true(
    claim: Callable[[], bool], timeout_s: float, meanwhile: Callable[[], None] = lambda: None
) -> bool:
    """Waits until a claim about other processes is true; says whether that came in time."""
    until = time.monotonic() + timeout_s
    while not claim():
        if time.monotonic() > until:
            return False
        meanwhile()
        time.sleep(0.05)
    return True


def wait_until_gone(pid: int, timeout_s: float) -> bool:
    """Waits for the end of a process that is not our child; says whether it came in time."""
    return comes_true(lambda: not is_alive(pid), timeout_s)
