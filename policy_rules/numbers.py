"""Numbers as Prometheus writes them, compared exactly as written. No float stands between a reading and a threshold."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from decimal import Context, Decimal

OPERATORS: Mapping[str, Callable[[Decimal, Decimal], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}

# A float64 in Go's 'f' format has at most 309 digits before the point and some 340 characters in all.
_TEXT_MAX = 400
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?|[+-]?Inf")
# Without traps: what overflows becomes infinite, as it does in Prometheus, instead of raising.
ARITHMETIC = Context(prec=34, traps=[])


def number(text: str | None) -> Decimal | None:
    """The number in `text`, or None where it is none (NaN among them)."""
    if text is None or len(text) > _TEXT_MAX or _NUMBER.fullmatch(text) is None:
        return None
    return Decimal(text)


def compare(left: Decimal, word: str, right: Decimal) -> bool:
    return OPERATORS[word](left, right)


def shortest(value: Decimal) -> str:
    """`value` in at most three significant digits, or as a whole number: "0.31", "1250", "4.2e-7"."""
    if not value.is_finite():
        return {"Infinity": "+Inf", "-Infinity": "-Inf"}.get(str(value), str(value))
    if value == value.to_integral_value() and abs(value) < 10**9:
        return str(int(value))
    return f"{value.normalize(Context(prec=3)):g}".replace("e-0", "e-").replace("e+0", "e+")
