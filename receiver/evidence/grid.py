"""The points of a range query, on one grid for all series. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from receiver.evidence.moving import number

GRID_POINTS = 60
TEXT_CHARACTERS_MAX = 40  # of a sample; Prometheus writes at most 24


@dataclass(frozen=True, slots=True)
class Grid:
    """`points` places, `step_seconds` apart, the last of them at `end` (whole seconds)."""

    end: datetime
    step_seconds: int
    points: int = GRID_POINTS

    @classmethod
    def before(cls, end: datetime, seconds: int, points: int = GRID_POINTS) -> Grid:
        """The last `seconds` before `end`, in at most `points` places."""
        step = max(1, -(-seconds // points))
        return cls(end.replace(microsecond=0), step, min(points, max(1, seconds // step)))

    @property
    def since(self) -> datetime:
        return self.at(0)

    def at(self, place: int) -> datetime:
        return self.end - timedelta(seconds=(self.points - 1 - place) * self.step_seconds)

    def form(self) -> dict[str, str]:
        return {
            "start": str(int(self.since.timestamp())),
            "end": str(int(self.end.timestamp())),
            "step": str(self.step_seconds),
        }


@dataclass(frozen=True, slots=True)
class Row:
    """One series of an answer: its labels, and the text of each sample; "" where there is none."""

    labels: Mapping[str, str]
    texts: tuple[str, ...]

    def numbers(self) -> list[float | None]:
        return [number(text) for text in self.texts]


def read_rows(data: Any, grid: Grid) -> list[Row]:
    """The rows of a "matrix" or a "vector"; what is not in their form is left out."""
    result = data.get("result") if isinstance(data, dict) else None
    rows = [row for row in result if isinstance(row, dict)] if isinstance(result, list) else []
    first, found = int(grid.since.timestamp()), []
    for row in rows:
        metric, texts = row.get("metric"), [""] * grid.points
        pairs = row.get("values", [row.get("value")])
        for pair in pairs if isinstance(pairs, list) else ():
            place = _place(pair, first, grid)
            if place is not None:
                texts[place] = str(pair[1])[:TEXT_CHARACTERS_MAX]
        if isinstance(metric, dict):
            found.append(Row({str(name): str(value) for name, value in metric.items()}, tuple(texts)))
    return found


def _place(pair: Any, first: int, grid: Grid) -> int | None:
    if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], int | float):
        return None
    place = round((pair[0] - first) / grid.step_seconds)
    return place if 0 <= place < grid.points else None


def moment(seconds: float) -> datetime | None:
    """A Unix time as Prometheus gives it; None for what is none."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
