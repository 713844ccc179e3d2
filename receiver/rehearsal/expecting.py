"""What a case expected, against what became of it; each difference as expected and got, with what decided. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger.entry import Entry
from policy_rules.casebook.cases import Expectation
from receiver.incident.book import Book
from receiver.incident.states import Incident, key_of
from receiver.papers import OutgoingMessage

# The entry that brought an incident into a state.
_STAGES = {
    "detected": ("DETECTED", "REJECTED", "EXPIRED", "WITHDRAWN", "FAILED", "VOIDED", "UNCONFIRMED", "WRITTEN_OFF"),
    "proposed": ("PROPOSED",),
    "authorized": ("AUTHORIZED",),
    "executing": ("DISPATCHED",),
    "unresolved": ("UNRESOLVED",),
    "verifying": ("EXECUTED",),
    "recovered": ("RECOVERED",),
    "closed": ("CLOSED",),
}


@dataclass(frozen=True, slots=True)
class Missed:
    """One thing that came out otherwise. decided: the entry that decided, in a line; empty where none did."""

    line: int
    at_seconds: float
    what: str
    expected: str
    got: str
    decided: str = ""


def compare(
    expected: Expectation,
    book: Book,
    log: Sequence[Entry],
    messages: Sequence[OutgoingMessage],
    states: Sequence[tuple[datetime, Incident, str]],
) -> list[Missed]:
    """Every part of `expected` that does not hold now. states: each incident's states so far, in order."""
    incidents = [i for i in book.incidents.values() if _chosen(i, expected)]
    incident = incidents[-1] if incidents else None
    return list(_differences(expected, incident, book, log, messages, states))


def _chosen(incident: Incident, expected: Expectation) -> bool:
    return all((name, value) in incident.key for name, value in expected.key.items()) or incident.key == key_of(
        expected.key
    )


def _differences(
    expected: Expectation,
    incident: Incident | None,
    book: Book,
    log: Sequence[Entry],
    messages: Sequence[OutgoingMessage],
    states: Sequence[tuple[datetime, Incident, str]],
) -> Iterator[Missed]:
    state = incident.state.value if incident is not None else "none"
    entry = _deciding(incident, state, log)
    last = incident.last if incident is not None else None
    got = {
        "state": state,
        "rule": incident.rule if incident is not None else _watched_rule(book),
        "by": entry.actor.partition(":")[2] or entry.actor if entry is not None else "nobody",
        "question": (last.outcome or "open").lower() if last is not None else "none",
        "action": str(last.body["action"]) if last is not None else "none",
    }
    decided = f"{entry.stage} {entry.index} by {entry.actor}: {entry.reason}" if entry is not None else _looks(log)
    at = expected.at_seconds or 0.0
    for what, wanted in expected.wanted.items():
        if what in got and got[what] != wanted:
            yield Missed(expected.line, at, what, wanted, got[what], decided)
        elif what == "reason" and (entry is None or wanted not in entry.reason):
            yield Missed(expected.line, at, what, wanted, entry.reason if entry is not None else "nothing", decided)
        elif what == "told" and not any(wanted in said for m in messages for said in m.variables.values()):
            heard = [v for m in messages[-1:] for v in m.variables.values() if v]
            yield Missed(expected.line, at, what, wanted, heard[0][:200] if heard else "nothing was said", decided)
        elif what == "untold" and (early := [v for m in messages for v in m.variables.values() if wanted in v]):
            yield Missed(expected.line, at, what, f"nothing with {wanted!r}", early[0][:200], decided)
    if expected.asked is not None:
        asked = tuple(last.body["approvers"]) if last is not None else ()
        if sorted(asked) != sorted(expected.asked):
            wanted = ", ".join(sorted(expected.asked)) or "nobody"
            yield Missed(expected.line, at, "asked", wanted, ", ".join(sorted(asked)) or "nobody", decided)
    for moment, about, reached in states:
        if reached in expected.never and _chosen(about, expected):
            found = _deciding(about, reached, log)
            said = f"{found.stage} {found.index} by {found.actor}: {found.reason}" if found is not None else ""
            when = moment.strftime("%H:%M:%S")
            yield Missed(expected.line, at, "never", reached, f"{reached} at {when}", said)
    if "none" in expected.never and incident is None:
        yield Missed(expected.line, at, "never", "none", "no incident", decided)


def _deciding(incident: Incident | None, state: str, log: Sequence[Entry]) -> Entry | None:
    """The newest entry that brought `incident` into `state`."""
    if incident is None:
        return None
    wanted = _STAGES.get(state, ())
    return next((e for e in reversed(log) if e.incident_id == incident.id and e.stage in wanted), None)


def _watched_rule(book: Book) -> str:
    return next((watch.rule for watch in book.watches.values()), "none")


def _looks(log: Sequence[Entry]) -> str:
    """Where there is no incident: what policy said last, or why no rule took the alert."""
    for entry in reversed(log):
        if entry.stage in ("LOOKED", "CLEARED", "EVALUATED", "WATCHED"):
            return f"{entry.stage} {entry.index} by policy: {entry.reason}"
    return "no alert came"
