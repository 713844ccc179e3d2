"""Every field of a book, in its order and with what is shared, as a value that can be compared with another's.

Books have no equality of their own, and the bytes of two pickles differ where the books do not: by whether two equal
texts are one object. Here a record, list, dictionary or set that is met again is said to be the one met before.
"""

from __future__ import annotations

from collections import deque
from dataclasses import fields, is_dataclass
from datetime import date, datetime, timedelta
from typing import Any

from receiver.incident.book import Book
from receiver.incident.outbox import Outbox

PLAIN = (str, int, bytes, datetime, date, timedelta, type(None))


def dumped(book: Book) -> dict[str, Any]:
    """By the name of each field of the book."""
    met: dict[int, int] = {}
    # Whoever looks at a person's outbox makes an empty one, which is as good as none.
    outboxes = {person: box for person, box in sorted(book.outboxes.items()) if box != Outbox()}
    return {name: _dumped(value, met) for name, value in (vars(book) | {"outboxes": outboxes}).items()}


def _dumped(value: Any, met: dict[int, int]) -> Any:
    name = type(value).__name__
    if isinstance(value, PLAIN):
        return (name, value) if isinstance(value, bool) else value
    if isinstance(value, tuple):
        return (name, *(_dumped(item, met) for item in value))
    if isinstance(value, frozenset):
        return (name, *sorted(value))
    if id(value) in met:
        return ("met before", met[id(value)])
    met[id(value)] = len(met)
    if isinstance(value, dict):
        return (name, *((_dumped(key, met), _dumped(item, met)) for key, item in value.items()))
    if isinstance(value, set):
        return (name, *sorted(value))
    if isinstance(value, list):
        return (name, *(_dumped(item, met) for item in value))
    if isinstance(value, deque):
        return (name, value.maxlen, *(_dumped(item, met) for item in value))
    if is_dataclass(value):
        return (name, *((one.name, _dumped(getattr(value, one.name), met)) for one in fields(value)))
    raise TypeError(f"{name} stands in no book that is known here")


def differing(one: Book, other: Book) -> list[str]:
    """The fields by which two books differ."""
    before, after = dumped(one), dumped(other)
    return [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
