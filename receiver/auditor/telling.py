"""How entries are told to a reader who does not know the stages: steps, a timeline, each entry's words. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ledger.entry import Entry
from receiver.auditor.lookups import case_of
from receiver.auditor.meaning import meaning
from receiver.auditor.standing import IncidentView
from receiver.incident.moved import moved_first

ON_THE_WAY = frozenset({"ADDRESSED", "SENT", "DELIVERED", "READ", "UNDELIVERED"})
MOVED_SHOWN = 3
VERDICTS = {"verdict": "", "service": "how the service was doing"}
# stage → what of its body the timeline shows; the entry's own page shows everything
SHOWN: Mapping[str, tuple[str, ...]] = {
    "RECEIVED": ("source", "receiver"),
    "DETECTED": ("severity", "key", "carried"),
    "CONSULTED": ("until", "model"),
    "DIAGNOSED": (
        *("likely_cause", "recommended_action", "falsified_by", "dropped_claims", "model"),
        *("usage", "duration_ms", "redacted", "request_id"),
    ),
    "UNDIAGNOSED": ("outcome", "detail", "usage", "duration_ms", "redacted"),
    "PROPOSED": ("action", "params", "risk", "executor", "approvers", "quorum", "expires_at"),
    "HEARD": ("person", "verb", "code"),
    "REFUSED": ("why", "person"),
    "HEEDED": ("what",),
    "AUTHORIZED": ("approved_by", "quorum"),
    "DISPATCHED": ("executor", "webhook_id", "until"),
    "EXECUTED": ("http_status", "output", "attempts", "verify_until"),
    "FAILED": ("http_status", "output", "attempts", "ran"),
    "UNRESOLVED": ("http_status", "output", "attempts"),
    "WRITTEN_OFF": ("text",),
    "NOTED": ("text",),
}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")


@dataclass(frozen=True, slots=True)
class Comparison:
    """The findings of one verdict, each with its `meaning` in words where its name has none to a reader.

    `told` says whose words they are; `holding` counts those that hold.
    """

    told: str
    outcome: str
    reason: str
    findings: tuple[Mapping[str, Any], ...]

    @property
    def holding(self) -> int:
        return sum(1 for finding in self.findings if finding.get("holds") is True)


@dataclass(frozen=True, slots=True)
class Step:
    """One law of an incident's way. `tone`: done, waiting, none (nothing happened) or bad; `index`: the entry."""

    name: str
    tone: str
    who: str
    text: str
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """One place of the timeline: an entry, or several messages on their way one after the other."""

    entries: tuple[Entry, ...]
    seconds: float  # since the incident was opened; negative before
    messages: bool
    people: tuple[str, ...] = field(default=())


def comparisons(entry: Entry) -> list[Comparison]:
    """The verdicts that an entry carries, with every comparison; none where it carries none."""
    found = []
    for name, told in VERDICTS.items():
        verdict = entry.body.get(name)
        rows = verdict.get("findings") if isinstance(verdict, Mapping) else None
        if isinstance(verdict, Mapping) and isinstance(rows, list) and rows:
            evidence = verdict.get("evidence")  # of an action's own condition
            behind = evidence if isinstance(evidence, list) else []
            outcome = str(verdict.get("outcome", ""))
            kept = [{**r, "meaning": meaning(outcome, str(r.get("name")))} for r in rows if isinstance(r, Mapping)]
            kept += [{**row, "meaning": ""} for row in behind if isinstance(row, Mapping)]
            found.append(Comparison(told, outcome, str(verdict.get("reason", "")), tuple(kept)))
    return found


def said(entry: Entry) -> str:
    """One line on what an entry means."""
    texts = (entry.body.get(name) for name in ("detail", "text"))
    return entry.reason or next((text for text in texts if isinstance(text, str)), "")


def details(entry: Entry, *, everything: bool = False) -> list[tuple[str, str]]:
    """The body as labels and values: what the timeline shows of this stage, or everything that is plain."""
    names = entry.body if everything else SHOWN.get(entry.stage, ())
    told = [(str(name), plain(entry.body.get(name))) for name in names if name not in VERDICTS]
    return [(name.replace("_", " "), text) for name, text in told if text and text != said(entry)]


def plain(value: object) -> str:
    """A value of a body in words; empty where there is nothing to say or it is no plain value."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int):
        text = str(value).strip()
        return f"{text[:10]} {text[11:19]} UTC" if _TIME.fullmatch(text) else text
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={item}" for name, item in value.items() if isinstance(item, str | int))
    if isinstance(value, list) and all(isinstance(item, str | int) for item in value):
        return ", ".join(map(str, value))
    return ""


def claims(entry: Entry) -> list[Mapping[str, Any]]:
    rows = entry.body.get("claims")
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def office(actor: str) -> str:
    """Whose word an entry is: policy, ai, human, webhook or system."""
    kind = actor.partition(":")[0]
    return {"policy": "policy", "claude": "ai", "engineer": "human", "operator": "human", "executor": "webhook"}.get(
        kind, "system"
    )


def moments(incident: IncidentView) -> list[Moment]:
    """The timeline; messages on their way that follow each other stand together."""
    found: list[Moment] = []
    people: dict[int, str] = {e.index: plain(e.body.get("person")) for e in incident.entries if e.stage == "ADDRESSED"}
    for entry in incident.entries:
        messages = entry.stage in ON_THE_WAY
        person = people.get(entry.index if entry.stage == "ADDRESSED" else _message_of(entry), "") if messages else ""
        if messages and found and found[-1].messages:
            last = found[-1]
            named = tuple(dict.fromkeys((*last.people, *([person] if person else []))))
            found[-1] = Moment((*last.entries, entry), last.seconds, True, named)
            continue
        seconds = (entry.timestamp - incident.opened_at).total_seconds()
        found.append(Moment((entry,), seconds, messages, (person,) if person else ()))
    return found


def _message_of(entry: Entry) -> int:
    if entry.settles is not None:
        return entry.settles
    return entry.cites[0] if entry.cites else -1


def steps(incident: IncidentView) -> list[Step]:
    """Who decided, explained, authorized, executed, and whether policy saw it recover: the newest word on each."""
    last: dict[str, Entry] = {entry.stage: entry for entry in incident.entries}
    return [
        _opened(last, incident),
        _explained(last, incident),
        _authorized(last),
        _executed(last),
        _ended(last, incident),
    ]


@dataclass(frozen=True, slots=True)
class Doubt:
    """An UNRESOLVED that nobody has settled: what is known of it, and who may say by message what it came to."""

    index: int
    dispatched: int
    title: str
    why: str
    executor: str
    webhook_id: str
    may: tuple[str, ...]


def doubt(incident: IncidentView) -> Doubt | None:
    by_index = {entry.index: entry for entry in incident.entries}
    settled = {entry.settles for entry in incident.entries}
    open_now = [e for e in incident.entries if e.stage == "UNRESOLVED" and e.index not in settled]
    for entry in open_now:
        sent = by_index.get(entry.settles if entry.settles is not None else -1)
        asked = by_index.get(entry.cites[0]) if entry.cites else None
        if sent is None or asked is None:
            continue
        may = asked.body.get("approvers")
        return Doubt(
            index=entry.index,
            dispatched=sent.index,
            title=plain(asked.body.get("title")),
            why=said(entry).rstrip("."),
            executor=plain(sent.body.get("executor")),
            webhook_id=plain(sent.body.get("webhook_id")),
            may=tuple(map(str, may)) if isinstance(may, list) else (),
        )
    return None


def _opened(last: Mapping[str, Entry], incident: IncidentView) -> Step:
    entry = last["DETECTED"]
    return Step("Policy decides", "done", f"policy {incident.policy_version}", entry.reason, entry.index)


def _explained(last: Mapping[str, Entry], incident: IncidentView) -> Step:
    name, entry = "AI explains", _newest(last, "CONSULTED", "DIAGNOSED", "UNDIAGNOSED")
    if entry is None:
        return Step(name, "none", "", "was not asked")
    if entry.stage == "CONSULTED":
        return Step(name, "waiting", plain(entry.body.get("model")), "is being asked", entry.index)
    if entry.stage == "UNDIAGNOSED":
        why = f"no diagnosis: {(plain(entry.body.get('outcome')) or said(entry)).replace('_', ' ')}"
        found = moved_first(case_of(last.get("CONSULTED")), incident.opened_at, MOVED_SHOWN)
        return Step(name, "none", "", "; ".join(filter(None, (why, found))), entry.index)
    return Step(name, "done", entry.actor, plain(entry.body.get("summary")) or said(entry), entry.index)


def _authorized(last: Mapping[str, Entry]) -> Step:
    name = "A human authorizes"
    entry = _newest(last, "PROPOSED", "AUTHORIZED", "REJECTED", "EXPIRED", "WITHDRAWN", "VOIDED")
    if entry is None:
        return Step(name, "none", "", "nothing was proposed")
    title = plain(last["PROPOSED"].body.get("title")) if "PROPOSED" in last else ""
    if entry.stage == "PROPOSED":
        who = plain(entry.body.get("approvers"))
        return Step(name, "waiting", who, f"{title or 'asked'}: {_needed(entry)}", entry.index)
    if entry.stage == "AUTHORIZED":
        return Step(
            name, "done", plain(entry.body.get("approved_by")) or entry.actor, title or said(entry), entry.index
        )
    return Step(name, "bad", entry.actor, f"{entry.stage.lower()}: {said(entry) or title}", entry.index)


def _needed(proposed: Entry) -> str:
    return f"waiting for {plain(proposed.body.get('quorum')) or 'one'} of them"


def _executed(last: Mapping[str, Entry]) -> Step:
    name = "The webhook executes"
    entry = _newest(last, "DISPATCHED", "EXECUTED", "FAILED", "UNRESOLVED", "WRITTEN_OFF")
    if entry is None:
        return Step(name, "none", "", "nothing was run")
    tone = {"DISPATCHED": "waiting", "EXECUTED": "done"}.get(entry.stage, "bad")
    text = plain(entry.body.get("output")) or said(entry) or entry.stage.lower().replace("_", " ")
    return Step(name, tone, entry.actor, text, entry.index)


def _ended(last: Mapping[str, Entry], incident: IncidentView) -> Step:
    entry = _newest(last, "RECOVERED", "CLOSED")
    if entry is not None:
        name = "Policy declares recovery" if entry.stage == "RECOVERED" else "Closed by hand"
        return Step(name, "done", entry.actor, said(entry), entry.index)
    looked = last.get("LOOKED")
    if looked is None or looked.incident_id != incident.id:
        return Step("Policy declares recovery", "waiting", "", "not yet")
    return Step("Policy declares recovery", "waiting", "policy", f"not yet: {said(looked)}", looked.index)


def _newest(last: Mapping[str, Entry], *stages: str) -> Entry | None:
    found = [last[stage] for stage in stages if stage in last]
    return max(found, key=lambda entry: entry.index, default=None)


def lasted(start: datetime, end: datetime) -> str:
    """A span in words: 4.2 s, 3 min 5 s, 2 h 10 min."""
    seconds = (end - start).total_seconds()
    if abs(seconds) < 60:
        return f"{seconds:.1f} s"
    minutes, left = divmod(round(abs(seconds)), 60)
    sign = "-" if seconds < 0 else ""
    return f"{sign}{minutes} min {left} s" if minutes < 60 else f"{sign}{minutes // 60} h {minutes % 60} min"
