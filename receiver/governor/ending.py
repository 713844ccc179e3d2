"""How incidents end: what is settled together with one, and the end of what a person asked for by hand."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ledger.entry import Draft
from policy_rules.rulebook import Rulebook
from receiver.governor.desk import Desk, by_policy
from receiver.governor.phrases import ENGLISH, kept, said
from receiver.incident.agenda import Due
from receiver.incident.states import Incident
from receiver.papers import Words, words


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


def closed(desk: Desk, incident: Incident, why: Words) -> Draft:
    """CLOSED by policy, of what a person asked for by hand."""
    ended = words("by hand, ended", by=incident.requested_by, why=why)
    text = said(ENGLISH, ended)
    return by_policy(
        desk.policy_or_in_force(incident.policy_digest),
        id=f"close:{incident.index}",
        stage="CLOSED",
        incident_id=incident.id,
        decision="close",
        reason=text[:500],
        settles=incident.index,
        body={"text": text[:2000], "requested_by": incident.requested_by, "said": kept(ended)},
    )


def _came_to(incident: Incident) -> Words:
    last = incident.last
    if last is None:
        return words("was not asked")
    if last.verified == "UNCONFIRMED":
        return words("no recovery")
    if last.result is not None:
        results = {
            "VOIDED": "became void",
            "WRITTEN_OFF": "never known",
            "FAILED": "it failed" if last.ran else "did not run",
        }
        return words(results.get(last.result, "it ran"))
    if last.outcome in ("EXPIRED", "WITHDRAWN"):
        return words("not in time" if last.outcome == "EXPIRED" else "was withdrawn")
    return words("rejected by", by=last.decided_by) if last.decided_by else words("rejected")
