"""What an auditor looks for, decided again from the entries alone, without the database's own rules. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.accounts import LIVE, OFFICES, ONLY_WHILE_OPEN, OPENS, SETTLES, must_settle
from ledger.entry import Entry, format_time

INTRUSION = "treat it as an intrusion"
WHO_WROTE = "find who wrote to the database"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be: the entry, the rule it breaks, and what to do."""

    index: int
    rule: str
    detail: str
    remedy: str

    def __str__(self) -> str:
        return f"entry {self.index}: {self.rule}: {self.detail} ({self.remedy})"

    def to_json(self) -> dict[str, Any]:
        return {"index": self.index, "rule": self.rule, "detail": self.detail, "remedy": self.remedy}


def findings(entries: Sequence[Entry]) -> tuple[Finding, ...]:
    """What an auditor looks for, decided again from the entries alone, without the database's own rules."""
    by_index = {entry.index: entry for entry in entries}
    found = [*_of_the_log(entries), *_of_what_stands(entries)]
    for entry in entries:
        check = _CHECKS.get(entry.stage)
        if check is not None:
            found += check(entry, by_index)
    return tuple(sorted(found, key=lambda finding: finding.index))


def _of_the_log(entries: Sequence[Entry]) -> Iterator[Finding]:
    settled: dict[int, int] = {}
    digests: dict[tuple[str, str], str] = {}
    adopted: set[str] = set()
    tenants = {entry.tenant_id for entry in entries}
    for place, entry in enumerate(entries):
        if entry.index != place:
            yield Finding(entry.index, "gap", f"entry {place} is missing", "restore the newest copy of the ledger")
            return
        if place and entry.timestamp < entries[place - 1].timestamp:
            yield Finding(entry.index, "clock", "its time is before that of the entry before it", "check the clock")
        if entry.stage == "REGRESSED":
            yield Finding(entry.index, "clock stepped", entry.reason, "check NTP; nothing was dispatched meanwhile")
        if entry.actor.partition(":")[0] not in OFFICES.get(entry.stage, ()):
            yield Finding(entry.index, "office", f"{entry.actor} posted {entry.stage}", WHO_WROTE)
        if entry.settles is None and must_settle(entry.stage):
            yield Finding(entry.index, "settlement", f"{entry.stage} settles nothing", WHO_WROTE)
        if entry.settles is not None:
            yield from _of_a_settlement(entry, entries, settled, tenants)
        if entry.stage == "ADOPTED":
            adopted.add(entry.policy_digest or "")
            version = (str(entry.body.get("name")), entry.policy_version or "")
            if digests.setdefault(version, entry.policy_digest or "") != entry.policy_digest:
                yield Finding(
                    entry.index, "policy version", f"{version[1]} stands with two digests", "raise the version"
                )
        elif entry.policy_digest and entry.policy_digest not in adopted:
            yield Finding(entry.index, "policy unknown", f"{entry.policy_version} was never adopted", "find its text")


def _of_what_stands(entries: Sequence[Entry]) -> Iterator[Finding]:
    """What each entry found open when it was posted, and whether it might come then."""
    by_index = {entry.index: entry for entry in entries}
    standing: dict[int, Entry] = {}  # the obligations that nothing has settled
    of_incident: defaultdict[str | None, dict[int, str]] = defaultdict(dict)
    detected: set[str | None] = set()
    declined: set[int] = set()
    ids: dict[str, int] = {}
    before: Entry | None = None
    for entry in entries:
        open_stages = set(of_incident[entry.incident_id].values()) if entry.incident_id is not None else set()
        target = by_index.get(entry.settles if entry.settles is not None else -1)
        yield from _beside(entry, open_stages, known=entry.incident_id in detected)
        yield from _against(entry, target, declined)
        if entry.id in ids:
            yield Finding(entry.index, "id", f"{entry.id} stands at {ids[entry.id]} already", WHO_WROTE)
        yield from _after(before, entry)
        if entry.stage == "DISPATCHED" and any(other.stage == "HALTED" for other in standing.values()):
            yield Finding(entry.index, "halt", "dispatched while halted", INTRUSION)
        if target is not None and standing.pop(target.index, None) is not None:
            of_incident[target.incident_id].pop(target.index, None)
        if entry.stage in OPENS:
            standing[entry.index] = entry
            of_incident[entry.incident_id][entry.index] = entry.stage
        if entry.stage == "DETECTED":
            detected.add(entry.incident_id)
        if entry.stage == "DECLINED" and entry.cites:
            declined.add(entry.cites[0])
        ids.setdefault(entry.id, entry.index)
        before = entry
    yield from _after(before, None)


def _after(before: Entry | None, entry: Entry | None) -> Iterator[Finding]:
    """DECLINED comes together with the REJECTED of its proposal. entry: what follows, or None at the end."""
    if before is None or before.stage != "DECLINED":
        return
    if entry is None or entry.stage != "REJECTED" or (entry.settles,) != before.cites[:1]:
        yield Finding(before.index, "decline", "its proposal was not rejected with it", WHO_WROTE)


def _beside(entry: Entry, open_stages: set[str], *, known: bool) -> Iterator[Finding]:
    """open_stages: what is open of the entry's incident. known: whether that was detected before."""
    if entry.stage in ONLY_WHILE_OPEN and "DETECTED" not in open_stages:
        yield Finding(entry.index, "incident", f"{entry.stage} for an incident that is not open", WHO_WROTE)
    if entry.stage == "DETECTED" and (known or entry.incident_id is None):
        yield Finding(entry.index, "incident", f"{entry.incident_id} was detected before, or is none", WHO_WROTE)
    left = sorted(open_stages & {"PROPOSED", "AUTHORIZED"})
    if entry.stage in ("RECOVERED", "CLOSED") and left:
        yield Finding(entry.index, "incident", f"{entry.stage} over an open {' and '.join(left)}", WHO_WROTE)
    beside = sorted(open_stages & set(LIVE))
    if entry.stage == "PROPOSED" and beside:
        yield Finding(entry.index, "incident", f"a second question beside an open {' and '.join(beside)}", WHO_WROTE)


def _against(entry: Entry, target: Entry | None, declined: set[int]) -> Iterator[Finding]:
    """What the obligation that the entry settles says against it."""
    if target is None:
        return
    if entry.stage == "RESUMED" and entry.actor.partition(":")[2] == target.actor.partition(":")[2]:
        yield Finding(entry.index, "halt", f"{entry.actor} ended a halt of the same person", INTRUSION)
    if entry.stage == "EXPIRED" and _text(entry) < _until(target, "expires_at"):
        yield Finding(entry.index, "early", "expired before its time", "check the clock")
    if entry.stage == "AUTHORIZED" and target.index in declined:
        yield Finding(entry.index, "law 3", f"{target.index} had been declined", INTRUSION)


def _of_a_settlement(
    entry: Entry, entries: Sequence[Entry], settled: dict[int, int], tenants: set[str]
) -> Iterator[Finding]:
    remedy = WHO_WROTE
    target = entries[entry.settles] if entry.settles is not None and 0 <= entry.settles < entry.index else None
    if target is None:
        yield Finding(entry.index, "settlement", f"it settles {entry.settles}, which is not before it", remedy)
        return
    if entry.stage not in SETTLES.get(OPENS.get(target.stage, ""), ()):
        yield Finding(entry.index, "settlement", f"{entry.stage} cannot settle {target.stage}", remedy)
    if target.index in settled:
        yield Finding(entry.index, "settlement", f"{target.index} was settled by {settled[target.index]}", remedy)
    settled[target.index] = entry.index
    if target.incident_id is not None and target.incident_id != entry.incident_id:
        yield Finding(entry.index, "settlement", f"{target.index} is of {target.incident_id}", remedy)
    if len(tenants) > 1:
        yield Finding(entry.index, "tenant", "entries of several tenants stand in one log", remedy)


def _dispatched(entry: Entry, by_index: Mapping[int, Entry]) -> Iterator[Finding]:
    authorized = by_index.get(entry.settles if entry.settles is not None else -1)
    if authorized is None or authorized.stage != "AUTHORIZED":
        yield Finding(entry.index, "law 3", "an execution without authorization", INTRUSION)
        return
    proposed = by_index.get(authorized.settles if authorized.settles is not None else -1)
    if proposed is None or proposed.body.get("digest") != entry.body.get("digest"):
        yield Finding(entry.index, "law 3", "the request is not the proposed one", INTRUSION)
        return
    if _text(entry) > _until(proposed, "authorize_until"):
        yield Finding(entry.index, "late", "dispatched after its authorization had run out", "check the clock")


def _authorized(entry: Entry, by_index: Mapping[int, Entry]) -> Iterator[Finding]:
    proposed = by_index.get(entry.settles if entry.settles is not None else -1)
    if proposed is None or proposed.stage != "PROPOSED":
        yield Finding(entry.index, "law 3", "an authorization of nothing", INTRUSION)
        return
    approvals = [by_index[c] for c in entry.cites if c in by_index and by_index[c].stage == "APPROVED"]
    people = {a.actor for a in approvals if a.cites and a.cites[0] == proposed.index}
    quorum = proposed.body.get("quorum")
    if not isinstance(quorum, int) or len(people) < max(quorum, 1):
        yield Finding(entry.index, "law 3", f"{len(people)} of {quorum} approved", INTRUSION)
    if entry.actor not in people:
        yield Finding(entry.index, "law 3", f"{entry.actor} did not approve", INTRUSION)
    if _text(entry) > _until(proposed, "authorize_until"):
        yield Finding(entry.index, "late", "authorized after its time", "check the clock")


def _answered(entry: Entry, by_index: Mapping[int, Entry]) -> Iterator[Finding]:
    proposed = by_index.get(entry.cites[0] if entry.cites else -1)
    if proposed is None or proposed.stage != "PROPOSED":
        yield Finding(entry.index, "law 3", "an answer to nothing", INTRUSION)
        return
    approvers = proposed.body.get("approvers")
    if not isinstance(approvers, list) or entry.actor.partition(":")[2] not in approvers:
        yield Finding(entry.index, "law 3", f"{entry.actor} is not an approver", INTRUSION)
    if _text(entry) >= _until(proposed, "expires_at"):
        yield Finding(entry.index, "late", "answered after the question had expired", "check the clock")


def _until(proposed: Entry, name: str) -> str:
    """A time of a proposal; where it states none, everything comes after it."""
    moment = proposed.body.get(name)
    return moment if isinstance(moment, str) else ""


def _text(entry: Entry) -> str:
    return format_time(entry.timestamp)


_Check = Callable[[Entry, Mapping[int, Entry]], Iterator[Finding]]
_CHECKS: Mapping[str, _Check] = {
    "DISPATCHED": _dispatched,
    "AUTHORIZED": _authorized,
    "APPROVED": _answered,
    "DECLINED": _answered,
}
