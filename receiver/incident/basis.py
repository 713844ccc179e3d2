"""What a verdict was decided on, as the entry keeps it: so that anybody can decide again, and compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ledger.entry import format_time, parse_time
from policy_rules.readings import Reading, ReadingState
from policy_rules.verdict import VALUE_MAX, Memory, Verdict, memory_from_body, one_line


class NoBasis(ValueError):
    """An entry does not say what it was decided on; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Basis:
    """The book after the first `entries` entries, the time, and for a look the one before it and what was read."""

    entries: int
    now: datetime
    memory: Memory = field(default_factory=Memory)
    readings: tuple[Reading, ...] = ()

    def under(self, decided: Mapping[str, Any]) -> dict[str, Any]:
        """The body of a verdict or a permission with this below it."""
        basis: dict[str, Any] = {"entries": self.entries, "now": format_time(self.now)}
        if self.readings or self.memory != Memory():
            basis |= {"memory": self.memory.to_body(), "readings": [_written(reading) for reading in self.readings]}
        return {**decided, "basis": basis}

    @classmethod
    def of(cls, decided: object) -> Basis:
        """What stands under the body of a verdict or a permission. Raises NoBasis."""
        basis = decided.get("basis") if isinstance(decided, Mapping) else None
        if not isinstance(basis, Mapping):
            raise NoBasis("it does not say what it was decided on")
        try:
            return cls(
                int(basis["entries"]),
                parse_time(basis["now"]),
                memory_from_body(basis),
                tuple(_read(row) for row in basis.get("readings", ())),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise NoBasis(f"what it was decided on cannot be read: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Decided:
    """The verdict of a look, and what it was decided on."""

    verdict: Verdict
    basis: Basis

    def to_body(self) -> dict[str, Any]:
        return self.basis.under(self.verdict.to_body())


def _written(reading: Reading) -> dict[str, Any]:
    """A reading without its question, which the policy has. `at` is what its age counts from."""
    row = {
        "name": reading.name,
        "state": reading.state.value,
        "value": None if reading.value is None else one_line(reading.value[: VALUE_MAX + 1]),
        "at": format_time(reading.sampled_at or reading.asked_at),
    }
    detail = {"detail": one_line(reading.detail)} if reading.detail else {}
    return row | detail | ({"partial": True} if reading.partial else {})


def _read(row: Mapping[str, Any]) -> Reading:
    at = parse_time(row["at"])
    return Reading(
        row["name"],
        "",
        ReadingState(row["state"]),
        row["value"],
        at,
        at,
        row.get("detail", ""),
        row.get("partial") is True,
    )
