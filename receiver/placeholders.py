"""Templates with typed {placeholders}: read once, filled with values that are data, each escaped for its place.

A placeholder may stand in a path, in the value of a query, of a form, of a header, and in a text of a JSON body. It is
`{name}`; in a JSON body also `{name:number}`, alone in its text; in an address that is asked for a result also
`{answer.PATH}`, a field of the executor's JSON answer. `{{` and `}}` are braces.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

OWN_NAMES = frozenset({"id", "incident", "action", "tenant", "proposed_at", "callback_url"})
TEMPLATE_CHARACTERS_MAX = 4_000
DEPTH_MAX = 16  # of a JSON body
# `{authorized_at}` cannot be: it would be filled after people had answered.
_LATE = {"authorized_at": "what is sent is fixed when people are asked: use {proposed_at}"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_ANSWER = re.compile(r"answer((?:\.[A-Za-z0-9_-]{1,64}){1,8})")
_PIECES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_ORIGIN = re.compile(
    r"(https?)://((?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\.?)|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?"
)
_NUMERIC = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")  # a last label that makes a resolver read an address
_URL_TEXT = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*")


class BadTemplate(ValueError):
    """A template that cannot be used; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One `{name}`. answer: the keys that lead to a field of an answer; empty for a value of our own."""

    name: str
    number: bool = False
    answer: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Template:
    """Text and placeholders in turn."""

    parts: tuple[str | Placeholder, ...]

    def places(self) -> Iterator[Placeholder]:
        return (part for part in self.parts if isinstance(part, Placeholder))


@dataclass(frozen=True, slots=True)
class Address:
    """An http or https URL. Origin and keys are fixed; each segment of the path and each value is a template."""

    origin: str
    segments: tuple[Template, ...]
    query: tuple[tuple[str, Template], ...] = ()

    @property
    def host(self) -> str:
        return self.origin.partition("://")[2]

    def templates(self) -> Iterator[Template]:
        yield from self.segments
        yield from (value for _, value in self.query)


# --- reading ---------------------------------------------------------------------------------------------------------


def parse(text: str, *, number: bool = False, answer: bool = False) -> Template:
    """Read a template. number, answer: whether these kinds of placeholder may stand in it. Raises BadTemplate."""
    if len(text) > TEMPLATE_CHARACTERS_MAX:
        raise BadTemplate(f"it has {len(text)} characters; at most {TEMPLATE_CHARACTERS_MAX} are taken")
    parts: list[str | Placeholder] = []
    at = 0
    for piece in _PIECES.finditer(text):
        _add(parts, text[at : piece.start()])
        at = piece.end()
        if piece[0] in ("{{", "}}"):
            _add(parts, piece[0][0])
        elif piece[1] is None:
            raise BadTemplate(f"a single {piece[0]} at character {piece.start() + 1}: write {piece[0] * 2} for a brace")
        else:
            parts.append(_placeholder(piece[1], number, answer))
    _add(parts, text[at:])
    if any(place.number for place in Template(tuple(parts)).places()) and len(parts) > 1:
        raise BadTemplate("a number stands alone in its text")
    return Template(tuple(parts))


def _add(parts: list[str | Placeholder], text: str) -> None:
    if text and parts and isinstance(parts[-1], str):
        parts[-1] += text
    elif text:
        parts.append(text)


def _placeholder(inner: str, number: bool, answer: bool) -> Placeholder:
    field = _ANSWER.fullmatch(inner)
    if field is not None:
        if not answer:
            raise BadTemplate(f"{{{inner}}}: an answer is known only in result.url")
        return Placeholder(inner, answer=tuple(field[1][1:].split(".")))
    name, colon, kind = inner.partition(":")
    if not _NAME.fullmatch(name) or (colon and kind != "number"):
        raise BadTemplate(f"{{{inner[:60]}}} is no placeholder: {{name}}, or {{name:number}} in JSON")
    if colon and not number:
        raise BadTemplate(f"{{{inner}}}: a number stands in a JSON body only")
    if name in _LATE:
        raise BadTemplate(f"{{{name}}}: {_LATE[name]}")
    return Placeholder(name, number=bool(colon))


def literal(text: str) -> str:
    """A text that takes no placeholder: a key, a name, an origin. Raises BadTemplate where one stands in it."""
    found = parse(text, number=True, answer=True)
    if any(found.places()):
        raise BadTemplate(f"{text[:80]!r}: no placeholder may stand here")
    return "".join(part for part in found.parts if isinstance(part, str))


def parse_address(text: str, *, query: bool = False, answer: bool = False) -> Address:
    """Read a URL. query: whether one may stand in it. Raises BadTemplate."""
    before, mark, after = text.partition("?")
    if "#" in text:
        raise BadTemplate("a fragment is never sent: leave out # and what follows")
    if mark and not query:
        raise BadTemplate("give the query under `query`")
    scheme, separator, rest = before.partition("://")
    authority, slash, path = rest.partition("/")
    origin = f"{scheme}{separator}{authority}"
    if "{" in origin or "}" in origin:
        raise BadTemplate("no placeholder may stand in scheme, user, host or port")
    found = _ORIGIN.fullmatch(origin)
    if found is None or (found[3] is not None and not 0 < int(found[3]) <= 65_535):
        raise BadTemplate(f"{origin[:100]!r} is not http:// or https:// with a host, and no user or password")
    if not _is_host(found[2]):
        raise BadTemplate(
            f"{found[2][:100]!r} looks like an address and is none: write it as 203.0.113.7 or [2001:db8::7]"
        )
    segments = tuple(_segment(segment, answer) for segment in path.split("/")) if slash or mark else ()
    pairs = [pair.partition("=") for pair in after.split("&")] if mark else []
    return Address(origin, segments, tuple((_written(literal(n)), _value(v, answer)) for n, _, v in pairs))


def _is_host(host: str) -> bool:
    """Whether a host is an address as everybody writes it, or a name that nobody reads as an address."""
    try:
        if host.startswith("["):
            ipaddress.IPv6Address(host[1:-1])
        elif _NUMERIC.fullmatch(host.rstrip(".").rpartition(".")[2]):
            ipaddress.IPv4Address(host)  # 2852039166, 0xA9FEA9FE and 0251.0376.1.1 are addresses to a resolver
    except ValueError:
        return False
    return True


def _written(text: str) -> str:
    """Text of an address, which is sent as it is written."""
    if not _URL_TEXT.fullmatch(text):
        raise BadTemplate(f"{text[:80]!r}: percent-encode what is no character of an address")
    return text


def _value(text: str, answer: bool) -> Template:
    value = parse(text, answer=answer)
    for part in value.parts:
        if isinstance(part, str):
            _written(part)
    return value


def _segment(text: str, answer: bool) -> Template:
    segment = _value(text, answer)
    if not any(segment.places()) and is_dots("".join(map(str, segment.parts))):
        raise BadTemplate("a path has no . and .. segments")
    return segment


def is_dots(segment: str) -> bool:
    """Whether a segment of a path climbs or vanishes."""
    return re.sub("%2e", ".", segment, flags=re.I) in (".", "..")


def parse_json(value: Any, depth: int = 0) -> Any:
    """A JSON body whose texts become templates; keys stay as they are. Raises BadTemplate."""
    if depth > DEPTH_MAX:
        raise BadTemplate(f"nested deeper than {DEPTH_MAX}")
    if isinstance(value, Mapping):
        return {literal(str(key)): parse_json(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [parse_json(item, depth + 1) for item in value]
    return parse(value, number=True) if isinstance(value, str) else value


def templates_in(value: Any) -> Iterator[Template]:
    """Every template of what `parse_json` returned."""
    if isinstance(value, Template):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from templates_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from templates_in(item)
