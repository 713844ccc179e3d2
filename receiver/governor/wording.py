"""What the governor says to people, in plain text. The carrier cleans, shortens and dresses it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta

from ledger.checkpoint import WITNESSED_DIGITS
from policy_rules.approval import Levels, levels_of
from receiver.incident.states import Incident, Proposal


def headline(incident: Incident) -> str:
    """One line that says what is wrong: "HighErrorRate service=checkout: error_ratio 0.31 >= 0.05."."""
    finding = incident.reason.partition(": ")[2] or incident.reason
    return f"{incident.title}: {finding}."


def diagnosis_line(incident: Incident) -> str:
    """Claude's words, or in plain sight why there are none."""
    diagnosis = incident.diagnosis
    if diagnosis is not None:
        sure = f" (model's own confidence {diagnosis.confidence})" if diagnosis.confidence else ""
        return f"{diagnosis.body['summary']}{sure}"
    last = incident.consultations[-1] if incident.consultations else None
    if last is not None and last.outcome == "UNDIAGNOSED":
        return f"no diagnosis: {str(last.body['outcome']).replace('_', ' ')}"
    return "no diagnosis yet: it is still being made"


def with_quorum(title: str, quorum: int, levels: Sequence[Levels]) -> str:
    """The action as it is shown, and how many must approve it, where one is not enough."""
    if quorum == 1:
        return title
    of = "".join(f", {level.second_quorum} of them of {', '.join(sorted(level.second))}" for level in levels)
    return f"{title} ({quorum} people must approve{of})"


def still_missing(proposal: Proposal, approved: Collection[str]) -> str:
    """Who must approve beside `approved`; empty where they are enough."""
    missing = int(proposal.body["quorum"]) - len(approved)
    if missing > 0:
        return f"{missing} more of {', '.join(proposal.body['approvers'])} must approve."
    for level in levels_of(proposal.body):
        for quorum, who in ((level.quorum, level.first), (level.second_quorum, level.second)):
            if len(who & set(approved)) < quorum:
                return f"Of {', '.join(sorted(who))} {quorum} must approve."
    return ""


def opened(incident: Incident, title: str, risk: str, expires: str) -> dict[str, str]:
    """The variables of the message that asks for a decision; the code is added when it is sent."""
    return {
        "incident": incident.title,
        "summary": incident.summary,
        "finding": incident.reason.partition(": ")[2] or incident.reason,
        "diagnosis": diagnosis_line(incident),
        "action": title,
        "risk": risk,
        "expires": expires,
        "reference": incident.id,
    }


def reminder(incident: Incident, open_for: timedelta) -> str:
    """What is said every half hour of an open incident; of one in doubt, what is asked of people."""
    last = incident.last
    text = f"Still open for {span(open_for)}: {headline(incident)}"
    if last is not None and last.in_suspense:
        text += f" {last.body['title']}: it is not known whether it ran. A person must look, and say so."
    return text


def news(incident: Incident, proposal: Proposal | None, stage: str, actor: str, reason: str) -> str:
    """What became of it, for everyone who was asked. proposal: the one that the news is about, if it is about one."""
    action = str(proposal.body["title"]) if proposal is not None else "the action"
    who = actor.partition(":")[2] or actor
    by = proposal.decided_by if proposal is not None and proposal.decided_by else who
    text = {
        "DISPATCHED": f"{action}: already approved by {by}, it runs now. Policy will say whether it helped.",
        "REJECTED": f"{action}: already rejected by {by}. Nothing runs. Policy keeps watching.",
        "EXPIRED": f"{action}: nobody decided in time. Nothing ran.",
        "WITHDRAWN": f"{action}: the question is withdrawn ({reason}). Nothing runs.",
        "VOIDED": f"{action}: the authorization is void ({reason}). Nothing runs.",
        "FAILED": f"{action}: it failed ({reason}).",
        "UNRESOLVED": f"{action}: it is not known whether it ran ({reason}). A person must look, and say so.",
        "UNCONFIRMED": f"{action}: it ran, and the service did not recover in time.",
        "RECOVERED": f"Recovered, says policy: {reason}",
        "CLOSED": f"Closed by {who}: {reason}",
        "DIAGNOSED": f"Claude thinks: {diagnosis_line(incident)}",
        "GONE": f"Its alerts are gone from Alertmanager and no resolved came. If it is over, close {incident.id}.",
    }[stage]
    return f"{incident.title}: {text}"


def witnessed(incident_id: str, index: int, root: bytes) -> str:
    """The reference of a message that tells of a decision: "inc-7f3a9c0012, ledger 124:9f3c21ab".

    root: of the tree that ends with the entry `index`. Whoever gets the message is a witness of the log up to there;
    `counterfoil ledger verify --witnessed 124:9f3c21ab` asks.
    """
    return f"{incident_id}, ledger {index}:{root.hex()[:WITNESSED_DIGITS]}"


def span(length: timedelta) -> str:
    """A duration as people say it: "45 s", "12 min", "3 h 5 min"."""
    seconds = int(length.total_seconds())
    if seconds < 120:
        return f"{seconds} s"
    minutes = seconds // 60
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
