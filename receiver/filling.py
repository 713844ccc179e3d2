"""Templates filled with values that are data, each escaped for its place. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote

from receiver.placeholders import Address, Placeholder, Template, is_dots

VALUE_CHARACTERS_MAX = 1_000
HEADER_CHARACTERS_MAX = 200
NUMBER_CHARACTERS_MAX = 30
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,2})?")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
Values = Mapping[str, str]
Escape = Callable[[Placeholder, str], str]


class BadValue(ValueError):
    """A value that may not stand in its place; the message names the placeholder and says why."""


def fill(template: Template, values: Values, escape: Escape) -> str:
    """The text. A value is data: braces in it are never expanded. Raises BadValue, KeyError on an unknown name."""
    return "".join(
        part if isinstance(part, str) else escape(part, checked(part, values[part.name])) for part in template.parts
    )


def checked(place: Placeholder, value: str) -> str:
    """`value`, if it may stand anywhere at all. Raises BadValue."""
    if len(value) > VALUE_CHARACTERS_MAX:
        raise BadValue(f"{{{place.name}}} has {len(value)} characters; at most {VALUE_CHARACTERS_MAX} are taken")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise BadValue(f"{{{place.name}}} holds half of a character")
    return value


def in_path(place: Placeholder, value: str) -> str:
    """Every character but the unreserved ones is percent-encoded (RFC 3986, 2.3). Raises BadValue."""
    if _CONTROL.search(value):
        raise BadValue(f"{{{place.name}}} holds a control character, which a path does not take")
    if value in ("", ".", ".."):
        raise BadValue(f"{{{place.name}}} is {value[:60]!r}, which is no segment of a path")
    return quote(value, safe="")


def in_query(place: Placeholder, value: str) -> str:
    """Percent-encoded, spaces too: what reads a query or a form reads the same value. Never raises."""
    return quote(value, safe="")


def in_header(place: Placeholder, value: str) -> str:
    """Visible ASCII only. Raises BadValue."""
    if len(value) > HEADER_CHARACTERS_MAX or not value or not all("!" <= character <= "~" for character in value):
        raise BadValue(f"{{{place.name}}} in a header is 1 to {HEADER_CHARACTERS_MAX} characters of visible ASCII")
    return value


def fill_segment(segment: Template, values: Values) -> str:
    """One segment of a path. Raises BadValue, also where what stands beside each other makes . or .."""
    text = fill(segment, values, in_path)
    if is_dots(text):
        raise BadValue(f"{text!r} is no segment of a path")
    return text


def fill_pairs(pairs: Iterable[tuple[str, Template]], values: Values) -> list[tuple[str, str]]:
    """Names and values of a query or a form, filled and not yet encoded. Raises BadValue."""
    return [(name, fill(value, values, as_it_is)) for name, value in pairs]


def as_it_is(place: Placeholder, value: str) -> str:
    """For a place whose whole text is encoded afterwards."""
    return value


def fill_address(address: Address, values: Values) -> str:
    """The whole URL. Raises BadValue."""
    path = "".join(f"/{fill_segment(segment, values)}" for segment in address.segments)
    query = "&".join(f"{name}={fill(value, values, in_query)}" for name, value in address.query)
    return address.origin + path + (f"?{query}" if query else "")


def fill_json(value: Any, values: Values) -> Any:
    """What `parse_json` read, with its texts filled and its numbers made. Raises BadValue."""
    if isinstance(value, dict):
        return {key: fill_json(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [fill_json(item, values) for item in value]
    if not isinstance(value, Template):
        return value
    first = value.parts[0] if value.parts else ""
    if isinstance(first, Placeholder) and first.number:
        return _number(first, checked(first, values[first.name]))
    return fill(value, values, as_it_is)


def _number(place: Placeholder, value: str) -> int | float:
    if len(value) > NUMBER_CHARACTERS_MAX or not _NUMBER.fullmatch(value):
        raise BadValue(f"{{{place.name}:number}} is {value[:40]!r}, which is no number")
    number: int | float = json.loads(value)
    return number
