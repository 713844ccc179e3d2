"""Whether one condition can be true only where another is, told from their texts alone.

Sound, and not complete: True is a proof; False says that none was found.
"""

from __future__ import annotations

from decimal import Decimal

from policy_rules.numbers import compare
from policy_rules.rulebook import All, AnyOf, Condition, Term


def implies(one: Condition, other: Condition) -> bool:
    """Whether `other` is true whenever `one` is, of the same values; what is unknown is not true."""
    if one == other:
        return True
    if isinstance(one, AnyOf):
        return all(implies(part, other) for part in one.of)
    if isinstance(other, All):
        return all(implies(one, part) for part in other.of)
    if isinstance(one, All) and any(implies(part, other) for part in one.of):
        return True
    if isinstance(other, AnyOf):
        return any(implies(one, part) for part in other.of)
    return isinstance(one, Term) and isinstance(other, Term) and _stricter(one, other)


def _stricter(one: Term, other: Term) -> bool:
    if (one.name, one.parts) != (other.name, other.parts):
        return False
    mine, theirs = Decimal(one.threshold), Decimal(other.threshold)
    if one.operator == "==":
        return compare(mine, other.operator, theirs)
    side = one.operator[0]
    if one.operator == "!=" or other.operator == "==":
        return one.operator == other.operator and mine == theirs
    if other.operator == "!=":
        # x > 5 is never 5, nor anything below it; x >= 5 may be 5.
        return compare(theirs, "<=" if side == ">" else ">=", mine) and not (theirs == mine and "=" in one.operator)
    if side != other.operator[0]:
        return False
    beyond = mine > theirs if side == ">" else mine < theirs
    return beyond or (mine == theirs and (one.operator == side or "=" in other.operator))
