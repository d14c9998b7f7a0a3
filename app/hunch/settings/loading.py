"""Reads the settings in force: command line > `HUNCH_<KEY>` > policy file > `hunch.toml` > default.

`--config` names another file than `hunch.toml`. Nothing else reads these or the environment. A
policy file that cannot be read is a problem of those only that decide by it: `Loaded.decided`.
"""

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource

from hunch.core.policy import Policy, parsed
from hunch.errors import ConfigError, PolicyError
from hunch.settings.kinds import OFF
from hunch.settings.value import MASK, Settings, is_secret

CONFIG_FILE = "hunch.toml"
COMMAND_LINE = "command line"
DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was read.

    Attributes:
        settings: in force; without the policy file, where that cannot be read.
        sources: for every key where its value came from.
        problem: why the policy file cannot be read.
    """

    settings: Settings
    sources: Mapping[str, str]
    problem: PolicyError | None = None

    def decided(self) -> Settings:
        """The settings, for a process that decides by them; raises `PolicyError`."""
        if self.problem is not None:
            raise self.problem
        return self.settings


def load(config: Path | None, overrides: Mapping[str, object]) -> Loaded:
    """Reads the settings in force; raises `ConfigError` with one sentence for the first mistake.

    A policy file that cannot be read is none here.

    Args:
        config: file named by `--config`, which must exist; None reads `hunch.toml` if there is one.
        overrides: key → value from the command line.
    """
    file = config or Path(CONFIG_FILE)
    values: dict[str, object] = {}
    sources = dict.fromkeys(Settings.model_fields, DEFAULT)
    layers = [
        (str(file), _from_file(file, must_exist=config is not None)),
        ("environment", _from_environment()),
        (COMMAND_LINE, overrides),
    ]
    problem = None
    try:
        layers.insert(1, _from_policy_file([layer for _, layer in layers]))
    except PolicyError as error:
        problem = error
    for source, layer in layers:
        for key, value in layer.items():
            name = f"HUNCH_{key.upper()}" if source == "environment" else source
            if key not in sources:
                raise ConfigError(f"There is no setting {key!r} ({name}){suggestion(key, sources)}")
            values[key], sources[key] = value, name
    for key, value in values.items():
        is_yes_or_no = Settings.model_fields[key].annotation is bool
        if isinstance(value, bool) and not is_yes_or_no:  # pydantic would take true for 1
            raise ConfigError(_bad_value(key, value, sources[key], "it is no yes-or-no setting"))
    try:
        settings = Settings(**values)  # type: ignore[arg-type]
    except ValidationError as error:
        raise ConfigError(_sentence(error, values, sources)) from error
    return Loaded(settings=settings, sources=sources, problem=problem)


def read_policy(file: str) -> Policy:
    """The policy in a file; raises `PolicyError`."""
    try:
        return parsed(Path(file).read_bytes(), file)
    except FileNotFoundError:
        raise PolicyError(f"There is no policy file {file}: correct the path.") from None
    except OSError as error:
        raise PolicyError(f"The policy file {file} cannot be read: {error}.") from error


def suggestion(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown word: the nearest known one, or where to look."""
    near = difflib.get_close_matches(word.lower(), list(known), n=1)
    return f": did you mean {near[0]!r}?" if near else ": `hunch config` lists what there is."


def _from_file(file: Path, *, must_exist: bool) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if must_exist:
            raise ConfigError(f"There is no settings file {file}: correct the path.") from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The settings file {file} cannot be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"The settings file {file} is not TOML: {error}.") from error


def _from_policy_file(layers: Sequence[Mapping[str, object]]) -> tuple[str, dict[str, Any]]:
    """Where the policy file that these layers name stands, and the settings that it makes."""
    named = [layer["policy_file"] for layer in layers if layer.get("policy_file") is not None]
    if not named or named[-1] in OFF:
        return "", {}
    policy = read_policy(str(named[-1]))
    made = {"tau": policy.tau, "delta_ms": policy.delta_ms}
    return f"policy {policy.name}", {key: it for key, it in made.items() if it is not None}


def _from_environment() -> dict[str, Any]:
    prefix = "hunch_"
    variables = EnvSettingsSource(Settings).env_vars.items()
    return {key.removeprefix(prefix): value for key, value in variables if key.startswith(prefix)}


def _sentence(
    error: ValidationError, values: Mapping[str, object], sources: Mapping[str, str]
) -> str:
    first = error.errors()[0]
    if first["type"] == "value_error":
        allowed = str(first["ctx"]["error"])
    else:
        allowed = re.sub(r"^\w+ should", "it should", first["msg"])
    if not first["loc"]:
        return f"{allowed}."
    key = str(first["loc"][0])
    return _bad_value(key, values[key], sources[key], allowed)


def _bad_value(key: str, value: object, source: str, allowed: str) -> str:
    shown = MASK if is_secret(key) else json.dumps(value, default=str)
    return f"{key} = {shown} ({source}) is not allowed: {allowed}."
