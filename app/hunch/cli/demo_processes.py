"""The processes of a demo or a live sweep: the three stages, each its own, and the checker.

Each is in a session of its own, so that Ctrl-C in a terminal reaches only who started them, and
ends them. They take their settings from `HUNCH_*`, and where to export to from `OTEL_*`, which hold
what is wanted here and nothing else, and write their log to one file.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn

import orjson

from hunch.errors import HunchError
from hunch.settings import Settings

STAGES = ("fast", "slow", "join")
READY_S = 60.0
STOP_S = 5.0
IN_FORCE_S = 15.0
MAX_LINE_BYTES = 1 << 20
REPLACED = ("HUNCH_", "OTEL_")


class Stages:
    """`hunch run fast`, `hunch run slow` and `hunch run join`, from their start to their end.

    Args:
        settings: of all of them.
        log: what they say goes there.
        exporting: variables that say where to export to.
        counts: processes of a stage, where they are more than one: from the second one on they
            have their number behind the name.
    """

    def __init__(
        self,
        settings: Settings,
        log: Path,
        exporting: dict[str, str],
        counts: Mapping[str, int] | None = None,
    ) -> None:
        self._environment = environment(settings) | exporting
        self._log = log
        self._file: IO[bytes] | None = None
        self._processes: dict[str, Process] = {}
        self._stage_of = {
            name if number == 1 else f"{name} {number}": name
            for name in STAGES
            for number in range(1, (counts or {}).get(name, 1) + 1)
        }
        self._ready = {name: asyncio.Event() for name in self._stage_of}
        self._in_force: dict[str, str] = {}
        self._heard = asyncio.Event()
        self._said: dict[str, str] = {}
        self._listening: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Starts the processes; they are not ready yet."""
        self._file = self._log.open("ab", buffering=0)
        for name, stage in self._stage_of.items():
            self._processes[name] = await _start(
                "demo_stage", "--config", os.devnull, "run", stage, env=self._environment
            )
            self._listening.append(asyncio.create_task(self._listen(name)))

    async def wait_until_ready(self) -> None:
        """Returns once every stage is ready; raises `HunchError` when that takes a minute."""
        try:
            async with asyncio.timeout(READY_S):
                await asyncio.gather(*(event.wait() for event in self._ready.values()))
        except TimeoutError:
            late = [name for name, event in self._ready.items() if not event.is_set()]
            msg = (
                f"Not ready after {READY_S:.0f} s: {', '.join(late)}; the log is {self._log}: "
                "read it, or start again on an idle machine."
            )
            raise HunchError(msg) from None

    async def wait_until_in_force(self, policy: str, stages: Collection[str]) -> None:
        """Returns once each process of these has a policy in force; raises `HunchError`."""
        waited = {name for name, stage in self._stage_of.items() if stage in stages}
        try:
            async with asyncio.timeout(IN_FORCE_S):
                while any(self._in_force.get(name) != policy for name in waited):
                    self._heard.clear()
                    await self._heard.wait()
        except TimeoutError:
            late = sorted(name for name in waited if self._in_force.get(name) != policy)
            msg = (
                f"After {IN_FORCE_S:.0f} s a policy that was pushed is not in force: "
                f"{', '.join(late)}; the log is {self._log}."
            )
            raise HunchError(msg) from None

    async def wait_until_one_ends(self) -> NoReturn:
        """Raises `HunchError` with what a stage said last, when it ends before it is told to."""
        waits = {
            asyncio.create_task(process.wait()): name for name, process in self._processes.items()
        }
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        await asyncio.wait(self._listening, timeout=1.0)
        name = waits[done.pop()]
        code = self._processes[name].returncode
        said = self._said.get(name, "it left no word.")
        msg = f"The {name} stage ended with code {code}: {said} The log is {self._log}."
        raise HunchError(msg)

    def pause(self, name: str) -> None:
        """Stops a stage where it stands, as a machine that hangs would."""
        with suppress(ProcessLookupError):
            self._processes[name].send_signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Lets a paused stage go on."""
        with suppress(ProcessLookupError):
            self._processes[name].send_signal(signal.SIGCONT)

    async def stop(self) -> None:
        """Asks the stages to end, and waits until they have."""
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                process.terminate()
        waits = [asyncio.create_task(process.wait()) for process in self._processes.values()]
        if waits:
            await asyncio.wait(waits, timeout=STOP_S)

    async def kill(self) -> None:
        """Ends at once what still runs."""
        for process in self._processes.values():
            await end(process)
        for listening in self._listening:
            await listening
        if self._file is not None:
            self._file.close()

    async def _listen(self, name: str) -> None:
        lines = self._processes[name].stderr
        while lines is not None and (line := await lines.readline()):
            if self._file is not None:
                self._file.write(line)
            said = _decoded(line)
            if said.get("event") == "ready":
                self._ready[name].set()
            if said.get("event") == "policy_in_force":
                self._in_force[name] = str(said.get("policy"))
                self._heard.set()
            if said.get("event") in {None, "error"}:
                self._said[name] = str(said.get("message"))


class Checker:
    """The process that counts decisions; see `demo_checker`."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self._environment = environment(settings)
        self._log = log
        self._process: Process | None = None

    async def start(self, topic: str, partitions: int) -> None:
        """Starts it: it reads from now on."""
        self._process = await _start(
            "demo_checker", topic, str(partitions), env=self._environment, log=self._log
        )

    async def verdict(self, origins: list[str]) -> dict[str, Any]:
        """Tells it what was sent, and returns what it found."""
        if self._process is None:
            raise HunchError("The checker was not started.")
        found, _ = await self._process.communicate("\n".join(origins).encode())
        if self._process.returncode != 0:
            msg = f"The checker failed, so nothing is proven; why stands in {self._log}."
            raise HunchError(msg)
        return dict(orjson.loads(found))

    async def kill(self) -> None:
        """Ends it at once where it still runs."""
        if self._process is not None:
            await end(self._process)


def environment(settings: Settings) -> dict[str, str]:
    """This process's environment, with these settings in place of its `HUNCH_*` and `OTEL_*`."""
    inherited = {key: text for key, text in os.environ.items() if not key.startswith(REPLACED)}
    return inherited | {
        f"HUNCH_{key.upper()}": _spelled(getattr(settings, key))
        for key in settings.model_fields_set
    }


async def end(process: Process) -> None:
    """Kills a process, stopped ones too, and waits for its end."""
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


async def _start(
    module: str, *arguments: str, env: Mapping[str, str], log: Path | None = None
) -> Process:
    command = (sys.executable, "-P", "-m", f"hunch.cli.{module}", *arguments)
    with (log or Path(os.devnull)).open("ab") as errors:
        return await asyncio.create_subprocess_exec(
            *command,
            env=env,
            stdin=PIPE,
            stdout=PIPE if log else None,
            stderr=errors if log else PIPE,
            start_new_session=True,
            limit=MAX_LINE_BYTES,
        )


def _spelled(value: object) -> str:
    reveal = getattr(value, "get_secret_value", None)
    if value is None:
        return "off"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(reveal() if reveal else value)


def _decoded(line: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {"message": line.decode(errors="replace").strip()}
    return found if isinstance(found, dict) else {}
