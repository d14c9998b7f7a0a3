"""docker-compose.yml, as these tests need it: our services as Compose would start them."""

import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.brokers import ROOT
from tests.kafka.processes import surroundings

COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "deploy/Dockerfile"
STAGES = ("fast", "slow", "join")
PORT = "8080"
"""The port in a container; here every service needs one of its own."""


def services() -> dict[str, dict[str, Any]]:
    """All services of the file."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text("utf-8"))["services"]
    return found


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile: instruction and argument, continued lines joined, comments left out."""
    lines = [line for line in DOCKERFILE.read_text("utf-8").splitlines() if line[:1] != "#"]
    joined = "\n".join(lines).replace("\\\n", " ")
    whole = (line.partition(" ") for line in joined.splitlines() if line.strip())
    return [(word, rest.strip()) for word, _, rest in whole]


@dataclass(frozen=True, slots=True)
class Here:
    """Where things are on this machine that have names in the network of Compose.

    Attributes:
        addresses: what stands in the file → what it is here.
        port: what the container's port 8080 is here.
    """

    addresses: Mapping[str, str]
    port: int

    def moved(self, text: str) -> str:
        """The text with the addresses of this machine."""
        for there, here in self.addresses.items():
            text = text.replace(there, here)
        return re.sub(rf"\b{PORT}\b", str(self.port), text)


@dataclass(frozen=True, slots=True)
class Service:
    """One of our services: what is started, and in which environment."""

    name: str
    arguments: list[str]
    environment: dict[str, str]
    check: list[str]
    grace_s: float

    @classmethod
    def composed(cls, name: str, here: Here, **more: str) -> "Service":
        """The service as the file has it; `more` is added to its environment."""
        service = services()[name]
        entrypoint = [json.loads(rest) for word, rest in instructions() if word == "ENTRYPOINT"]
        assert [["hunch"]] == entrypoint
        assert "entrypoint" not in service
        given = {key: here.moved(value) for key, value in service["environment"].items()}
        path = {"PATH": f"{Path(sys.executable).parent}:{surroundings()['PATH']}"}
        return cls(
            name=name,
            arguments=service["command"],
            environment=surroundings(**path, **given, **more),
            check=[here.moved(word) for word in service.get("healthcheck", {}).get("test", [])],
            grace_s=float(service.get("stop_grace_period", "10s").removesuffix("s")),
        )

    def is_healthy(self) -> bool:
        """Runs the health check as a container would, and says whether it succeeds."""
        kind, *command = self.check
        assert "CMD" == kind, shlex.join(self.check)
        done = subprocess.run(
            command, env=self.environment, capture_output=True, timeout=10, check=False
        )
        return done.returncode == 0

    def becomes_healthy(self, timeout_s: float) -> bool:
        """Checks again and again until the time-out."""
        until = time.monotonic() + timeout_s
        while not (is_healthy := self.is_healthy()) and time.monotonic() < until:
            time.sleep(0.2)
        return is_healthy
