"""Verdict: what policy decided, and every comparison behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from policy_rules.numbers import compare, shortest
from policy_rules.reasons import Why, why

REASON_MAX = 400
DETAIL_MAX = 200
VALUE_MAX = 400


class Outcome(StrEnum):
    DETECT = "detect"
    HOLD = "hold"  # the condition is true, but not yet for as long as `for` asks
    IGNORE = "ignore"
    RECOVER = "recover"
    PERSIST = "persist"
    UNKNOWN = "unknown"
    PERMIT = "permit"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Finding:
    """One comparison: "error_ratio", ">=", "0.05", "0.31", True. `holds` is None where the value is unknown."""

    name: str
    operator: str
    threshold: str
    value: str | None
    holds: bool | None
    detail: str = ""
    kinds: frozenset[str] = field(default=frozenset(), compare=False)  # of the unknown, where it is; `detail` says it
    against: Why | None = field(default=None, compare=False)  # what `detail` says, where it says why not

    def text(self) -> str:
        """The comparison as a person reads it: "error_ratio 0.31 >= 0.05", "error_ratio unknown (no_data)"."""
        return self.said().text()

    def said(self) -> Why:
        """The comparison, for whoever says it in another language."""
        if self.holds is None or self.value is None:
            return (
                why("unknown because", name=self.name, why=self.detail)
                if self.detail
                else why("unknown", name=self.name)
            )
        values = {"name": self.name, "value": self._shown(), "operator": self.operator, "threshold": self.threshold}
        return Why("is" if self.holds else "is not", values)

    def to_body(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "operator": self.operator,
            "threshold": _plain(self.threshold),
            "value": None if self.value is None else _plain(self.value),
            "holds": self.holds,
        } | ({"detail": _plain(self.detail)[:DETAIL_MAX]} if self.detail else {})

    def _shown(self) -> str:
        """The value in few digits, unless so few would contradict the comparison."""
        try:
            exact, threshold = Decimal(self.value or ""), Decimal(self.threshold)
        except ArithmeticError:
            return self.value or ""
        short = shortest(exact)
        agrees = compare(Decimal(short), self.operator, threshold) == self.holds
        return short if agrees else self.value or ""


@dataclass(frozen=True, slots=True)
class Memory:
    """What one look hands to the next. true_since: since when every look found the condition true.

    unknown_since: since when no look could tell. looked_at: the last look.
    """

    true_since: datetime | None = None
    unknown_since: datetime | None = None
    looked_at: datetime | None = None

    def to_body(self) -> dict[str, str | None]:
        return {
            "true_since": _write(self.true_since),
            "unknown_since": _write(self.unknown_since),
            "looked_at": _write(self.looked_at),
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision that explains itself. `reason` is one line; `rule` and the policy name who decided."""

    outcome: Outcome
    reason: str
    findings: tuple[Finding, ...]
    rule: str
    policy_version: str
    policy_digest: str
    memory: Memory = field(default_factory=Memory)
    why: Why | None = field(default=None, compare=False)  # what `reason` says

    def said(self) -> Why:
        """What `reason` says, for whoever says it in another language."""
        return self.why if self.why is not None else why("recorded", text=self.reason)

    def to_body(self) -> dict[str, Any]:
        """The verdict as the ledger keeps it: strings, booleans and null, no floats."""
        return {
            "outcome": self.outcome.value,
            "reason": self.reason,
            "findings": [finding.to_body() for finding in self.findings],
            "rule": self.rule,
            "policy_version": self.policy_version,
            "policy_digest": self.policy_digest,
            "memory": self.memory.to_body(),
        }


def memory_from_body(body: Mapping[str, Any]) -> Memory:
    """The memory that `Verdict.to_body` wrote. Raises ValueError on a time that is not RFC 3339."""
    memory = body.get("memory") or {}
    return Memory(_read(memory.get("true_since")), _read(memory.get("unknown_since")), _read(memory.get("looked_at")))


def _plain(text: str) -> str:
    """`text` as the ledger can keep it: labels from outside may be long, and may hold half of a surrogate pair."""
    return text[:VALUE_MAX].encode(errors="replace").decode()


def one_line(text: str) -> str:
    """`text` without line breaks and cut to what a reason may hold, as the ledger can keep it."""
    return " ".join(text.split())[:REASON_MAX].encode(errors="replace").decode()


def _write(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _read(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
