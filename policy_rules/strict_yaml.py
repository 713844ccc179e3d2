"""YAML without its surprises: what a reader sees is what is read, or the file is refused with the line.

Refused: repeated keys, keys that are not text, anchors, aliases, merge keys, tags, several documents, and every plain
scalar that YAML 1.1 and 1.2 read differently or that a person reads differently from both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

from policy_rules.problems import FileErrors, Problem

TEXT_MAX = 1024 * 1024
DEPTH_MAX = 20
Path = tuple[str | int, ...]


class Position(NamedTuple):
    """Where something stands; both count from 1. Of an entry of a mapping it is the place of its key."""

    line: int
    column: int


_NAMELESS = "\x00"  # stands in paths for what has no name; no key of a file can be it
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE_FALSE = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]{0,17})\.[0-9]{1,30}")
_SURPRISES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"yes|no|on|off", re.I), "is a truth value to some readers: write true or false, or quote it"),
    (re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"), "is a number in base 60 to some: quote it"),
    (re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt \t].*)?"), "is a date to some readers: quote it"),
    (re.compile(r"[-+]?0[xXoObB][0-9a-fA-F_]+|[-+]?0[0-9_]+"), "is octal, hexadecimal or binary to some: quote it"),
    (re.compile(r"\+[0-9.].*"), "is a number to some readers and loses its plus: quote it"),
    (re.compile(r"[-+]?[0-9][0-9,_]*_[0-9_.]*"), "is a number to some readers: quote it"),
    (re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"), "is no number that can be compared"),
    (re.compile(r"[-+]?[0-9]+\.|[-+]?\.[0-9]+(?:[eE][-+]?[0-9]+)?"), "has no digit on one side of its point"),
    (re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+"), "is a number to some readers: write it out, or quote it"),
    (re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?"), "is too long a number: quote it if it is text"),
)
_RFC_3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:Z|[-+][0-9]{2}:[0-9]{2})")
_NO_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?:(:-)([^}\n]*))?\}|\$\{")
_NO_VALUE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def read(text: str, file: str) -> tuple[Any, Mapping[Path, Position]]:
    """The plain data in `text` and where each part of it stands, by path: ("rules", 0, "name").

    Mappings become dicts with text keys, sequences lists, scalars str, int, float, bool or None.
    Raises FileErrors with everything that is wrong.
    """
    data, positions, problems = collect(text, file)
    if problems:
        raise FileErrors(problems)
    return data, positions


def collect(text: str, file: str, *, times: bool = False) -> tuple[Any, dict[Path, Position], list[Problem]]:
    """What `read` gives, with the problems beside it; where the text is no YAML at all the data is None.

    times: a plain RFC 3339 time is text, as where nobody can take it for anything else.
    """
    reader = _Reader(file, times=times)
    if len(text) > TEXT_MAX:
        problem = Problem(file, 1, 1, f"the file has {len(text)} characters; at most {TEXT_MAX} are read")
        return None, {}, [problem]
    try:
        reader.read(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Position(mark.line + 1, mark.column + 1) if mark is not None else Position(1, 1)
        words = ": ".join(part for part in (error.context, error.problem) if part)
        return None, {}, [*reader.problems, Problem(file, *place, f"not YAML: {' '.join(words.split())[:200]}")]
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        return None, {}, [Problem(file, line, 0, f"not YAML: character {error.character!r} is not allowed")]
    except (ValueError, OverflowError):
        # PyYAML makes a number of an escape or a version directive and does not catch what that raises.
        return None, {}, [*reader.problems, Problem(file, 1, 0, "not YAML: an escape or a directive cannot be read")]
    except _TooDeep as error:
        return None, {}, [Problem(file, *error.place, f"nested deeper than {DEPTH_MAX} levels")]
    return reader.root, reader.positions, reader.problems


def substitute(text: str, file: str, environment: Mapping[str, str]) -> tuple[str, list[Problem]]:
    """`text` with each `${NAME}` and `${NAME:-default}` replaced; as in a shell, an empty variable takes the default.

    The text that comes out has no `${` left, so that reading it again changes nothing.
    """
    problems: list[Problem] = []

    def value(match: re.Match[str]) -> str:
        def wrong(message: str) -> str:
            before = text[: match.start()]
            line, column = before.count("\n") + 1, match.start() - (before.rfind("\n") + 1) + 1
            problems.append(Problem(file, line, column, message))
            return ""

        name, has_default, default = match.groups()
        if name is None:
            return wrong("${ begins a variable: write ${NAME} or ${NAME:-default}")
        found = environment.get(name, "") or (default if has_default else environment.get(name))
        if found is None:
            return wrong(f"the environment variable {name} is not set; set it, or write ${{{name}:-default}}")
        if "${" in found or _NO_VALUE.search(found):
            return wrong(f"the environment variable {name} holds a line break, a control character or ${{")
        return str(found)

    replaced = _VARIABLE.sub(value, text)
    if not problems and "${" in replaced:
        problems.append(Problem(file, 1, 0, "the text after substitution still holds ${; put no $ before a variable"))
    return replaced, problems


class _TooDeep(Exception):
    """The document is nested too deeply. `place` is where."""

    def __init__(self, place: Position) -> None:
        self.place = place


@dataclass(slots=True)
class _Frame:
    """A mapping or a sequence that is being read."""

    container: dict[str, Any] | list[Any]
    path: Path
    key: str | None = None
    key_place: Position | None = None
    drop: bool = False  # the next value has no name of its own: it is read and not kept


@dataclass(slots=True)
class _Reader:
    """Builds plain data of YAML's events, without recursion: no document can exhaust the stack."""

    file: str
    times: bool = False
    root: Any = None
    positions: dict[Path, Position] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    frames: list[_Frame] = field(default_factory=list)
    documents: int = 0

    def read(self, events: Iterator[yaml.Event]) -> None:
        takes: Mapping[type, Callable[[Any, Position], None]] = {
            yaml.DocumentStartEvent: self._document,
            yaml.ScalarEvent: self._scalar,
            yaml.AliasEvent: self._alias,
            yaml.MappingStartEvent: lambda event, place: self._begin({}, event, place),
            yaml.SequenceStartEvent: lambda event, place: self._begin([], event, place),
            yaml.MappingEndEvent: self._end,
            yaml.SequenceEndEvent: self._end,
        }
        for event in events:
            take = takes.get(type(event))
            if take is not None:
                mark = event.start_mark
                take(event, Position(mark.line + 1, mark.column + 1) if mark is not None else Position(1, 1))

    def _document(self, event: yaml.DocumentStartEvent, place: Position) -> None:
        self.documents += 1
        if self.documents == 2:
            self._wrong(place, "only one document is read: remove the second ---")

    def _alias(self, event: yaml.AliasEvent, place: Position) -> None:
        self._wrong(place, f"an alias is not read here: write out what *{event.anchor} stands for")
        if self._awaits_key():
            self._key(f"*{event.anchor}", place)
        else:
            self._value(None, place)

    def _scalar(self, event: yaml.ScalarEvent, place: Position) -> None:
        self._plain_node(event, place)
        value, complaint = resolve(event.value) if event.style is None else (event.value, None)
        named = place if not self.frames or self._awaits_key() else self.frames[-1].key_place or place
        if complaint is not None and not (self.times and _RFC_3339.fullmatch(event.value)):
            self._wrong(named, f"{event.value[:40]} {complaint}")
            value = event.value
        if isinstance(value, str) and _NO_TEXT.search(value):
            self._wrong(named, "holds a control character or half of a surrogate pair")
        if not self._awaits_key():
            self._value(value, place)
        elif event.style is None and event.value == "<<":
            self._wrong(place, "a merge key is not read here: write out what it stands for")
            self._key("<<", place)
        else:
            if not isinstance(value, str):
                self._wrong(place, f"the key {event.value[:40]!r} is not text: quote it")
            self._key(event.value, place)

    def _begin(self, container: dict[str, Any] | list[Any], event: Any, place: Position) -> None:
        self._plain_node(event, place)
        if len(self.frames) >= DEPTH_MAX:
            raise _TooDeep(place)
        path: Path = ()
        if self._awaits_key():
            # The key is a whole mapping or sequence: its parts are read away under a name that nobody asks for.
            self._wrong(place, "a key must be text")
            self.frames.append(_Frame(container, (*self.frames[-1].path, _NAMELESS)))
            return
        if self.frames:
            path = self._place_of_value(place)
            self._put(container)
        else:
            self.positions[()] = place
            self.root = container if self.documents == 1 else self.root
        self.frames.append(_Frame(container, path))

    def _end(self, event: yaml.Event, place: Position) -> None:
        ended = self.frames.pop()
        if self.frames and ended.path[-1] == _NAMELESS and self._awaits_key():
            self._key(_NAMELESS, place)

    def _value(self, value: Any, place: Position) -> None:
        if self.frames:
            self._place_of_value(place)
            self._put(value)
        elif self.documents == 1:
            self.positions[()] = place
            self.root = value

    def _awaits_key(self) -> bool:
        return bool(self.frames) and isinstance(self.frames[-1].container, dict) and self.frames[-1].key is None

    def _key(self, key: str, place: Position) -> None:
        frame = self.frames[-1]
        if isinstance(frame.container, dict) and key in frame.container:
            first = self.positions[(*frame.path, key)]
            self._wrong(place, f"the key {key!r} is repeated; it stands in line {first.line} already")
            frame.drop = True
        frame.drop = frame.drop or key == _NAMELESS
        frame.key, frame.key_place = key, place

    def _place_of_value(self, place: Position) -> Path:
        frame = self.frames[-1]
        if isinstance(frame.container, dict):
            path: Path = (*frame.path, frame.key or "", *([_NAMELESS] if frame.drop else []))
            self.positions[path] = frame.key_place or place
        else:
            path = (*frame.path, len(frame.container))
            self.positions[path] = place
        return path

    def _put(self, value: Any) -> None:
        frame = self.frames[-1]
        if isinstance(frame.container, dict):
            if not frame.drop:
                frame.container[frame.key or ""] = value
            frame.key, frame.key_place, frame.drop = None, None, False
        else:
            frame.container.append(value)

    def _plain_node(self, event: Any, place: Position) -> None:
        if event.anchor is not None:
            self._wrong(place, f"an anchor is not read here: remove &{event.anchor}")
        if event.tag is not None:
            self._wrong(place, f"a tag is not read here: remove {event.tag}")

    def _wrong(self, place: Position, message: str) -> None:
        self.problems.append(Problem(self.file, *place, message))


def resolve(text: str) -> tuple[str | int | float | bool | None, str | None]:
    """What a plain scalar means, and a complaint where readers of YAML differ about it."""
    if text in _NULLS:
        return None, None
    if text in _TRUE_FALSE:
        return _TRUE_FALSE[text], None
    if _INTEGER.fullmatch(text):
        return int(text), None
    if _FLOAT.fullmatch(text):
        return float(text), None
    for pattern, complaint in _SURPRISES:
        if pattern.fullmatch(text):
            return text, complaint
    return text, None
