"""What the pages and the API show, derived from the journal's entries alone. Read-only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ledger.entry import Entry, parse_time
from ledger.journal import Journal
from receiver.incident.book import Book

PAGE_ENTRIES = 500


class BadQuestion(ValueError):
    """A parameter that cannot be read; the message names it."""


@dataclass(frozen=True, slots=True)
class IncidentView:
    """An incident as it stood after the last of `entries`."""

    id: str
    state: str
    title: str
    summary: str
    severity: str
    rule: str
    opened_at: datetime
    ended_at: datetime | None
    reason: str
    policy_version: str
    entries: tuple[Entry, ...]

    def to_json(self, *, timeline: bool) -> dict[str, Any]:
        data: dict[str, Any] = {
            "incident_id": self.id,
            "state": self.state,
            "title": self.title,
            "summary": self.summary,
            "severity": self.severity,
            "rule": self.rule,
            "opened_at": _rfc(self.opened_at),
            "ended_at": _rfc(self.ended_at) if self.ended_at else None,
            "reason": self.reason,
            "policy_version": self.policy_version,
        }
        if timeline:
            data["timeline"] = [entry.to_json() for entry in self.entries]
        return data


async def all_entries(journal: Journal, tenant: str, **chosen: Any) -> list[Entry]:
    """Every entry of the log (or of one incident), page by page."""
    found: list[Entry] = []
    after = -1
    while page := await journal.entries(tenant, after=after, limit=PAGE_ENTRIES, **chosen):
        found += page
        after = page[-1].index
    return found


async def incidents(journal: Journal, tenant: str) -> list[IncidentView]:
    """Every incident, the newest first."""
    detected = await all_entries(journal, tenant, stage="DETECTED")
    views = [await incident(journal, tenant, entry.incident_id or "") for entry in reversed(detected)]
    return [view for view in views if view is not None]


async def incident(journal: Journal, tenant: str, incident_id: str, at: str | None = None) -> IncidentView | None:
    """One incident, now or as it stood at an index or a time. None where there is none. Raises BadQuestion."""
    entries = await all_entries(journal, tenant, incident=incident_id)
    if at is not None:
        entries = _until(entries, at)
    detected = next((entry for entry in entries if entry.stage == "DETECTED"), None)
    if detected is None:
        return None
    end = next((entry for entry in entries if entry.stage in ("RECOVERED", "CLOSED")), None)
    body = detected.body
    return IncidentView(
        id=incident_id,
        state=state_of(entries),
        title=body["title"],
        summary=body["summary"],
        severity=body["severity"],
        rule=body["rule"],
        opened_at=detected.timestamp,
        ended_at=end.timestamp if end else None,
        reason=detected.reason,
        policy_version=detected.policy_version or "",
        entries=tuple(entries),
    )


def state_of(entries: Sequence[Entry]) -> str:
    """Where an incident stands, by its entries: the last of these that applies."""
    states = {
        "DETECTED": "detected",
        "PROPOSED": "proposed",
        "AUTHORIZED": "authorized",
        "DISPATCHED": "executing",
        "UNRESOLVED": "unresolved",
        "EXECUTED": "verifying",
        "RECOVERED": "recovered",
        "CLOSED": "closed",
    }
    back = ("REJECTED", "EXPIRED", "WITHDRAWN", "VOIDED", "FAILED", "WRITTEN_OFF", "UNCONFIRMED")
    state = "detected"
    for entry in entries:
        if state in ("recovered", "closed"):
            break
        state = "detected" if entry.stage in back else states.get(entry.stage, state)
    return state


async def book_of(journal: Journal, tenant: str) -> Book:
    """The book without alerts: enough for what is outstanding."""
    book = Book(tenant)
    for entry in await all_entries(journal, tenant):
        book.take(entry)
    return book


def _until(entries: list[Entry], at: str) -> list[Entry]:
    if at.isascii() and at.isdigit() and len(at) < 16:
        return [entry for entry in entries if entry.index <= int(at)]
    try:
        moment = datetime.fromisoformat(at) if len(at) != 27 else parse_time(at)
    except ValueError as error:
        raise BadQuestion(f"at: {at[:40]!r} is neither an index nor a time like 2026-11-23T08:58:38Z") from error
    if moment.tzinfo is None:
        raise BadQuestion("at: a time needs its zone, as in 2026-11-23T08:58:38Z")
    return [entry for entry in entries if entry.timestamp <= moment]


def _rfc(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
