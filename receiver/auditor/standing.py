"""Where an incident stands, folded from its own entries. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ledger.carried import began, former_index
from ledger.entry import Entry, format_time
from receiver.incident.states import IncidentState

ENDED = frozenset({IncidentState.RECOVERED, IncidentState.CLOSED})
# What settles the newest proposal, or what came of it; after any other settlement no step of it is under way.
_AFTER: Mapping[str, IncidentState] = {
    "AUTHORIZED": IncidentState.AUTHORIZED,
    "DISPATCHED": IncidentState.EXECUTING,
    "UNRESOLVED": IncidentState.UNRESOLVED,
    "EXECUTED": IncidentState.VERIFYING,
}


@dataclass(frozen=True, slots=True)
class IncidentView:
    """An incident as it stood after the last of `entries`; `index` is that of its DETECTED."""

    id: str
    index: int
    state: IncidentState
    title: str
    summary: str
    severity: str
    rule: str
    opened_at: datetime
    ended_at: datetime | None
    reason: str
    policy_version: str
    policy_digest: str
    continues: str | None = None
    carried_from: int | None = None  # in the sealed log before: its DETECTED there
    entries: tuple[Entry, ...] = ()

    @property
    def open(self) -> bool:
        return self.state not in ENDED

    def to_json(self, *, timeline: bool) -> dict[str, Any]:
        data: dict[str, Any] = {
            "incident_id": self.id,
            "state": self.state.value,
            "title": self.title,
            "summary": self.summary,
            "severity": self.severity,
            "rule": self.rule,
            "opened_at": format_time(self.opened_at),
            "ended_at": format_time(self.ended_at) if self.ended_at else None,
            "reason": self.reason,
            "policy_version": self.policy_version,
            "continues": self.continues,
            "carried_from": self.carried_from,
        }
        if timeline:
            data["timeline"] = [entry.to_json() for entry in self.entries]
        return data


class Standing:
    """The fold of one incident. Entries are taken in order; those of other incidents change nothing."""

    def __init__(self, detected: Entry) -> None:
        self.detected = detected
        self.state = IncidentState.DETECTED
        self.ended_at: datetime | None = None
        self._course: set[int] = set()  # the newest proposal and what has come of it

    def take(self, entry: Entry) -> None:
        if self.ended_at is not None or entry.incident_id != self.detected.incident_id:
            return
        if entry.stage in ("RECOVERED", "CLOSED"):
            self.state, self.ended_at = IncidentState(entry.stage.lower()), entry.timestamp
        elif entry.stage == "PROPOSED":
            self.state, self._course = IncidentState.PROPOSED, {entry.index}
        elif entry.settles in self._course:
            # An older proposal may still be verified beside a newer one: that one says where the incident stands.
            self._course.add(entry.index)
            self.state = _AFTER.get(entry.stage, IncidentState.DETECTED)

    def view(self, entries: Sequence[Entry] = ()) -> IncidentView:
        detected = self.detected
        return IncidentView(
            id=detected.incident_id or "",
            index=detected.index,
            state=self.state,
            title=_text(detected, "title") or (detected.incident_id or ""),
            summary=_text(detected, "summary"),
            severity=_text(detected, "severity"),
            rule=_text(detected, "rule"),
            opened_at=began(detected),
            ended_at=self.ended_at,
            reason=detected.reason,
            policy_version=detected.policy_version or "",
            policy_digest=detected.policy_digest or "",
            continues=_text(detected, "continues") or None,
            carried_from=former_index(detected),
            entries=tuple(entries),
        )


def standing_of(entries: Iterable[Entry]) -> Standing | None:
    """The fold of the first incident that is opened in `entries`, or None where none is."""
    standing: Standing | None = None
    for entry in entries:
        if standing is not None:
            standing.take(entry)
        elif entry.stage == "DETECTED":
            standing = Standing(entry)
    return standing


def _text(entry: Entry, name: str) -> str:
    value = entry.body.get(name)
    return value if isinstance(value, str) else ""
