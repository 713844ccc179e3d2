"""AI explains: Claude is asked with a case file, in parallel with everything else, and nothing waits for long."""

from __future__ import annotations

from datetime import timedelta

from ledger.entry import Blob, Draft
from policy_rules.readings import Reading
from receiver.governor.desk import Desk, stamp
from receiver.governor.watching import LOOK_TIMEOUT_SECONDS, ask
from receiver.incident.agenda import CONSULT_SECONDS, Due
from receiver.incident.states import Incident
from receiver.papers import CaseFile, Diagnosis, Exhibit, NoDiagnosis

ALERTS_SHOWN_MAX = 20


async def consult(desk: Desk, due: Due) -> None:
    """CONSULTED, then DIAGNOSED or UNDIAGNOSED. A crash between them is settled at `until` by the agenda."""
    incident = desk.book.by_index[due.subject]
    until = desk.now() + timedelta(seconds=CONSULT_SECONDS)
    number = len(incident.consultations)
    receipt = await desk.post(
        Draft(
            id=f"consult:{incident.id}:{number}",
            stage="CONSULTED",
            actor="system",
            incident_id=incident.id,
            reason=f"{desk.model or 'no model'} is asked",
            cites=(incident.index,),
            body={"until": stamp(until), "model": desk.model},
        )
    )
    if receipt.duplicate:
        return
    case = await case_file(desk, incident)
    answer = await desk.diagnostician.diagnose(case, timeout_seconds=CONSULT_SECONDS - 5)
    await settle(desk, incident, receipt.entries[0].index, answer)


async def give_up(desk: Desk, due: Due) -> None:
    incident, _ = desk.book.consultations[due.subject]
    await settle(desk, incident, due.subject, NoDiagnosis("timeout", "no answer before the deadline"))


async def settle(desk: Desk, incident: Incident, consulted: int, answer: Diagnosis | NoDiagnosis) -> None:
    usage = answer.usage
    blobs = tuple(Blob(n, t.encode()) for n, t in (("prompt", answer.prompt), ("answer", answer.answer)) if t)
    common = {
        "usage": {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cache_creation_tokens": usage.cache_creation_tokens,
            "cache_read_tokens": usage.cache_read_tokens,
            "cost_usd": usage.cost_usd,
        },
        "duration_ms": int(answer.duration_seconds * 1000),
    }
    if isinstance(answer, NoDiagnosis):
        draft = Draft(
            id=f"diagnose:{consulted}",
            stage="UNDIAGNOSED",
            actor="system",
            incident_id=incident.id,
            decision=answer.outcome,
            reason=f"no diagnosis: {answer.detail or answer.outcome}"[:500],
            settles=consulted,
            body={"outcome": answer.outcome, "detail": answer.detail[:500], **common},
            blobs=blobs,
        )
    else:
        draft = Draft(
            id=f"diagnose:{consulted}",
            stage="DIAGNOSED",
            actor="claude",
            incident_id=incident.id,
            decision=answer.recommended_action or "none",
            reason=answer.summary[:500],
            confidence=answer.confidence,
            settles=consulted,
            body={
                "summary": answer.summary,
                "likely_cause": answer.likely_cause,
                "claims": [{"text": claim.text, "refs": list(claim.refs)} for claim in answer.claims],
                "recommended_action": answer.recommended_action,
                "falsified_by": answer.falsified_by,
                "dropped_claims": answer.dropped_claims,
                "model": answer.model,
                "request_id": answer.request_id,
                **common,
            },
            blobs=blobs,
        )
    await desk.post(draft)


async def case_file(desk: Desk, incident: Incident) -> CaseFile:
    """All that Claude may know: the alerts, what policy read, and the actions that the configuration names."""
    rulebook = desk.policy(incident.policy_digest)
    rule = rulebook.rule(incident.rule)
    readings = await ask(desk, rulebook, rule, incident.key, LOOK_TIMEOUT_SECONDS)
    alerts = sorted(desk.alerts_of(incident), key=lambda alert: alert.starts_at)
    first = alerts[0] if alerts else None
    return CaseFile(
        tenant=desk.tenant,
        incident_id=incident.id,
        rule=rule.name,
        summary=incident.summary,
        opened_at=incident.opened_at,
        labels=dict(first.labels) if first else {},
        annotations=dict(first.annotations) if first else {},
        alerts=tuple(
            {"labels": dict(a.labels), "firing": a.firing, "starts_at": stamp(a.starts_at)}
            for a in alerts[:ALERTS_SHOWN_MAX]
        ),
        exhibits=(
            Exhibit("q1", "what policy found", "", incident.opened_at, {"now": incident.reason}),
            *(exhibit(number + 2, reading) for number, reading in enumerate(readings)),
        ),
        actions={name: action.title for name, action in rule.actions.items()},
    )


def exhibit(number: int, reading: Reading) -> Exhibit:
    value = reading.value if reading.value is not None else f"unknown ({reading.state.value})"
    return Exhibit(f"q{number}", reading.name, reading.promql, reading.sampled_at or reading.asked_at, {"now": value})
