"""Conditions over readings: comparisons, all, any and not, in a logic that knows "unknown".

A missing, NaN, stale or many-valued reading is unknown, and what hangs on it is unknown too, unless the rest decides:
`all` with one false part is false, `any` with one true part is true (Kleene's logic).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

from policy_rules.matchers import BadMatcher, Matcher, matches, parse_matchers
from policy_rules.numbers import ARITHMETIC, compare, number
from policy_rules.readings import Alert, Reading, ReadingState
from policy_rules.reasons import Why, why
from policy_rules.rulebook import (
    AGE,
    ALERT_NUMBERS,
    FIRING,
    All,
    Condition,
    Not,
    Rulebook,
    ScorePart,
    Term,
)
from policy_rules.verdict import Finding, one_line

_TERM = re.compile(
    r"\s*([A-Za-z_][A-Za-z0-9_.]*)(\{.*\})?\s*(>=|<=|==|!=|>|<)\s*([-+]?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3})?)\s*"
)
PARTIAL = "partial"  # the kind of the unknown that is a number where all of it is not needed
_SCORE_STEP = Decimal("0.0001")


class BadTerm(Exception):
    """The message says why a text is no NAME OPERATOR NUMBER."""


@dataclass(frozen=True, slots=True)
class Value:
    """What a name stands for now: the number as text, or None (unknown) with the reason in `detail`."""

    value: str | None
    detail: str = ""
    kinds: frozenset[str] = frozenset()  # of readings that are no number, where it is unknown because of such


_NOT_ASKED, _ASKED_TWICE = Value(None, "not asked"), Value(None, "asked twice")


@dataclass(frozen=True, slots=True)
class Judgement:
    """holds: True, False or None (unknown). `deciders` are those of `findings` that made it so."""

    holds: bool | None
    findings: tuple[Finding, ...]
    deciders: tuple[Finding, ...]

    def kinds(self) -> frozenset[str]:
        """Of what is unknown, and why the whole is."""
        return frozenset().union(*(finding.kinds for finding in self.deciders if finding.holds is None))

    def text(self) -> str:
        """The findings that decided, as one line: "error_ratio 0.31 >= 0.05, alerts.firing 2 >= 1"."""
        return one_line(self.said().text())

    def said(self) -> Why:
        """The same, for whoever says it in another language."""
        return why("found", parts=tuple(finding.said() for finding in self.deciders))


def parse_term(text: str) -> Term:
    """Read "error_ratio >= 0.05" or 'alerts.firing{severity="page"} >= 2'. Raises BadTerm."""
    match = _TERM.fullmatch(text)
    if match is None:
        raise BadTerm(f"is not NAME OPERATOR NUMBER, like error_ratio >= 0.05: {text[:80]!r}")
    name, braces, operator, threshold = match.groups()
    if name not in ALERT_NUMBERS:
        if braces:
            raise BadTerm(f"has matchers, and only {', '.join(ALERT_NUMBERS)} may have some: {text[:80]!r}")
        return Term(name, operator, threshold)
    try:
        matchers = parse_matchers(braces) if braces else ()
    except BadMatcher as error:
        raise BadTerm(f"has a matcher that {error}: {text[:80]!r}") from error
    if braces:
        name_shown = name + "{" + ",".join(map(str, matchers)) + "}"
        return Term(name_shown, operator, threshold, name, matchers)
    return Term(name, operator, threshold, name)


def values(
    rulebook: Rulebook, alerts: Sequence[Alert], readings: Sequence[Reading], now: datetime, *, whole: bool = False
) -> Mapping[str, Value]:
    """Every name that a condition may use, as it stands at `now`. whole: a partial reading is unknown."""
    found = dict.fromkeys(rulebook.signals, _NOT_ASKED)
    for reading in readings:
        signal = rulebook.signals.get(reading.name)
        if signal is not None:
            first = found[signal.name] is _NOT_ASKED
            found[signal.name] = _value(reading, signal.max_age_seconds, now, whole) if first else _ASKED_TWICE
    return Known(found, tuple(alerts), now)


class Known(dict[str, Value]):
    """The numbers of a moment by name, and the incident's own alerts, of which a term asks as it likes."""

    def __init__(self, numbers: Mapping[str, Value], alerts: Sequence[Alert], now: datetime) -> None:
        super().__init__(numbers)
        self._alerts = alerts
        self._now = now

    def __missing__(self, name: str) -> Value:
        """The numbers of the alerts are counted when they are asked for."""
        if name not in ALERT_NUMBERS:
            raise KeyError(name)
        return self.of_alerts(name, ())

    def of_alerts(self, name: str, matchers: tuple[Matcher, ...]) -> Value:
        """How many of the alerts that match fire or have ended, or for how many seconds the oldest of them fires."""
        chosen = [alert for alert in self._alerts if matches(matchers, alert.labels)] if matchers else self._alerts
        firing = [alert for alert in chosen if alert.firing]
        if name == AGE:
            began = min((alert.starts_at for alert in firing), default=self._now)
            return Value(str(max(0, int((self._now - began).total_seconds()))))
        return Value(str(len(firing) if name == FIRING else len(chosen) - len(firing)))


def judge(condition: Condition, known: Mapping[str, Value]) -> Judgement:
    """Decide `condition`; every comparison is made and kept, also those that cannot matter any more."""
    if isinstance(condition, Term):
        finding = _finding(condition, known)
        return Judgement(finding.holds, (finding,), (finding,))
    if isinstance(condition, Not):
        inner = judge(condition.of, known)
        return Judgement(None if inner.holds is None else not inner.holds, inner.findings, inner.deciders)
    parts = [judge(part, known) for part in condition.of]
    strong = not isinstance(condition, All)  # the value of one part that settles the whole: True for any
    if any(part.holds is strong for part in parts):
        holds: bool | None = strong
    else:
        holds = None if any(part.holds is None for part in parts) else not strong
    findings = tuple(finding for part in parts for finding in part.findings)
    deciders = tuple(finding for part in parts if part.holds is holds for finding in part.deciders)
    return Judgement(holds, findings, deciders)


def score(parts: Sequence[ScorePart], known: Mapping[str, Value]) -> Value:
    """0 (bad) to 100 (good): each part linear between its `bad` and `good`, clamped, weighted.

    The result is rounded to four decimals and then compared. One unknown part makes it unknown.
    """
    total = weights = Decimal(0)
    shown: list[str] = []
    for part in parts:
        value = known[part.signal]
        exact = number(value.value)
        if exact is None:
            kinds = frozenset().union(*(known[other.signal].kinds for other in parts))
            return Value(None, f"{part.signal}: {value.detail or 'unknown'}", kinds)
        bad, good, weight = Decimal(part.bad), Decimal(part.good), Decimal(part.weight)
        share = ARITHMETIC.divide(ARITHMETIC.subtract(exact, bad), ARITHMETIC.subtract(good, bad))
        clamped = min(max(Decimal(0), share), Decimal(1))  # in this order 0 is never -0
        total = ARITHMETIC.add(total, ARITHMETIC.multiply(weight, clamped))
        weights = ARITHMETIC.add(weights, weight)
        shown.append(f"{part.signal} {value.value} counts {(clamped * 100).quantize(Decimal('0.1'))}")
    mean = ARITHMETIC.divide(ARITHMETIC.multiply(total, Decimal(100)), weights)
    rounded = mean.quantize(_SCORE_STEP, rounding=ROUND_HALF_EVEN).normalize()
    return Value(f"{rounded:f}", ", ".join(shown))


def _value(reading: Reading, max_age_seconds: float, now: datetime, whole: bool) -> Value:
    if reading.state is not ReadingState.VALUE:
        shown = f"{reading.state.value}: {reading.detail}" if reading.detail else reading.state.value
        return _no_number(reading.state, shown)
    sampled_at = reading.sampled_at or reading.asked_at
    if now - sampled_at > timedelta(seconds=max_age_seconds):
        ago = int((now - sampled_at).total_seconds())
        return _no_number(ReadingState.STALE, f"{ReadingState.STALE.value}: sampled {ago} s ago")
    if number(reading.value) is None:
        return _no_number(ReadingState.NAN, f"{ReadingState.NAN.value}: {str(reading.value)[:40]!r} is no number")
    if whole and reading.partial:
        return Value(None, f"{PARTIAL}: it says {reading.value}; {reading.detail}", frozenset({PARTIAL}))
    return Value(reading.value)


def _no_number(state: ReadingState, detail: str) -> Value:
    return Value(None, detail, frozenset({state.value}))


def _finding(term: Term, known: Mapping[str, Value]) -> Finding:
    if term.parts and term.name not in known:  # the looks of a hold that is in the ledger know it already
        value = score(term.parts, known)
    elif term.of_alerts is not None and isinstance(known, Known):
        value = known.of_alerts(term.of_alerts, term.matchers)
    else:
        value = known.get(term.name, Value(None, "not defined"))
    exact = number(value.value)
    if exact is None:
        return Finding(term.name, term.operator, term.threshold, None, None, one_line(value.detail), value.kinds)
    holds = compare(exact, term.operator, Decimal(term.threshold))
    return Finding(term.name, term.operator, term.threshold, value.value, holds, one_line(value.detail))
