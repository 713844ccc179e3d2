"""What moved first, from what a CONSULTED says of its case file. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any


@dataclass(frozen=True, slots=True)
class Moved:
    """One candidate. change: "3 → 19", or empty. minutes: how long before the incident opened, where it is known."""

    what: str
    change: str
    minutes: int | None

    @property
    def named(self) -> str:
        return f"{self.what} {self.change}".strip()


def moves(case: Mapping[str, Any], opened_at: datetime, most: int) -> list[Moved]:
    """The first `most` candidates of a case, in order; what is not in their form is left out."""
    rows = case.get("moved")
    rows = [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, Sequence) else []
    return [
        Moved(
            str(row.get("what", "")),
            f"{row['before']} → {row['now']}" if "before" in row and "now" in row else "",
            _minutes(row.get("moved_at"), opened_at),
        )
        for row in rows[:most]
    ]


def moved_first(case: Mapping[str, Any], opened_at: datetime, most: int) -> str:
    """ "what moved first: pool_in_use 3 → 19, 7 min before; …"; empty where nothing was gathered."""
    if not case:
        return ""
    found = moves(case, opened_at, most)
    if not found:
        return "nothing was found that moved"
    return "what moved first: " + "; ".join(one.named + _when(one.minutes) for one in found)


def _when(minutes: int | None) -> str:
    if minutes is None:
        return ""
    return f", {abs(minutes)} min {'after' if minutes < 0 else 'before'}" if minutes else ", as it opened"


def _minutes(moved_at: object, opened_at: datetime) -> int | None:
    try:
        return round((opened_at - datetime.fromisoformat(str(moved_at))) / timedelta(minutes=1))
    except (ValueError, TypeError):  # TypeError: a time without a zone
        return None
