"""Deploys, as a query of the configuration shows them: a value that changed, or a series that began. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from receiver.evidence.grid import Grid, Row
from receiver.papers import Exhibit

CHANGES_MAX = 3  # of one series in a window; what changes more often marks nothing


def changes(promql: str, rows: Sequence[Row], grid: Grid) -> list[Exhibit]:
    """One exhibit for each change; none for what was there at the beginning and stayed."""
    return [exhibit for row in rows for exhibit in _of(promql, row, grid)]


def _of(promql: str, row: Row, grid: Grid) -> Iterator[Exhibit]:
    known = [(place, text) for place, text in enumerate(row.texts) if text]
    changed = [(place, a, b) for (_, a), (place, b) in pairwise(known) if a != b]
    if known and known[0][0] > 0:
        changed.insert(0, (known[0][0], "", known[0][1]))
    for place, before, after in changed if len(changed) <= CHANGES_MAX else ():
        values = {"at": grid.at(place).isoformat(timespec="seconds"), "before": before or "absent", "now": after}
        title = f"a change: {row.labels.get('__name__', 'by the configured query')}"
        labels = {name: value for name, value in row.labels.items() if name != "__name__"}
        yield Exhibit("", title, promql, grid.end, values, kind="deploy", labels=labels)
