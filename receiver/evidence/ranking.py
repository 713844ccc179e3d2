"""Which series moved first, and may so be the cause of an incident: ranked by statistics alone. Pure.

What counts, in this order: that a series moved at all, beyond its own noise; that it moved before the symptom or with
it, and not long before, unless it was still on its way; how far it moved; and how near it is to what broke. A symptom
is no candidate for its own cause, so what policy reads counts for less. Nothing is learnt, and no model is asked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from receiver.evidence.grid import Grid, Row
from receiver.evidence.measured import measured, short, unit_of
from receiver.evidence.moving import CERTAIN_Z, Move, is_counter, median, move, number, quotients, rates, rises
from receiver.evidence.promql import family
from receiver.papers import Exhibit

QUIET_SHARE = 0.4  # of the window: how a series goes when all is well
RATE_PLACES = 2  # steps over which a counter's growth is taken
MARK_Z = 20.0  # of what changes seldom and says much: a version, a start, an expiry
MARK_CHANGES_MAX = 3  # with more changes in a window it is no mark
EMPTY_SHARE = 0.02  # a stock that fell below this share of what it was is used up
LATE_SECONDS = 120.0  # so much after the symptom a move still counts as with it
LEAD_SECONDS = 900.0  # a cause leads by less than this, mostly
LATE_WEIGHT = 0.35
OVER_WEIGHT = 0.5
OVER_SECONDS = 300.0
OVER_SHARE = 0.25  # of its way, from where on a move counts as there
FAR_WEIGHT = 0.8  # of what is not the incident's own, but stands beside it or below it
SYMPTOM_WEIGHT = 0.5
SAME_METRIC_MAX = 2  # series of one metric among the first; the others come after
_MARK_ENDS = ("_start_time_seconds", "_timestamp_seconds", "_timestamp", "_generation", "_revision", "_created_at")


@dataclass(frozen=True, slots=True)
class Series:
    """One series as it was read. distance: see nearby.py. rated: it is no counter any more. of: of how many series."""

    row: Row
    query: str
    distance: int
    name: str
    rated: bool = False
    of: int = 0
    past: tuple[float | None, ...] = ()  # how it went in the hours before the window, for what moves slowly
    title: str = ""  # where it is not the name


@dataclass(frozen=True, slots=True)
class Candidate:
    """A series that moved. texts: as they are shown; moved_at: a place of the grid."""

    series: Series
    title: str
    unit: str
    texts: tuple[str, ...]
    move: Move
    marked: bool = False  # no quantity moved, but something happened
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class Symptom:
    """When what policy reads began to move, as a place of the grid; and which metrics it reads."""

    moved_at: int
    metrics: frozenset[str] = field(default_factory=frozenset)


def rank(found: Sequence[Series], grid: Grid, symptom: Symptom) -> list[Candidate]:
    """The candidates, the likeliest first; what did not move is none."""
    moved = [one for one in (candidate(series, grid) for series in _read(_once(found))) if one is not None]
    scored = [replace(one, score=score(one, grid, symptom)) for one in moved]
    scored.sort(key=lambda one: (-one.score, one.title, sorted(one.series.row.labels.items())))
    first: list[Candidate] = []
    later: list[Candidate] = []
    counts: dict[str, int] = {}
    for one in scored:
        counts[one.series.name] = counts.get(one.series.name, 0) + 1
        (first if counts[one.series.name] <= SAME_METRIC_MAX else later).append(one)
    return [*first, *later]


def score(one: Candidate, grid: Grid, symptom: Symptom) -> float:
    """How likely it is the cause, in no unit: its strength, by when it moved, by how near it is."""
    strength = math.log2(1 + abs(one.move.z) / CERTAIN_Z)
    lead = (symptom.moved_at - (one.move.moved_at or 0)) * grid.step_seconds
    timely = 1.0 if lead >= 0 else LATE_WEIGHT
    if -LATE_SECONDS <= lead < 0:
        timely = 1.0 - (1.0 - LATE_WEIGHT) * -lead / LATE_SECONDS
    elif lead > LEAD_SECONDS and not rises(
        [number(text) for text in one.texts], one.move.moved_at or 0, symptom.moved_at
    ):
        timely = LEAD_SECONDS / lead
    elif lead > 0:
        timely += 0.5 * min(1.0, lead / LATE_SECONDS)  # what moved first comes first
    if is_over(one, grid, symptom):
        timely *= OVER_WEIGHT
    own = SYMPTOM_WEIGHT if one.series.distance == 0 and family(one.series.name) in symptom.metrics else 1.0
    return strength * timely * own * FAR_WEIGHT**one.series.distance


def is_over(one: Candidate, grid: Grid, symptom: Symptom) -> bool:
    """Whether it was back to what it was some time before the symptom began: what is over causes nothing.

    What ended just then may be the cause all the same, as a process that is killed gives back what it leaked.
    """
    last = symptom.moved_at - round(OVER_SECONDS / grid.step_seconds)
    if one.marked or last <= (one.move.moved_at or 0):
        return False
    near = [value for text in one.texts[last - 1 : last + 2] if (value := number(text)) is not None]
    way = abs(one.move.after - one.move.before)
    return bool(near) and abs(median(near) - one.move.before) < OVER_SHARE * way


def candidate(series: Series, grid: Grid) -> Candidate | None:
    """The series as a candidate; None where it did not move."""
    numbers, quiet = series.row.numbers(), int(grid.points * QUIET_SHARE)
    title, unit, texts = series.title or series.name, unit_of(series.name), series.row.texts
    found = marked = mark(series, numbers, grid)
    if found is None and not series.rated and is_counter(series.name):
        whole = all(value is None or value == int(value) for value in numbers)
        numbers = rates(numbers, grid.step_seconds, RATE_PLACES)
        texts = tuple("" if value is None else short(value) for value in numbers)
        title, unit = f"{series.name} per second", f"{unit} per second".strip()
        counted = float(RATE_PLACES * grid.step_seconds) if whole and not unit.startswith(("seconds", "bytes")) else 0.0
        found = move(numbers, numbers[:quiet], counted)
    elif found is None:
        found = move(numbers, numbers[:quiet])
        if found is None or found.moved_at is None:
            found = move(numbers, series.past) or found
    if found is None or found.moved_at is None or abs(found.z) < CERTAIN_Z:
        return None
    if series.rated:
        unit = f"{unit} per second".strip() if is_counter(series.name) and not series.title else unit
    if series.of:
        title += f" ({series.of} series as one)"
    return Candidate(series, title, unit, texts, found, marked is not None)


def mark(series: Series, numbers: Sequence[float | None], grid: Grid) -> Move | None:
    """A move of what is no quantity: a version that came, a process that began anew, a time that passed, a stock that
    is used up.
    """
    name, known = series.name, [(place, value) for place, value in enumerate(numbers) if value is not None]
    if not known or is_counter(name):
        return None
    first_place, first = known[0]
    last_place, last = known[-1]
    if name.endswith("_info") and first_place > 0:
        return Move(0.0, last, MARK_Z, first_place)
    changes = [place for (_, a), (place, b) in pairwise(known) if a != b]
    if name.endswith(_MARK_ENDS) and 0 < len(changes) <= MARK_CHANGES_MAX:
        return Move(first, last, MARK_Z, changes[0])
    if not changes and grid.since.timestamp() < first < grid.end.timestamp():
        passed = next(place for place in range(grid.points) if grid.at(place).timestamp() >= first)
        return Move(first, first, MARK_Z, passed) if passed > first_place else None
    if first > 0 and last <= EMPTY_SHARE * first and last_place == grid.points - 1:
        used = next(place for place, value in known if value <= EMPTY_SHARE * first)
        return Move(first, last, -MARK_Z, used)
    return None


def exhibit(one: Candidate, grid: Grid) -> Exhibit:
    """A candidate as an exhibit, not numbered yet."""
    told = measured(one.title, one.series.query, one.texts, grid, kind="candidate")
    values = dict(told.values) | {"before": short(one.move.before), "z": short(round(one.move.z, 1))}
    if one.move.moved_at is not None:
        values["moved_at"] = grid.at(one.move.moved_at).isoformat(timespec="seconds")
    return replace(told, unit=one.unit, labels=dict(one.series.row.labels), values=values)


def _once(found: Sequence[Series]) -> list[Series]:
    """Each series once, as it was found nearest."""
    kept: dict[tuple[str, frozenset[tuple[str, str]]], Series] = {}
    for one in sorted(found, key=lambda one: one.distance):
        kept.setdefault((one.name, frozenset(one.row.labels.items())), one)
    return list(kept.values())


def _read(found: Sequence[Series]) -> list[Series]:
    """The series that say something: of a sum and its count the mean, beside the count by itself."""
    sums: dict[tuple[str, frozenset[tuple[str, str]]], Series] = {}
    for one in found:
        if one.name.endswith("_sum") and not one.rated:
            sums[one.name.removesuffix("_sum"), frozenset(one.row.labels.items())] = one
    means = []
    for one in found:
        total = sums.get((one.name.removesuffix("_count"), frozenset(one.row.labels.items())))
        if one.name.endswith("_count") and not one.rated and total is not None:
            means.append(_mean(total, one))
    return [*(one for one in found if not one.name.endswith("_sum") or one.rated), *means]


def _mean(total: Series, count: Series) -> Series:
    grown = rates(total.row.numbers(), 1.0, RATE_PLACES), rates(count.row.numbers(), 1.0, RATE_PLACES)
    texts = tuple("" if value is None else short(value) for value in quotients(*grown))
    labels: Mapping[str, str] = total.row.labels
    return replace(total, row=Row(labels, texts), rated=True, title=f"{total.name} / {count.name}")


def moved_at(texts: Sequence[str], grid: Grid) -> int | None:
    """When a symptom left its quiet time; None where it did not, or too little is known."""
    numbers = [number(text) for text in texts]
    found = move(numbers, numbers[: int(grid.points * QUIET_SHARE)])
    return found.moved_at if found is not None else None
