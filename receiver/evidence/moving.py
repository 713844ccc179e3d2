"""How far and when a series moved: robust statistics over one grid of points. Pure.

A grid has one place for each step of time, oldest first; None where there is no sample. Medians are used where means
are usual, so that one wild sample neither hides a move nor makes one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Points = Sequence[float | None]

DEVIATION = 1.4826  # a median absolute deviation times this is the standard deviation of a normal distribution
CERTAIN_Z = 6.0  # from here on a move is no noise
Z_MAX = 100.0
SCALE_SHARE_MIN = 0.02  # of the level: what moves by less is constant
KNOWN_MIN = 8  # with fewer points of its quiet time nothing can be said of a series
REACH = 3.3  # standard deviations between the second least and the second greatest of some twenty values
RISES_SHARE = 0.25  # of its way that a series made in the second half of its time
STAYS = 3  # points in a row that make a move; a shorter one is a spike
COUNTER_ENDS = ("_total", "_count", "_sum", "_bucket")


@dataclass(frozen=True, slots=True)
class Move:
    """How a series went from its quiet time.

    before: its median then; after: the median of its last points. z: the difference in robust deviations, signed,
    within ±Z_MAX. moved_at: the place at which it left for good, None where it never did.
    """

    before: float
    after: float
    z: float
    moved_at: int | None


def is_counter(name: str) -> bool:
    """By the naming convention of Prometheus; a counter of another name is read as what it shows."""
    return name.endswith(COUNTER_ENDS)


def number(text: str) -> float | None:
    """A sample's text as a number; None for NaN, an infinity and what is no number."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def rates(points: Points, step_seconds: float, window: int) -> list[float | None]:
    """What a counter grew by, a second, over the `window` steps before each place.

    A fall is a reset: what the counter shows after it is what it grew by since. Samples that are missing are bridged;
    a place with fewer than two samples in its window is None.
    """
    found: list[float | None] = []
    for place in range(len(points)):
        known = [(at, p) for at in range(max(0, place - window), place + 1) if (p := points[at]) is not None]
        if len(known) < 2 or points[place] is None:
            found.append(None)
            continue
        grown = sum(b if b < a else b - a for (_, a), (_, b) in pairwise(known))
        found.append(grown / ((known[-1][0] - known[0][0]) * step_seconds))
    return found


def quotients(above: Points, below: Points) -> list[float | None]:
    """Place by place; None where either is missing or there is nothing to divide by."""
    return [a / b if a is not None and b else None for a, b in zip(above, below, strict=True)]


def median(values: Sequence[float]) -> float:
    """Of at least one value."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def spread(values: Sequence[float]) -> float:
    """The robust standard deviation: of more than half equal values it is 0."""
    middle = median(values)
    return DEVIATION * median([abs(value - middle) for value in values])


def reach(values: Sequence[float]) -> float:
    """The standard deviation by how far the values reach, all but the least and the greatest.

    Of a few whole numbers more than half may be equal, and their spread is 0 although they do vary.
    """
    ordered = sorted(values)
    return (ordered[-2] - ordered[1]) / REACH if len(ordered) > 3 else 0.0


def rises(points: Points, start: int, end: int) -> bool:
    """Whether what left at `start` was still on its way at `end`: a leak or a queue, and no step."""
    known = [p for p in points[start : end + 1] if p is not None]
    if len(known) < 2 * STAYS:
        return False
    parts = [median(known[:STAYS]), median(known[len(known) // 2 - 1 : len(known) // 2 + 2]), median(known[-STAYS:])]
    whole = parts[2] - parts[0]
    return whole != 0 and (parts[2] - parts[1]) / whole >= RISES_SHARE


def move(points: Points, quiet: Points, counted_seconds: float = 0.0) -> Move | None:
    """How the series went, against how it went in its `quiet` time; None where too little is known of it.

    The scale is what the series did by itself in its quiet time: its noise, and how far it drifted, so that what always
    drifts does not count as moving. counted_seconds: where the points are events a second, over how long each was
    counted; a few events more or less are then no move either.
    """
    calm = [p for p in quiet if p is not None]
    later = [(place, p) for place, p in enumerate(points) if p is not None]
    if len(calm) < KNOWN_MIN or len(later) < STAYS:
        return None
    before = median(calm)
    # Of three points in a row: one wild sample is no move. The farthest such place tells how far it went.
    steady = [(later[at][0], median([p for _, p in later[at : at + STAYS]])) for at in range(len(later) - STAYS + 1)]
    _, after = max(steady, key=lambda one: abs(one[1] - before))
    half = len(calm) // 2
    drift = abs(median(calm[half:]) - median(calm[:half]))
    scale = max(spread(calm), reach(calm), drift, SCALE_SHARE_MIN * max(abs(before), abs(after)))
    if counted_seconds:
        scale = max(scale, math.sqrt(max(abs(before), abs(after)) / counted_seconds))
    if scale == 0:
        return Move(before, after, 0.0, None)
    z = max(-Z_MAX, min(Z_MAX, (after - before) / scale))
    return Move(before, after, z, _left(points, before, scale, after > before) if abs(z) >= CERTAIN_Z else None)


def _left(points: Points, before: float, scale: float, up: bool) -> int | None:
    """The first place from which on STAYS known points in a row lie beyond half of what is certain, to that side."""
    side = 1 if up else -1
    known = [(place, p) for place, p in enumerate(points) if p is not None]
    far = [(place, (p - before) * side > scale * CERTAIN_Z / 2) for place, p in known]
    for at in range(len(far) - STAYS + 1):
        if all(beyond for _, beyond in far[at : at + STAYS]):
            return far[at][0]
    return None
