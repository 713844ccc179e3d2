"""One incident and everything that it rests on, from the entries of the log: now, or as it stood then."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from ledger.accounts import OPENS
from ledger.entry import Entry, format_time
from receiver.auditor.report import Part, Report, report_of
from receiver.auditor.standing import IncidentView, standing_of

PAGE_ENTRIES = 500
BASIS_MAX = 200  # entries outside of an incident that its own entries rest on


class Entries(Protocol):
    """What is asked of a log (a `Journal` does it)."""

    async def entries(
        self,
        tenant: str,
        *,
        after: int = -1,
        limit: int = 1000,
        incident: str | None = None,
        stage: str | None = None,
        actor: str | None = None,
    ) -> list[Entry]: ...

    async def get(self, tenant: str, index: int) -> Entry | None: ...


async def all_entries(log: Entries, tenant: str, **chosen: Any) -> list[Entry]:
    """Every entry of the log (or of one incident), page by page."""
    found: list[Entry] = []
    after = -1
    while page := await log.entries(tenant, after=after, limit=PAGE_ENTRIES, **chosen):
        found += page
        after = page[-1].index
    return found


async def incident_view(
    log: Entries, tenant: str, incident_id: str, at: int | datetime | None = None
) -> IncidentView | None:
    """One incident with its timeline, now or as it stood at an index or a time. None where there is none."""
    own: Sequence[Entry] = await all_entries(log, tenant, incident=incident_id)
    if at is not None:
        own = until(own, at)
    standing = standing_of(own)
    if standing is None:
        return None
    basis = await _basis(log, tenant, own, standing.detected)
    return standing.view(sorted([*own, *basis], key=lambda entry: entry.index))


@dataclass(frozen=True, slots=True)
class Then:
    """How the log stood around an incident: what was in force, what was halted, and what was open of the incident."""

    view: IncidentView
    last: Entry
    adopted: Entry | None
    halts: tuple[Entry, ...]
    outstanding: tuple[Entry, ...]

    def to_json(self) -> dict[str, Any]:
        policy = (
            {"version": self.adopted.policy_version, "digest": self.adopted.policy_digest} if self.adopted else None
        )
        return {
            **self.view.to_json(timeline=True),
            "as_of": {"index": self.last.index, "timestamp": format_time(self.last.timestamp)},
            "policy_in_force": policy,
            "halts": [entry.index for entry in self.halts],
            "outstanding": [{"index": entry.index, "stage": entry.stage} for entry in self.outstanding],
        }


async def then(log: Entries, tenant: str, incident_id: str, at: int | datetime, last: Entry) -> Then | None:
    """The incident and what stood around it. last: the newest entry that stood then. None where there was none."""
    view = await incident_view(log, tenant, incident_id, at)
    if view is None:
        return None
    adopted = until(await all_entries(log, tenant, stage="ADOPTED"), at)
    halts = until(await all_entries(log, tenant, stage="HALTED"), at)
    resumed = until(await all_entries(log, tenant, stage="RESUMED"), at)
    own = [entry for entry in view.entries if entry.incident_id == incident_id]
    return Then(
        view,
        last,
        adopted[-1] if adopted else None,
        tuple(_unsettled(halts, resumed)),
        tuple(_unsettled((entry for entry in own if entry.stage in OPENS), own)),
    )


async def report(
    log: Entries, tenant: str, incident_id: str, last: Entry, at: int | datetime | None = None
) -> Report | None:
    """The report on one incident, now or as it stood then. None where there is none.

    last: the newest entry of the log; of then, where the report is of then.
    """
    view = await incident_view(log, tenant, incident_id, at)
    if view is None:
        return None
    adopted = await all_entries(log, tenant, stage="ADOPTED")
    names = [str(entry.body.get("name")) for entry in adopted if entry.policy_digest == view.policy_digest]
    policy = f"policy {names[0]} {view.policy_version}" if names else f"policy {view.policy_version}"
    detected = await all_entries(log, tenant, stage="DETECTED")
    parts = []
    for one in _parts(detected if at is None else until(detected, at), incident_id):
        part = await incident_view(log, tenant, one, at)
        if part is not None:
            parts.append(Part(part.id, part.index, part.opened_at, part.ended_at, part.state.value))
    return report_of(view, last, policy, parts)


def _parts(detected: Sequence[Entry], incident_id: str) -> list[str]:
    """The ids of all parts of the incident that `incident_id` is a part of, in order."""
    before = {e.incident_id or "": str(e.body.get("continues") or "") for e in detected}
    after = {former: one for one, former in before.items() if former}
    first = incident_id
    while before.get(first):
        first = before[first]
    parts = [first]
    while parts[-1] in after:
        parts.append(after[parts[-1]])
    return parts


def _unsettled(opened: Iterable[Entry], by: Iterable[Entry]) -> list[Entry]:
    settled = {entry.settles for entry in by}
    return [entry for entry in opened if entry.index not in settled]


def until(entries: Sequence[Entry], at: int | datetime) -> list[Entry]:
    """The entries up to an index, or up to a time, that one included."""
    if isinstance(at, int):
        return [entry for entry in entries if entry.index <= at]
    return [entry for entry in entries if entry.timestamp <= at]


async def _basis(log: Entries, tenant: str, own: Sequence[Entry], detected: Entry) -> list[Entry]:
    """What the incident's entries settle and cite outside of it: alerts, the watch and its looks, answers."""
    found: dict[int, Entry] = {}
    known = {entry.index for entry in own}
    wanted = [index for entry in own for index in _rests_on(entry)]
    while wanted and len(found) < BASIS_MAX:
        index = wanted.pop(0)
        entry = None if index in known else await log.get(tenant, index)
        known.add(index)
        if entry is not None and entry.incident_id is None:
            found[index] = entry
            wanted += _rests_on(entry)
    watched = found.get(detected.settles if detected.settles is not None else -1)
    if watched is not None:
        looks = await log.entries(tenant, after=watched.index, limit=BASIS_MAX, stage="LOOKED")
        of_the_watch = [look for look in looks if look.body.get("subject") == watched.index]
        found |= {look.index: look for look in of_the_watch if look.index < detected.index}
    return list(found.values())


def _rests_on(entry: Entry) -> Sequence[int]:
    return (*entry.cites, *(() if entry.settles is None else (entry.settles,)))
