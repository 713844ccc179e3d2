"""One number and one exhibit: is the number, as it is written, true of what was measured? Pure."""

from __future__ import annotations

from decimal import Decimal

from receiver.diagnosis.clauses import Clause, paired, way
from receiver.diagnosis.facts import Facts, stem
from receiver.diagnosis.quantities import Token
from receiver.diagnosis.units import BARE, COUNT, RATIO, TIMESTAMP, Unit
from receiver.diagnosis.words import BAD, CHANGES, GONE, GOOD, LEFT

OFF_MAX = Decimal("0.06")  # how far a rounded number may be from the measured one, as a share of it
REST_OFF_MAX = Decimal("0.1")  # and how far off what it leaves of the whole: 99.9% is no rounding of 99.4%
BOUND_OFF_MAX = Decimal("0.25")  # "below 5,521" says nothing of 12: a bound has to be near what it bounds
PART_OFF_MAX = Decimal("0.025")  # of a half, a third, twice as much; and twice that where it is said to be about


def true_of(one: Facts, clause: Clause, place: int) -> bool:
    """Whether the number at `place` is true of the exhibit, in the way in which the clause speaks of it."""
    token = clause.tokens[place]
    if "now" not in one.values or one.unit == TIMESTAMP or not _goes_that_way(one, clause, place):
        return False
    if token.kind == "times":
        return _times(one, clause, place)
    if token.kind == "part" or token.whole is not None:
        return _part(one, clause, place)
    if clause.before(place) == "by":
        return _changed(one, clause, place)
    derived = _derived(one, clause, place)
    if derived is not None:
        return agrees(token, token.unit if token.unit != BARE else one.unit, derived, clause.about(place))
    unit, how = _unit(one, clause, token), way(clause, place)
    targets = [_as_told(one, clause, value) for value in _values(one, clause, place, how)]
    return unit is not None and any(_compared(token, unit, target, how, clause.about(place)) for target in targets)


def agrees(token: Token, unit: Unit, target: Decimal, about: bool) -> bool:
    """Whether a written number is an honest rounding of `target`, which is in the dimension's own unit."""
    written, half = token.value * unit.factor, token.half * unit.factor
    if written == target:
        return True
    if not written or not target or (written < 0) != (target < 0):
        return False
    if about and token.value == token.value.to_integral_value():
        half = max(half, Decimal(5).scaleb(int(token.value.normalize().as_tuple().exponent) - 1) * unit.factor)
    off, rest = abs(written - target), 1 - target
    if off > half or off > OFF_MAX * abs(target):
        return False
    near_all = unit.dimension == "ratio" and 0 <= rest < Decimal("0.5")
    return not near_all or (written < 1 and off <= REST_OFF_MAX * rest)


def _compared(token: Token, unit: Unit, target: Decimal, how: str, about: bool) -> bool:
    if how:
        return _bounds(token.value * unit.factor, target, how)
    return agrees(token, unit, target, about)


def _unit(one: Facts, clause: Clause, token: Token) -> Unit | None:
    """What the number is written in, or None where the exhibit cannot be told in that."""
    if token.unit != BARE:
        return token.unit if token.unit.dimension == one.unit.dimension else None
    if one.unit.dimension == "ratio" and clause.has("ratio", "share"):
        return RATIO
    counts = one.unit.dimension in ("", "count", "cores") or one.unit.dimension.endswith("1/s")
    if token.counted and not counts and stem(token.counted) not in one.words:
        return None
    return one.unit


def _values(one: Facts, clause: Clause, place: int, how: str) -> list[Decimal]:
    """The value that a number at `place` speaks of; none where the exhibit has no such."""
    role = {"never above": "max", "never below": "min"}.get(how) or paired(clause, place) or clause.role(place) or "now"
    if role == "mean" and one.title_has("mean", "average", "avg"):
        role = "now"
    if role in ("best", "worst"):
        role = "max" if (role == "best") == (not one.title_has(*BAD)) else "min"
    found = one.start if role == "start" else one.values.get(role)
    return [] if found is None else [found]


def _as_told(one: Facts, clause: Clause, value: Decimal) -> Decimal:
    """A value in its dimension's own unit; what is left of the whole where the clause speaks of that."""
    told = value * one.unit.factor
    if one.unit.dimension != "ratio" or one.title_has(*CHANGES):
        return told
    good, bad = clause.has(*GOOD) and not clause.has(*BAD), clause.has(*BAD) and not clause.has(*GOOD)
    left = LEFT.intersection(clause.words) and not one.title_has(*LEFT)
    turned = (one.title_has(*GOOD) and bad) or (one.title_has(*BAD) and good) or left
    return 1 - told if turned else told


def _derived(one: Facts, clause: Clause, place: int) -> Decimal | None:
    """What is gone, or more, since the start, in the dimension's own unit; None where the clause speaks of no such."""
    if one.start is None:
        return None
    less = (one.start - one.values["now"]) * one.unit.factor
    if GONE.intersection(clause.words):
        return less
    following = clause.words[place + 1 :]
    if following[:1] in (["more"], ["fewer"], ["less"]) and {"than", "start"} <= set(following):
        return -less if following[0] == "more" else less
    return None


def _changed(one: Facts, clause: Clause, place: int) -> bool:
    """ "fell by 24.7 points", "rose by 50%", "grows by 45 a second"; "lags by 12" is no change, but what it is."""
    token, about, now = clause.tokens[place], clause.about(place), one.values["now"]
    sign, start = -1 if clause.falls else 1, one.start
    if clause.falls and clause.rises:
        return False
    moves = (clause.falls or clause.rises) and not one.title_has(*CHANGES)
    if moves and start is None:
        return False
    if moves and start is not None and token.unit.dimension == "ratio" and token.counted != "points":
        return start != 0 and agrees(token, token.unit, sign * (now - start) / abs(start), about)
    unit = _unit(one, clause, token)
    change = now - start if moves and start is not None else now
    return unit is not None and agrees(token, unit, sign * change * one.unit.factor, about)


def _times(one: Facts, clause: Clause, place: int) -> bool:
    """ "doubled", "fourfold", "seven times that of the start"."""
    if not one.start or one.values["now"] / one.start < 0:
        return False
    return _near(clause.tokens[place].value, one.values["now"] / one.start, way(clause, place), clause.about(place))


def _part(one: Facts, clause: Clause, place: int) -> bool:
    """ "half", "22 of 100", "one of three": of a ratio what it is, of another number what is left of the start."""
    token, how, about = clause.tokens[place], way(clause, place), clause.about(place)
    if one.unit.dimension == "ratio":
        targets = [_as_told(one, clause, value) for value in _values(one, clause, place, how)]
    elif token.whole is not None and one.unit in (COUNT, BARE):
        return (token.value, token.whole) == (one.values["now"], one.start)
    else:
        targets = [one.values["now"] / one.start] if one.start else []
    if token.whole is None:
        return any(_near(token.value, target, how, about) for target in targets)
    return any(agrees(token, Unit("ratio", 1 / token.whole), target, about) for target in targets)


def _near(said: Decimal, target: Decimal, how: str, about: bool) -> bool:
    if how:
        return _bounds(said, target, how)
    return abs(said - target) <= PART_OFF_MAX * (2 if about else 1) * abs(target)


def _bounds(said: Decimal, target: Decimal, how: str) -> bool:
    """how: above or below, or never so."""
    if abs(said - target) > BOUND_OFF_MAX * abs(target):
        return False
    over = target > said
    return {"above": over, "below": target < said, "never above": not over, "never below": target >= said}[how]


def _goes_that_way(one: Facts, clause: Clause, place: int) -> bool:
    """Whether "rose to B", "fell from A" goes the way in which the exhibit went."""
    start, now = one.start, one.values["now"]
    if clause.rises == clause.falls or start is None or one.title_has(*CHANGES):
        return True
    role = clause.role(place)
    end = one.values.get(role, now) if role in ("max", "min") else now
    return end > start if clause.rises else end < start
