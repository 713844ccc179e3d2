"""What one person is shown of the question that they were asked: for the page that their message leads to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ledger.entry import Entry
from policy_rules.readings import Alert
from receiver.authorization.absent import absent
from receiver.authorization.page import ALERTS_MAX, CLAIMS_MAX, HISTORY_MAX, LINE_UNITS, QuestionView
from receiver.authorization.wording import tidy
from receiver.governor import recalling, wording
from receiver.governor.desk import Desk
from receiver.governor.enrolling import locked
from receiver.governor.phrases import phrase
from receiver.governor.words import DECISIONS
from receiver.incident.drills import Drill
from receiver.incident.states import Incident, Proposal
from receiver.papers import Recipient

SHORT_UNITS = 120
DRILL_FACTS = ("finding", "diagnosis", "action", "risk", "expires")


class QuestionDesk:
    """What the page asks of a governor."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def view(self, index: int) -> QuestionView | None:
        """The question that the message `index` put, for the person it went to; None where they may not see it."""
        desk = self._desk
        await desk.level()
        book = await recalling.of_message(desk, index)
        message = book.messages.get(index)
        member = desk.charter.people.get(message.person) if message is not None else None
        if message is None or member is None or member.suspended:
            return None
        if message.drill is not None:
            return await self._drill(book.drills.known[message.drill], member.recipient)
        if message.proposal is None:
            return None
        proposal = book.proposals[message.proposal]
        incident = book.incidents[proposal.incident_id]
        entries = await desk.journal.entries(desk.tenant, incident=incident.id, limit=10_000)
        reader, alerts = member.recipient, desk.alerts_of(incident)
        open_ = proposal.open and incident.open and desk.now() < proposal.expires_at
        asked = open_ and message.person in proposal.body["approvers"] and message.person not in proposal.approvals
        return QuestionView(
            person=message.person,
            language=reader.language,
            reference=incident.id,
            title=tidy(wording.title(incident, reader.language), LINE_UNITS),
            summary=tidy(wording.summary(incident, reader.language), LINE_UNITS),
            facts=[(name, tidy(text, LINE_UNITS)) for name, text in _facts(incident, proposal, reader) if text],
            claims=[tidy(claim, LINE_UNITS) for claim in _claims(incident)][:CLAIMS_MAX],
            action=tidy(str(proposal.body["title"]), LINE_UNITS),
            risk=tidy(wording.risk(proposal.body), LINE_UNITS) or absent(reader.language)["risk"],
            alerts=[tidy(line, LINE_UNITS) for line in _alerts(alerts, reader)],
            history=[tidy(line, LINE_UNITS) for line in _history(entries, reader)],
            open=open_,
            asked=asked,
            locked=locked(desk, message.person),
        )

    async def _drill(self, drill: Drill, reader: Recipient) -> QuestionView:
        """The question about nothing: on its page, too, every line says that it is one."""
        desk = self._desk
        began = await desk.journal.get(desk.tenant, drill.index)
        by = began.actor.partition(":")[2] if began is not None else ""
        said = wording.drill(drill.id, by, drill.until, reader)
        open_ = drill.outcome is None and desk.now() < drill.until
        return QuestionView(
            person=drill.person,
            language=reader.language,
            reference=drill.id,
            title=tidy(said["incident"], LINE_UNITS),
            summary=tidy(said["summary"], LINE_UNITS),
            facts=[
                (name, tidy(said[name], LINE_UNITS)) for name in ("finding", "diagnosis", "action", "risk", "expires")
            ],
            claims=[],
            action=tidy(said["action"], LINE_UNITS),
            risk=tidy(said["risk"], LINE_UNITS),
            alerts=[],
            history=[],
            open=open_,
            asked=open_,
            locked=locked(desk, drill.person),
        )


def _facts(incident: Incident, proposal: Proposal, reader: Recipient) -> Iterator[tuple[str, str]]:
    body = proposal.body
    yield "finding", wording.finding(incident, reader.language)
    yield "state", phrase(reader.language, str(incident.state))
    yield "opened", wording.local(reader, incident.opened_at)
    yield "diagnosis", wording.diagnosis_line(incident, reader.language)
    if incident.diagnosis is not None:
        yield "falsified", str(incident.diagnosis.body.get("falsified_by", ""))
    yield "action", str(body["title"])
    yield "risk", wording.risk(body) or absent(reader.language)["risk"]
    yield "params", _pairs(body["params"])
    yield "expires", wording.local(reader, proposal.expires_at)
    yield "people", f"{body['quorum']}: {', '.join(body['approvers'])}"
    yield "approved", ", ".join(proposal.approvals)
    yield "digest", str(body["digest"])


def _claims(incident: Incident) -> list[str]:
    found: Any = incident.diagnosis.body.get("claims", ()) if incident.diagnosis is not None else ()
    return [str(claim.get("text", "")) for claim in found if isinstance(claim, Mapping)]


def _alerts(alerts: Sequence[Alert], reader: Recipient) -> Iterator[str]:
    for alert in sorted(alerts, key=lambda a: (not a.firing, a.starts_at))[:ALERTS_MAX]:
        key, since = "firing" if alert.firing else "resolved", wording.local(reader, alert.starts_at)
        yield phrase(reader.language, key, since=since, labels=_pairs(alert.labels))
    if len(alerts) > ALERTS_MAX:
        yield f"+ {len(alerts) - ALERTS_MAX}"


def _history(entries: Sequence[Entry], reader: Recipient) -> list[str]:
    lines = [
        f"{wording.local(reader, entry.timestamp)} {entry.stage} {entry.actor.partition(':')[2] or entry.actor}: "
        f"{tidy(entry.reason, SHORT_UNITS)} ({entry.index})"
        for entry in entries
        if entry.stage in DECISIONS
    ]
    return lines if len(lines) <= HISTORY_MAX else [lines[0], "…", *lines[-(HISTORY_MAX - 2) :]]


def _pairs(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(values.items()))
