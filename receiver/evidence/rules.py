"""An alert's rule as Prometheus has it, and when the alert fired within the last day. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from receiver.evidence.grid import GRID_POINTS, Grid, Row
from receiver.evidence.promql import matchers

HISTORY_SECONDS = 86_400


def rules_of(data: Any) -> list[Mapping[str, Any]]:
    """The alerting rules in the `data` of /api/v1/rules; what is not in its form is left out."""
    groups = data.get("groups") if isinstance(data, dict) else None
    found: list[Mapping[str, Any]] = []
    for group in groups if isinstance(groups, list) else ():
        rules = group.get("rules") if isinstance(group, dict) else None
        found += [rule for rule in rules or () if isinstance(rule, dict) and rule.get("type") == "alerting"]
    return found


def history_query(name: str) -> str:
    """How often the alert was seen firing in the part of the day before each point."""
    chosen = matchers({"alertname": name, "alertstate": "firing"})
    return f"sum(count_over_time(ALERTS{{{chosen}}}[{HISTORY_SECONDS // GRID_POINTS}s]))"


def fired(rows: Sequence[Row], grid: Grid) -> dict[str, str]:
    """In how many parts of the last day it fired at all, and when first and last; {} where it did not."""
    places = [place for row in rows[:1] for place, text in enumerate(row.texts) if text]
    if not places:
        return {}
    return {
        "parts_of_the_last_day": str(grid.points),
        "minutes_of_a_part": str(grid.step_seconds // 60),
        "parts_in_which_it_fired": str(len(places)),
        "fired_first": grid.at(places[0]).isoformat(timespec="seconds"),
        "fired_last": grid.at(places[-1]).isoformat(timespec="seconds"),
    }
