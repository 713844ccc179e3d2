"""What was looked up for a diagnosis, as the entries say of themselves: rows for a page. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ledger.entry import Entry


def moved(entry: Entry) -> list[Mapping[str, Any]]:
    """What moved first, of a CONSULTED: rows with what, before, now, z and moved_at."""
    return [row for row in _rows(entry, "moved") if isinstance(row, Mapping)]


def looked_up(entry: Entry) -> list[Mapping[str, Any]]:
    """What Claude asked for itself, of a DIAGNOSED or UNDIAGNOSED: rows with ref, what and now."""
    rows = entry.body.get("asked")
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def left_out(entry: Entry) -> list[str]:
    """What its case file does not hold, one sentence each."""
    return [text for text in _rows(entry, "cut") if isinstance(text, str)]


def _rows(entry: Entry, name: str) -> list[Any]:
    rows = case_of(entry).get(name)
    return rows if isinstance(rows, list) else []


def case_of(entry: Entry | None) -> Mapping[str, Any]:
    case = entry.body.get("case") if entry is not None else None
    return case if isinstance(case, Mapping) else {}
