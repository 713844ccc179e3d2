"""A verdict that comes out otherwise, and the comparison of two verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any


@dataclass(frozen=True, slots=True)
class Difference:
    """recorded: what the entry says. replayed: what policy says. comparison: the one that decided, in words."""

    index: int
    stage: str
    recorded: str
    replayed: str
    comparison: str

    def __str__(self) -> str:
        verdicts = f"recorded {self.recorded}, decided again {self.replayed}"
        return f"entry {self.index}: {self.stage}: {verdicts}: {self.comparison}"

    def to_json(self) -> dict[str, Any]:
        return {
            "index": self.index,
            "stage": self.stage,
            "recorded": self.recorded,
            "replayed": self.replayed,
            "comparison": self.comparison,
        }


def unlike(recorded: object, replayed: Mapping[str, Any], but: Sequence[str] = ("basis",)) -> str | None:
    """The first thing in which a recorded verdict differs from the replayed one, in words; None where none does."""
    if not isinstance(recorded, Mapping):
        return "it carries no verdict"
    for name, ours in replayed.items():
        theirs = recorded.get(name)
        if theirs == ours or name in but:
            continue
        if name == "findings" and isinstance(theirs, list):
            pair = next(pair for pair in zip_longest(theirs, ours) if pair[0] != pair[1])
            return f"recorded {_comparison(pair[0])}, decided again {_comparison(pair[1])}"
        return f"{name} was recorded as {theirs!r:.200}, and is {ours!r:.200}"
    return None


def _comparison(row: object) -> str:
    if not isinstance(row, Mapping):
        return "nothing"
    value = "unknown" if row.get("value") is None else row.get("value")
    held = {"True": "holds", "False": "does not hold"}.get(str(row.get("holds")), "cannot be told")
    detail = f" ({row['detail']})" if row.get("detail") else ""
    return f"{row.get('name')} {value} {row.get('operator')} {row.get('threshold')} {held}{detail}"
