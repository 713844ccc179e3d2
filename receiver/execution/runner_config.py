"""executor.yml: what `counterfoil executor serve` may run, read strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from yarl import URL

from receiver.execution.authorized import Demand
from receiver.execution.signature import is_secret

_PLACE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_DURATION = re.compile(r"([1-9][0-9]{0,8})(ms|s|m|h)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
TIMEOUT_MAX_SECONDS = 86_400.0
NAME_CHARACTERS_MAX = 63  # as a label of a host or the name of a unit
INTEGER_MAX = 10**9
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_INTEGER = re.compile(r"0|[1-9][0-9]{0,9}")


class RunnerConfigError(Exception):
    """executor.yml does not hold; one line that says where and why."""


class _Param(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    allow: tuple[str, ...] | None = Field(default=None, min_length=1)
    allow_dash: bool = False
    type: Literal["integer", "name"] | None = None
    min: int = 0
    max: int | None = None


class _Proof(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    keys: tuple[str, ...] = Field(min_length=1)
    address: str
    max_age: str = "15m"


class _Action(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    secret_file: Path
    previous_secret_file: Path | None = None
    command: tuple[str, ...] = Field(min_length=1)
    params: Mapping[str, _Param] = {}
    timeout: str = "60s"
    concurrency: int = Field(default=1, ge=1, le=64)
    output_limit_bytes: int = Field(default=16_384, ge=1, le=60_000)
    callback: bool = False


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    listen: str = "127.0.0.1:9879"
    log_file: Path = Path("executor.log")
    callback_origin: str | None = None
    proof: _Proof | None = None
    actions: Mapping[str, _Action] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Values:
    """What one parameter may be: one of `allow`; a whole number from `least` to `most`; a name of `most` characters.

    kind: "allow", "integer" or "name".
    """

    kind: str
    allow: tuple[str, ...] = ()
    least: int = 0
    most: int = NAME_CHARACTERS_MAX

    def refusal(self, value: str) -> str | None:
        """Why `value` may not be, or None."""
        match self.kind:
            case "integer":
                good = _INTEGER.fullmatch(value) is not None and self.least <= int(value) <= self.most
                return None if good else f"{value[:60]!r} is no whole number from {self.least} to {self.most}"
            case "name":
                good = _NAME.fullmatch(value) is not None and len(value) <= self.most
                return None if good else f"{value[:60]!r} is no name of at most {self.most} letters, digits, _ . and -"
        return None if value in self.allow else f"{value[:60]!r} is not one of the allowed values"


@dataclass(frozen=True, slots=True)
class ActionConfig:
    """One action: its secrets, its argument list with {placeholders}, and the values that each may have."""

    secrets: tuple[str, ...] = field(repr=False)
    command: tuple[str, ...]
    params: Mapping[str, Values]
    timeout_seconds: float
    concurrency: int
    output_limit_bytes: int
    callback: bool = False

    def arguments(self, given: Mapping[str, str]) -> tuple[str, ...] | str:
        """The argument list for `given`, or why it is not allowed. A value never makes a new argument."""
        for name, value in given.items():
            allowed = self.params.get(name)
            if allowed is None:
                return f"there is no parameter {name[:60]}"
            why = allowed.refusal(value)
            if why is not None:
                return f"{name}: {why}"
        missing = sorted(set(self.params) - set(given))
        if missing:
            return f"the parameter {missing[0]} is missing"
        return tuple(_PLACE.sub(lambda match: given[match[1]], part) for part in self.command)


@dataclass(frozen=True, slots=True)
class RunnerConfig:
    """callback_origin: the only origin that results are posted to. warnings: what works and should not stay so."""

    host: str
    port: int
    log_file: Path
    actions: Mapping[str, ActionConfig]
    callback_origin: URL | None = None
    proof: Demand | None = None
    proof_keys: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key that stands twice."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        line = key_node.start_mark.line + 1
        if not isinstance(key, str):
            raise RunnerConfigError(f"line {line}: a key is not text")
        if key in seen:
            raise RunnerConfigError(f"line {line}: {key} stands twice")
        seen[key] = loader.construct_object(value_node, deep=True)
    return seen


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load_runner_config(path: Path) -> RunnerConfig:
    """Read executor.yml; files that it names are relative to it. Raises RunnerConfigError."""
    config = _read(path)
    host, separator, port = config.listen.rpartition(":")
    if not separator or not port.isdecimal() or len(port) > 5 or int(port) > 65_535:
        raise RunnerConfigError(f"{path}: listen: {config.listen!r} is not HOST:PORT")
    origin = None if config.callback_origin is None else origin_of(config.callback_origin)
    if config.callback_origin is not None and (origin is None or URL(config.callback_origin).path not in ("", "/")):
        raise RunnerConfigError(f"{path}: callback_origin: it is http:// or https://, a host and a port, and no more")
    warnings: list[str] = []
    actions = {}
    for name, action in config.actions.items():
        if action.callback and origin is None:
            raise RunnerConfigError(f"{path}: actions.{name}.callback: it needs callback_origin, where results may go")
        actions[name] = _action(path, name, action, warnings)
    return RunnerConfig(
        host=host.removeprefix("[").removesuffix("]") or "127.0.0.1",
        port=int(port),
        log_file=path.parent / config.log_file,
        actions=actions,
        callback_origin=origin,
        proof=_demand(path, config.proof) if config.proof is not None else None,
        proof_keys=config.proof.keys if config.proof is not None else (),
        warnings=tuple(warnings),
    )


def origin_of(url: str) -> URL | None:
    """Scheme, host and port of an absolute http or https URL without a user; None of anything else."""
    try:
        parsed = URL(url)
        if parsed.scheme in ("http", "https") and parsed.host and parsed.user is None and parsed.password is None:
            return parsed.origin()
    except ValueError:
        return None
    return None


def _read(path: Path) -> _File:
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
        return _File.model_validate(data)
    except OSError as error:
        raise RunnerConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RunnerConfigError(f"{path}: cannot be read: it is not UTF-8") from error
    except yaml.YAMLError as error:
        raise RunnerConfigError(f"{path}: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise RunnerConfigError(f"{path}: it is nested too deep") from error
    except RunnerConfigError as error:
        raise RunnerConfigError(f"{path}: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RunnerConfigError(f"{path}: {place + ': ' if place else ''}{first['msg']}") from error


def _action(path: Path, name: str, action: _Action, warnings: list[str]) -> ActionConfig:
    where = f"{path}: actions.{name}"
    seconds = _seconds(f"{where}.timeout", action.timeout)
    used = {place for part in action.command for place in _PLACE.findall(part)}
    if used - set(action.params):
        raise RunnerConfigError(f"{where}.command: {{{min(used - set(action.params))}}} is no parameter of it")
    if _PLACE.search(action.command[0]) or not action.command[0]:
        raise RunnerConfigError(f"{where}.command: the program must be named, and cannot come from a parameter")
    params = {param: _values(f"{where}.params.{param}", rules) for param, rules in action.params.items()}
    if any("\0" in text for text in (*action.command, *(value for rules in params.values() for value in rules.allow))):
        raise RunnerConfigError(f"{where}: no argument can hold a NUL")
    files = [action.secret_file, *([action.previous_secret_file] if action.previous_secret_file else [])]
    return ActionConfig(
        secrets=tuple(_secret(path.parent / file, where, warnings) for file in files),
        command=action.command,
        params=params,
        timeout_seconds=seconds,
        concurrency=action.concurrency,
        output_limit_bytes=action.output_limit_bytes,
        callback=action.callback,
    )


def _values(where: str, rules: _Param) -> Values:
    if (rules.allow is None) == (rules.type is None):
        raise RunnerConfigError(f"{where}: give allow: […], or type: integer or name, and not both")
    if rules.allow is not None:
        dashed = [value for value in rules.allow if value.startswith("-")]
        if dashed and not rules.allow_dash:
            raise RunnerConfigError(f"{where}: {dashed[0]!r} would read as an option; set allow_dash: true if it may")
        return Values("allow", rules.allow)
    if rules.type == "integer":
        if rules.max is None or not 0 <= rules.min <= rules.max <= INTEGER_MAX:
            raise RunnerConfigError(
                f"{where}: type integer needs max, of at most {INTEGER_MAX}, and min from 0 up to it"
            )
        return Values("integer", least=rules.min, most=rules.max)
    most = NAME_CHARACTERS_MAX if rules.max is None else rules.max
    if not 1 <= most <= NAME_CHARACTERS_MAX or rules.min:
        raise RunnerConfigError(f"{where}: a name has 1 to {NAME_CHARACTERS_MAX} characters, which max may lower")
    return Values("name", most=most)


def _demand(path: Path, proof: _Proof) -> Demand:
    origin = origin_of(proof.address)
    if origin is None or URL(proof.address).path not in ("", "/") or proof.address.endswith("/"):
        raise RunnerConfigError(f"{path}: proof.address: it is http:// or https://, a host and a port, and no more")
    return Demand(proof.address, _seconds(f"{path}: proof.max_age", proof.max_age))


def _seconds(where: str, text: str) -> float:
    duration = _DURATION.fullmatch(text)
    seconds = int(duration[1]) * _UNITS[duration[2]] if duration is not None else 0.0
    if not 0 < seconds <= TIMEOUT_MAX_SECONDS:
        raise RunnerConfigError(f"{where}: {text!r} is not a duration like 60s, of at most 24h")
    return seconds


def _secret(file: Path, where: str, warnings: list[str]) -> str:
    try:
        secret = file.read_text(encoding="utf-8").strip()
        mode = file.stat().st_mode
    except OSError as error:
        raise RunnerConfigError(f"{where}: {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RunnerConfigError(f"{where}: {file}: a secret is whsec_ and the base64 of 24 to 64 bytes") from error
    if not is_secret(secret):
        raise RunnerConfigError(f"{where}: {file}: a secret is whsec_ and the base64 of 24 to 64 bytes")
    if mode & 0o077:
        warnings.append(f"{file}: others than its owner may read this secret: chmod 600 {file}")
    return secret
