"""AI explains: Claude is asked with a case file, in parallel with everything else, and nothing waits for long."""

from __future__ import annotations

from datetime import timedelta

from ledger.entry import Blob, Draft
from receiver.governor.casework import case_body, case_file, item
from receiver.governor.desk import Desk, stamp
from receiver.governor.kept import case_bytes, exhibits_text
from receiver.incident.agenda import CONSULT_SECONDS, Due
from receiver.incident.states import Incident
from receiver.papers import Diagnosis, NoDiagnosis

ASKED_SHOWN_MAX = 20


async def consult(desk: Desk, due: Due) -> None:
    """CONSULTED with what was gathered, then DIAGNOSED or UNDIAGNOSED.

    Crash while it is gathered: nothing stands, and it is gathered again. Crash after CONSULTED: settled at `until` by
    the agenda.
    """
    incident = desk.book.by_index[due.subject]
    number = len(incident.consultations)
    began = desk.clock.monotonic()
    case = await case_file(desk, incident)
    took = timedelta(seconds=desk.clock.monotonic() - began)
    async with desk.deciding():
        if not incident.open or len(incident.consultations) != number:
            return
        until = desk.now() + timedelta(seconds=CONSULT_SECONDS)
        receipt = await desk.post(
            Draft(
                id=f"consult:{incident.id}:{number}",
                stage="CONSULTED",
                actor="system",
                incident_id=incident.id,
                reason=f"{desk.model or 'no model'} is asked{' again: an action did not help' if number else ''}",
                cites=(incident.index,),
                body={"until": stamp(until), "model": desk.model, "case": case_body(case, took)},
                blobs=(Blob("case", case_bytes(case)),),
            )
        )
    if receipt.duplicate:
        return
    answer = await desk.diagnostician.diagnose(case, timeout_seconds=CONSULT_SECONDS - 5)
    await settle(desk, incident, receipt.entries[0].index, answer)


async def give_up(desk: Desk, due: Due) -> None:
    incident, _ = desk.book.consultations[due.subject]
    await settle(desk, incident, due.subject, NoDiagnosis("timeout", "no answer before the deadline"))


async def settle(desk: Desk, incident: Incident, consulted: int, answer: Diagnosis | NoDiagnosis) -> None:
    usage = answer.usage
    texts = (("prompt", answer.prompt), ("answer", answer.answer), ("asked", exhibits_text(answer.asked)))
    blobs = tuple(Blob(name, text.encode()) for name, text in texts if text)
    common = {
        "usage": {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cache_creation_tokens": usage.cache_creation_tokens,
            "cache_read_tokens": usage.cache_read_tokens,
            "cost_usd": usage.cost_usd,
        },
        "duration_ms": int(answer.duration_seconds * 1000),
        "asked": [item(exhibit, {}) for exhibit in answer.asked[:ASKED_SHOWN_MAX]],
        "redacted": dict(answer.redacted),
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
