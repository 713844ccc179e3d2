"""What is muted is said later: that it is, and why, stands in the ledger at once."""

from __future__ import annotations

from ledger.entry import Draft
from policy_rules.muting import may_tell
from policy_rules.verdict import Outcome
from receiver.governor.desk import Desk
from receiver.incident.agenda import Due


async def mute(desk: Desk, due: Due) -> None:
    """NOTED: nobody is told of the incident for now. Once for each time that something would have been said."""
    incident = desk.book.by_index[due.subject]
    rulebook, now = desk.policy(incident.policy_digest), desk.now()
    may = may_tell(rulebook, desk.charter.rulebook, desk.alerts_of(incident), now)
    if may.outcome is Outcome.PERMIT:
        return
    await desk.post(
        Draft(
            id=f"mute:{incident.id}:{incident.mutes}",
            stage="NOTED",
            actor="system",
            incident_id=incident.id,
            decision="mute",
            reason=may.reason,
            policy_version=rulebook.version,
            policy_digest=rulebook.digest,
            cites=(incident.index,),
            body={"kind": "muted", "text": may.reason, "verdict": desk.basis(now).under(may.to_body())},
        )
    )
