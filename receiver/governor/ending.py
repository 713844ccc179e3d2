"""How incidents end: what is settled together with one, and the end of what a person asked for by hand."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ledger.entry import Draft
from policy_rules.rulebook import Rulebook
from receiver.governor.desk import Desk, by_policy
from receiver.incident.agenda import Due
from receiver.incident.states import Incident


def last_look(desk: Desk, incident: Incident) -> Mapping[str, Any]:
    """What policy said of the incident at its last look, on which readings; nothing where none was since a start."""
    decided = desk.decided.get(incident.index)
    return {"verdict": decided.to_body()} if decided is not None else {}


def closing_drafts(desk: Desk, incident: Incident, rulebook: Rulebook, reason: str, *, confirmed: bool) -> list[Draft]:
    """What must be settled together with the end of an incident: question, authorization, verifications."""
    drafts: list[Draft] = []
    last = incident.last

    def settle(stage: str, id: str, settles: int, body: Mapping[str, Any] = MappingProxyType({})) -> None:
        drafts.append(
            by_policy(
                rulebook, id=id, stage=stage, incident_id=incident.id, reason=reason, settles=settles, body=dict(body)
            )
        )

    if last is not None and last.open:
        settle("WITHDRAWN", f"withdraw:{last.index}", last.index)
    if last is not None and last.authorized and last.authorization is not None:
        settle("VOIDED", f"void:{last.index}", last.authorization)
    for proposal in incident.proposals:
        if proposal.verifying and proposal.result_index is not None:
            stage = "CONFIRMED" if confirmed else "WAIVED"
            settle(stage, f"confirm:{proposal.result_index}", proposal.result_index, last_look(desk, incident))
    return drafts


async def close(desk: Desk, due: Due) -> None:
    """What was asked for by hand is over: nobody is asked again for it."""
    incident = desk.book.by_index[due.subject]
    last = incident.last
    async with desk.deciding():
        if incident.open and last is not None and not last.live and not last.verifying:
            await desk.post(closed(desk, incident, _came_to(incident)))


def closed(desk: Desk, incident: Incident, why: str) -> Draft:
    """CLOSED by policy, of what a person asked for by hand."""
    text = f"{incident.requested_by} asked for it by hand: {why}"
    return by_policy(
        desk.policy_or_in_force(incident.policy_digest),
        id=f"close:{incident.index}",
        stage="CLOSED",
        incident_id=incident.id,
        decision="close",
        reason=text[:500],
        settles=incident.index,
        body={"text": text[:2000], "requested_by": incident.requested_by},
    )


def _came_to(incident: Incident) -> str:
    last = incident.last
    if last is None:
        return "it was not asked"
    by = f" by {last.decided_by}" if last.decided_by and last.outcome == "REJECTED" else ""
    if last.verified == "UNCONFIRMED":
        return "it ran, and what the rule calls recovered did not come in time"
    if last.result is not None:
        return {
            "FAILED": "it failed" if last.ran else "it did not run",
            "VOIDED": "its authorization became void",
            "WRITTEN_OFF": "it was never known whether it ran",
        }.get(last.result, last.result.lower())
    return {"EXPIRED": "nobody decided in time", "WITHDRAWN": "the question was withdrawn"}.get(
        last.outcome or "", f"rejected{by}"
    )
