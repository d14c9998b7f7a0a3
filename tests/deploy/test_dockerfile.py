"""deploy/Dockerfile without an engine: its steps run one by one, in a clean environment."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tests.brokers import ROOT
from tests.conftest import lack
from tests.deploy.composed import instructions

ABSOLUTE = ("/opt/hunch", "/build", "/etc/hunch")
"""Folders of the image; here they lie below a folder of the test's own."""
TOOLS = ("sh", "touch")
"""All that the steps may use beside Python: no git, no compiler."""
NETWORK = re.compile(r"(?i)(pip|uv|ssl)_.*|.*_proxy|requests_ca_bundle")
OFFLINE = ("Failed to fetch", "Could not find a version", "error sending request")
LOADS = """
import onnxruntime
from hunch.inference.repository import load
for name in ("digits-fast", "digits-slow"):
    onnxruntime.InferenceSession(load(name).graph)
"""


NOBODY: dict[str, Any] = {"user": 10_001, "group": 10_001, "extra_groups": []}
FITS = "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"


def interpreter():
    """A Python that can be the base of the image: users without rights may run it, too."""
    if os.geteuid() != 0:
        return sys.executable
    for candidate in (Path(sys.base_prefix) / "bin/python3", Path("/usr/bin/python3")):
        with contextlib.suppress(OSError):
            if 0 == subprocess.run([candidate, "-c", FITS], check=False, **NOBODY).returncode:
                return str(candidate)
    return lack(
        "As root, the image's steps need a Python of 3.11 or later that other users may run: "
        "install one (Debian: apt install python3-venv), or run the tests as another user."
    )


class Image:
    """What the steps make: stage after stage, in one folder.

    Attributes:
        environment: what a process of the image sees.
        user: the user and group of `USER`.
        entrypoint: the last `ENTRYPOINT`, as it is written.
    """

    def __init__(self, folder, arguments):
        self.folder = folder
        self.user = ""
        self.entrypoint = ""
        self.environment = {}
        self._arguments = arguments
        self._path = f"{folder / 'python/bin'}:{folder / 'tools'}"
        self._cwd = folder
        (folder / "tools").mkdir()
        for tool in TOOLS:
            (folder / "tools" / tool).symlink_to(shutil.which(tool))
        subprocess.run([interpreter(), "-m", "venv", str(folder / "python")], check=True)

    def build(self):
        """Runs all steps in order."""
        steps = {
            "ARG": self._arg,
            "FROM": self._from,
            "RUN": self._run,
            "COPY": self._copy,
            "ENV": self._env,
            "WORKDIR": self._workdir,
            "USER": lambda rest: setattr(self, "user", rest),
            "ENTRYPOINT": lambda rest: setattr(self, "entrypoint", rest),
            "CMD": lambda _: None,
        }
        for word, rest in instructions():
            steps[word](rest)

    def here(self, text):
        """The text with the folders of this machine."""
        for path in ABSOLUTE:
            text = re.sub(rf"{path}\b", str(self.folder) + path, text)
        return text

    def run(self, *command):
        """Runs a command as a container would: its user, its environment and nothing else."""
        user, _, group = self.user.partition(":")
        assert (NOBODY["user"], NOBODY["group"]) == (int(user), int(group))
        return subprocess.run(
            command,
            cwd=self._cwd,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            **(NOBODY if os.geteuid() == 0 else {}),
        )

    def _arg(self, rest):
        name, _, default = rest.partition("=")
        self._arguments.setdefault(name, default)

    def _from(self, rest):
        assert re.match(r"python:\$\{PYTHON\}( AS build)?$", rest), rest
        assert re.fullmatch(r"3\.\d+\.\d+-slim-\w+", self._arguments["PYTHON"])
        self.environment = {"PATH": self._path}
        self._cwd = self.folder

    def _run(self, rest):
        reaching = {key: value for key, value in os.environ.items() if NETWORK.fullmatch(key)}
        done = subprocess.run(
            ["sh", "-c", self.here(rest)],
            cwd=self._cwd,
            env={**reaching, **self._arguments, **self.environment, "HOME": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        if done.returncode and any(sign in done.stderr for sign in OFFLINE):
            lack("The image's packages come from PyPI, which is not reached from here.")
        assert 0 == done.returncode, f"{rest}\n{done.stdout}{done.stderr}"

    def _copy(self, rest):
        *sources, target = rest.split()
        if sources[0] == "--from=build":
            self._keep_only(sources[1:], target)
            return
        context = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        for source in sources:
            assert f"!{source}" in context, f"{source} is not in what Docker is sent"
            if (ROOT / source).is_dir():
                left_out = shutil.ignore_patterns("__pycache__", ".*")
                shutil.copytree(ROOT / source, self._cwd / target, ignore=left_out)
            else:
                shutil.copy(ROOT / source, self._cwd / target)

    def _keep_only(self, sources, target):
        """A new stage has what it copies, and of the one before nothing else."""
        assert [target] == sources
        for path in ABSOLUTE:
            if path != target:
                shutil.rmtree(self.here(path), ignore_errors=True)

    def _env(self, rest):
        for pair in self.here(rest).split():
            name, _, value = pair.partition("=")
            self.environment[name] = value.replace("$PATH", self.environment["PATH"])

    def _workdir(self, rest):
        self._cwd = Path(self.here(rest))
        self._cwd.mkdir(parents=True)


def installed(image):
    """The distributions in the image, by their normal names."""
    (packages,) = (image.folder / "opt/hunch/lib").glob("python3.*/site-packages")
    found = (path.name.partition("-")[0] for path in packages.glob("*.dist-info"))
    return {name.lower().replace("_", "-") for name in found}


@pytest.mark.slow
@pytest.mark.timeout(240, func_only=True)
def test_the_steps_of_the_image_run_and_hunch_runs_in_it():
    """The processor's image has hunch, its models and topics, no CUDA, and needs no rights.

    The base image is a fresh virtual environment of this Python, without git or a compiler.
    """
    folder = Path(tempfile.mkdtemp(prefix="hunch-image-"))
    folder.chmod(0o755)
    try:
        image = Image(folder, {"ONNXRUNTIME": "cpu"})
        image.build()
        version = image.run("hunch", "--version")
        plan = image.run("hunch", "topics", "plan", "--bootstrap", "embedded")
        loaded = image.run("python", "-c", LOADS)
        packages = installed(image)
    finally:
        shutil.rmtree(folder)

    assert '["hunch"]' == image.entrypoint
    assert (0, "hunch ") == (version.returncode, version.stdout[:6]), version.stderr
    assert 0 == plan.returncode, plan.stderr
    assert "slow-results" in plan.stdout
    assert 0 == loaded.returncode, loaded.stderr
    assert {"hunch-stream", "onnxruntime", "aiokafka"} <= packages
    assert "onnxruntime-gpu" not in packages
    assert [] == [name for name in packages if re.match(r"nvidia|cuda|pip$|uv$|pytest", name)]


def test_nobody_in_the_image_is_root():
    """The last stage ends with a numbered user that is not root, and its group."""
    users = [rest for word, rest in instructions() if word == "USER"]

    assert users
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", users[-1])
    assert "USER" in [word for word, _ in instructions()][-4:]


def test_the_runtime_is_the_one_that_hunch_allows():
    """The image's onnxruntime has the bounds of pyproject.toml, on a processor and on a GPU."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    bounds = {
        re.split(r"[\s;]", text)[0] for text in project["dependencies"] if "onnxruntime" in text
    }
    steps = " ".join(rest for word, rest in instructions() if word == "RUN")
    wanted = set(re.findall(r'"(onnxruntime[^" ;]*)"', steps))

    assert bounds == {text.replace("[cuda,cudnn]", "") for text in wanted}
