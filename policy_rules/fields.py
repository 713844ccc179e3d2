"""Typed access to plain data. Every mistake is noted with its place, and reading goes on, so that all are found."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from policy_rules.durations import duration, parse_duration
from policy_rules.problems import Problem, nearest
from policy_rules.strict_yaml import Path, Position
from policy_rules.unknown import ELSE, KINDS, OnUnknown

NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
NAME_HINT = "1 to 64 of letters, digits, _ . and -, beginning with a letter or digit"
TEXT_MAX = 4096
DURATION_MAX = 366 * 86400


@dataclass(slots=True)
class Notes:
    """The problems found so far."""

    file: str
    positions: Mapping[Path, Position]
    problems: list[Problem] = field(default_factory=list)
    _spoiled: set[Position] = field(init=False)

    def __post_init__(self) -> None:
        self._spoiled = {Position(problem.line, problem.column) for problem in self.problems}

    def add(self, path: Path, message: str) -> None:
        """Note `message` at the place of `path`, or of the nearest part of the file that holds it.

        Where the place has a problem already, the new one would only repeat it in other words.
        """
        while path and path not in self.positions:
            path = path[:-1]
        place = self.positions.get(path, Position(1, 1))
        if place not in self._spoiled:
            self._spoiled.add(place)
            self.problems.append(Problem(self.file, *place, message))


class Fields:
    """One mapping of the file. `known` are the keys that it may have; any other is noted at once."""

    def __init__(self, notes: Notes, path: Path, data: Any, known: Collection[str]) -> None:
        self.notes, self.path = notes, path
        self.readable = isinstance(data, dict)
        self.data: Mapping[str, Any] = data if isinstance(data, dict) else {}
        if not self.readable:
            what = f"{path[-1]} must be" if path else "the file must hold"
            notes.add(path, f"{what} a mapping with the keys {', '.join(sorted(known))}; this is {_kind(data)}")
        for key in self.data:
            if key not in known:
                notes.add((*path, key), f"unknown key {key!r}{nearest(key, known)}")

    def __contains__(self, name: str) -> bool:
        return name in self.data

    def wrong(self, name: str, message: str) -> None:
        self.notes.add((*self.path, name), message)

    def required(self, name: str) -> bool:
        """Whether `name` is there; noted where it is not."""
        if name not in self.data and self.readable:
            self.notes.add(self.path, f"{name} is missing")
        return name in self.data

    def text(self, name: str, default: str | None = None, *, pattern: str | None = None, hint: str = "") -> str:
        """A text of at least one character. Without a default it is required."""
        if default is None and not self.required(name):
            return ""
        if name not in self.data:
            return default or ""
        return read_text(self.notes, (*self.path, name), self.data[name], pattern=pattern, hint=hint) or ""

    def choice(self, name: str, options: Collection[str], default: str) -> str:
        value = self.text(name, default)
        if value and value not in options:
            self.wrong(name, f"{name} is {value!r}{nearest(value, options)}")
            return default
        return value or default

    def on_unknown(self, name: str, words: Collection[str], default: str) -> OnUnknown:
        """One of `words`, or a mapping from kinds of the unknown (and `else`) to such."""
        if not isinstance(self.data.get(name), dict):
            return OnUnknown(self.choice(name, words, default))
        inner = Fields(self.notes, (*self.path, name), self.data[name], (*KINDS, ELSE))
        of = tuple((kind, inner.choice(kind, words, default)) for kind in KINDS if kind in inner)
        if not of:
            self.wrong(name, f"{name} names no kind of the unknown: it is a word, or has some of {', '.join(KINDS)}")
        return OnUnknown(inner.choice(ELSE, words, default), of)

    def boolean(self, name: str, default: bool) -> bool:
        value = self.data.get(name, default)
        if not isinstance(value, bool):
            self.wrong(name, f"{name} must be true or false; this is {_kind(value)}")
            return default
        return value

    def whole(self, name: str, default: int, *, least: int, most: int) -> int:
        value = self.data.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.wrong(name, f"{name} must be a whole number from {least} to {most}; this is {_kind(value)}")
            return default
        return value

    def number(self, name: str) -> str:
        """A number as text, required; "1" where it is wrong, so that reading can go on."""
        if not self.required(name):
            return "1"
        value = self.data[name]
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.wrong(name, f"{name} must be a number; this is {_kind(value)}")
            return "1"
        return f"{Decimal(repr(value)):f}"

    def duration(self, name: str, default: float, *, least: float = 0, most: float = DURATION_MAX) -> float:
        """Seconds. least and most are what makes sense, both included."""
        if name not in self.data:
            return default
        value = self.data[name]
        seconds = parse_duration(value if isinstance(value, str) else "0" if value == 0 and value is not False else "")
        if seconds is None:
            unit = f"; did you mean {value}s?" if isinstance(value, int) and not isinstance(value, bool) else ""
            self.wrong(name, f"{name} must be a duration like 90s or 1h30m; this is {_kind(value)}{unit}")
            return default
        if not least <= seconds <= most:
            self.wrong(name, f"{name} must be from {duration(least)} to {duration(most)}; this is {value}")
            return default
        return seconds

    def items(self, name: str) -> Iterator[tuple[Path, Any]]:
        """Each item of a list with its path; nothing where the key is missing."""
        value = self.data.get(name, [])
        if not isinstance(value, list):
            self.wrong(name, f"{name} must be a list, like [a, b]; this is {_kind(value)}")
            return
        for index, item in enumerate(value):
            yield (*self.path, name, index), item

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts, none of them twice."""
        found: dict[str, None] = {}
        for path, item in self.items(name):
            value = read_text(self.notes, path, item)
            if value is not None and value in found:
                self.notes.add(path, f"{value!r} stands in {name} twice")
            if value is not None:
                found[value] = None
        return tuple(found)

    def entries(self, name: str, pattern: str, hint: str) -> Iterator[tuple[str, Path, Any]]:
        """Each entry of a mapping whose keys are names: (name, path, value)."""
        value = self.data.get(name, {})
        if not isinstance(value, dict):
            self.wrong(name, f"{name} must be a mapping; this is {_kind(value)}")
            return
        for key, item in value.items():
            path = (*self.path, name, key)
            if re.fullmatch(pattern, key) is None:
                self.notes.add(path, f"{key[:80]!r} is not a name here: {hint}")
            else:
                yield key, path, item


def read_text(notes: Notes, path: Path, value: Any, *, pattern: str | None = None, hint: str = "") -> str | None:
    """`value` as a text of 1 to 4,096 characters, or None with a note."""
    name = next((part for part in reversed(path) if isinstance(part, str)), "")
    if isinstance(value, int | float) and not isinstance(value, bool):
        notes.add(path, f"{name} must be text; {value} is a number: quote it")
    elif not isinstance(value, str):
        notes.add(path, f"{name} must be text; this is {_kind(value)}")
    elif not value.strip():
        notes.add(path, f"{name} is empty")
    elif len(value) > TEXT_MAX:
        notes.add(path, f"{name} has {len(value)} characters; at most {TEXT_MAX} are read")
    elif pattern is not None and re.fullmatch(pattern, value) is None:
        notes.add(path, f"{name} {value[:80]!r} is not allowed: {hint}")
    else:
        return value
    return None


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return f"{str(value)[:40]!r}" if isinstance(value, str) else str(value)
