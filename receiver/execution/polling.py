"""Where a result is asked for, and what an answer says there. Pure.

The address is filled in two steps: with what is known when people are asked, which they authorize, and with fields of
the executor's answer, which is data like any other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from receiver.filling import BadValue, Escape, Values, checked, in_path, in_query
from receiver.placeholders import Address, Placeholder, Template

_STEP = re.compile(r"([A-Za-z0-9_-]+)(?:\[([A-Za-z0-9_-]+)=([A-Za-z0-9_. -]+)\])?")
_DOTS = re.compile(r"/(?:\.|%2e){1,2}(?:/|$)", re.I)


def partly(address: Address, values: Values) -> list[Any]:
    """The address as texts and, where a field of the answer belongs, {"answer": PATH, "in": "path" or "query"}.

    Raises BadValue, KeyError on an unknown name.
    """
    parts: list[Any] = [address.origin]
    for segment in address.segments:
        parts += ["/", *_filled(segment, values, in_path, "path")]
    for number, (name, value) in enumerate(address.query):
        parts += ["&" if number else "?", f"{name}=", *_filled(value, values, in_query, "query")]
    joined: list[Any] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return joined


def _filled(template: Template, values: Values, escape: Escape, place: str) -> list[Any]:
    found: list[Any] = []
    for part in template.parts:
        if isinstance(part, str):
            found.append(part)
        elif part.answer:
            found.append({"answer": ".".join(part.answer), "in": place})
        else:
            found.append(escape(part, checked(part, values[part.name])))
    return found


def complete(parts: Sequence[Any], answer: Any) -> str:
    """The whole address, with the fields of a JSON answer. Raises BadValue."""
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        path = str(part["answer"])
        value = word_at(answer, path)
        if value is None:
            raise BadValue(f"the answer has no {path}")
        place = Placeholder(f"answer.{path}")
        text += (in_path if part["in"] == "path" else in_query)(place, checked(place, value))
    if _DOTS.search(text.partition("?")[0]):
        raise BadValue("the address to ask at would climb out of its folder")
    return text


def word_at(answer: Any, path: str) -> str | None:
    """The text, number or truth value at `path` of a JSON document, as JSON writes it; None where there is none.

    A step is a key, an index of a list, or KEY[NAME=VALUE]: of the list at KEY the first object whose NAME is VALUE.
    """
    found = answer
    for step in path.split("."):
        found = _step(found, step)
    if isinstance(found, bool):
        return "true" if found else "false"
    return str(found) if isinstance(found, str | int | float) else None


def _step(found: Any, step: str) -> Any:
    if isinstance(found, list):
        return found[int(step)] if step.isascii() and step.isdigit() and int(step) < len(found) else None
    match = _STEP.fullmatch(step)
    if match is None or not isinstance(found, Mapping):
        return None
    found = found.get(match[1])
    if match[2] is None:
        return found
    rows = found if isinstance(found, list) else []
    return next((row for row in rows if isinstance(row, Mapping) and str(row.get(match[2])) == match[3]), None)
