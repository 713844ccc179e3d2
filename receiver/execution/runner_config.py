"""executor.yml: what `counterfoil executor serve` may run, read strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

_PLACE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_DURATION = re.compile(r"([1-9][0-9]*)(ms|s|m|h)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class RunnerConfigError(Exception):
    """executor.yml does not hold; one line that says where and why."""


class _Param(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    allow: tuple[str, ...] = Field(min_length=1)
    allow_dash: bool = False


class _Action(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    secret_file: Path
    previous_secret_file: Path | None = None
    command: tuple[str, ...] = Field(min_length=1)
    params: Mapping[str, _Param] = {}
    timeout: str = "60s"
    concurrency: int = Field(default=1, ge=1, le=64)
    output_limit_bytes: int = Field(default=16_384, ge=1, le=60_000)


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    listen: str = "127.0.0.1:9879"
    log_file: Path = Path("executor.log")
    actions: Mapping[str, _Action] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class ActionConfig:
    """One action: its secrets, its argument list with {placeholders}, and the values that each may have."""

    secrets: tuple[str, ...] = field(repr=False)
    command: tuple[str, ...]
    params: Mapping[str, tuple[str, ...]]
    timeout_seconds: float
    concurrency: int
    output_limit_bytes: int

    def arguments(self, given: Mapping[str, str]) -> tuple[str, ...] | str:
        """The argument list for `given`, or why it is not allowed. A value never makes a new argument."""
        for name, value in given.items():
            allowed = self.params.get(name)
            if allowed is None:
                return f"there is no parameter {name[:60]}"
            if value not in allowed:
                return f"{name}: {value[:60]!r} is not one of the allowed values"
        missing = sorted(set(self.params) - set(given))
        if missing:
            return f"the parameter {missing[0]} is missing"
        return tuple(_PLACE.sub(lambda match: given[match[1]], part) for part in self.command)


@dataclass(frozen=True, slots=True)
class RunnerConfig:
    host: str
    port: int
    log_file: Path
    actions: Mapping[str, ActionConfig]


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key that stands twice."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise RunnerConfigError(f"line {key_node.start_mark.line + 1}: {key} stands twice")
        seen[key] = loader.construct_object(value_node, deep=True)
    return seen


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load_runner_config(path: Path) -> RunnerConfig:
    """Read executor.yml; files that it names are relative to it. Raises RunnerConfigError."""
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
        config = _File.model_validate(data)
    except (OSError, UnicodeDecodeError) as error:
        raise RunnerConfigError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise RunnerConfigError(f"{path}: {' '.join(str(error).split())}") from error
    except RunnerConfigError as error:
        raise RunnerConfigError(f"{path}: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RunnerConfigError(f"{path}: {place}: {first['msg']}") from error
    host, separator, port = config.listen.rpartition(":")
    if not separator or not port.isdigit():
        raise RunnerConfigError(f"{path}: listen: {config.listen!r} is not HOST:PORT")
    actions = {name: _action(path, name, action) for name, action in config.actions.items()}
    return RunnerConfig(host or "127.0.0.1", int(port), path.parent / config.log_file, actions)


def _action(path: Path, name: str, action: _Action) -> ActionConfig:
    where = f"{path}: actions.{name}"
    duration = _DURATION.fullmatch(action.timeout)
    if duration is None:
        raise RunnerConfigError(f"{where}.timeout: {action.timeout!r} is not a duration like 60s")
    used = {place for part in action.command for place in _PLACE.findall(part)}
    if used - set(action.params):
        raise RunnerConfigError(f"{where}.command: {{{min(used - set(action.params))}}} is no parameter of it")
    if _PLACE.search(action.command[0]):
        raise RunnerConfigError(f"{where}.command: the program itself cannot come from a parameter")
    for param, rules in action.params.items():
        dashed = [value for value in rules.allow if value.startswith("-")]
        if dashed and not rules.allow_dash:
            raise RunnerConfigError(
                f"{where}.params.{param}: {dashed[0]!r} would read as an option; set allow_dash: true if it may"
            )
    files = [action.secret_file, *([action.previous_secret_file] if action.previous_secret_file else [])]
    secrets = []
    for file in files:
        try:
            secrets.append((path.parent / file).read_text(encoding="utf-8").strip())
        except OSError as error:
            raise RunnerConfigError(f"{where}: {file}: {error.strerror}") from error
    if not all(secret.startswith("whsec_") for secret in secrets):
        raise RunnerConfigError(f"{where}: a secret is whsec_ and base64")
    return ActionConfig(
        secrets=tuple(secrets),
        command=action.command,
        params={param: rules.allow for param, rules in action.params.items()},
        timeout_seconds=int(duration[1]) * _UNITS[duration[2]],
        concurrency=action.concurrency,
        output_limit_bytes=action.output_limit_bytes,
    )
