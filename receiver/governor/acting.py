"""The webhook executes: authorized, dispatched, sent at most once, settled, verified."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from ledger.entry import Back, Draft
from policy_rules import permission, recovery
from policy_rules.permission import Permission
from policy_rules.readings import Reading
from policy_rules.verdict import Outcome
from receiver.governor import polling
from receiver.governor.desk import Desk, by_policy, incident_of, stamp
from receiver.governor.ending import last_look
from receiver.governor.phrases import ENGLISH, kept, of_policy, said
from receiver.governor.proving import proof_of
from receiver.governor.watching import ask
from receiver.incident.agenda import Due
from receiver.incident.basis import Decided
from receiver.incident.states import Incident, Proposal
from receiver.papers import ExecutionOutcome, ExecutionResult, RenderedRequest, Words, words

RECHECK_SECONDS = 1.0  # one query of this length at the tap
FRESH_SECONDS = 15.0  # or an answer that is at most so old
HALTED_AGAIN_SECONDS = 2.0
RETRY_SECONDS = (1.0, 2.0, 4.0, 8.0)


async def authorize(desk: Desk, due: Due) -> None:
    """The quorum is met: policy checks again, then AUTHORIZED, with DISPATCHED in the same post where both may be."""
    proposal = desk.book.proposals[due.subject]
    incident = incident_of(desk, proposal)
    readings = await fresh_readings(desk, incident, proposal)
    async with desk.deciding():
        if not proposal.open or not incident.open or not desk.may_act() or _outdated(desk, proposal, readings):
            return
        service, now = fresh_verdict(desk, incident, readings), desk.now()
        # A halt stops dispatch, not people: what they decided stands, and waits for RESUME or for its deadline.
        permitted = check(desk, permission.may_authorize, proposal, incident, service, now, halted=False)
        if permitted.outcome is not Outcome.PERMIT:
            await _decide(desk, proposal, "WITHDRAWN", of_policy(permitted.said()), permitted.reason)
            return
        if desk.charter.observe:
            await _decide(desk, proposal, "WITHDRAWN", words("only observed"))
            return
        authorized = authorized_draft(desk, proposal, incident, service, permitted, now)
        dispatched = dispatch_draft(desk, proposal, incident, service, Back(0))
        drafts = [authorized] if dispatched is None else [authorized, dispatched]
        if dispatched is not None:
            # Before the post: whoever folds it knows at once that this process has not sent it yet, also where the
            # answer of the post is lost.
            desk.mine.add(proposal.index)
        # Crash here: nothing stands, or both do. DISPATCHED without an outcome is asked again under the same
        # webhook-id where the action is idempotent, and is UNRESOLVED where it is not.
        await desk.post(*drafts)


def _outdated(desk: Desk, proposal: Proposal, readings: Sequence[Reading]) -> bool:
    """Whether something came while Prometheus was asked, or others decided, so that the step is planned anew.

    Another policy: the agenda withdraws the question, or voids what stands. Time: the readings are not fresh any more.
    """
    oldest = min((reading.asked_at for reading in readings), default=None)
    late = oldest is not None and desk.clock.now() - oldest > timedelta(seconds=FRESH_SECONDS + RECHECK_SECONDS)
    return late or proposal.body["in_force"] != desk.charter.rulebook.digest


def authorized_draft(
    desk: Desk, proposal: Proposal, incident: Incident, service: Decided, permitted: Permission, now: datetime
) -> Draft:
    """AUTHORIZED by whoever completed the quorum, with policy's words and the diagnosis that stood beside it."""
    diagnosis = incident.diagnosis
    cites = tuple(proposal.approvals.values())
    if diagnosis is not None and diagnosis.outcome_index is not None:
        cites += (diagnosis.outcome_index,)
    rulebook = desk.policy(incident.policy_digest)
    return Draft(
        id=f"authorize:{proposal.index}",
        stage="AUTHORIZED",
        actor=f"engineer:{completed_by(proposal, permitted)}",
        incident_id=incident.id,
        decision="approve",
        reason=f"{incident.reason}; {proposal.body['title']}"[:500],
        confidence=diagnosis.confidence if diagnosis is not None else None,
        policy_version=rulebook.version,
        policy_digest=rulebook.digest,
        settles=proposal.index,
        cites=cites,
        body={
            "proposal": proposal.index,
            "quorum": proposal.body["quorum"],
            "approved_by": sorted(proposal.approvals),
            "digest": proposal.body["digest"],
            "webhook_id": proposal.body["webhook_id"],
            "verdict": desk.basis(now).under(permitted.to_body()),
            "service": service.to_body(),
        },
    )


def completed_by(proposal: Proposal, permitted: Permission) -> str:
    """Whose answer completed the quorum, among those whose approval counts. More may have answered meanwhile."""
    counted = [p for p in sorted(proposal.approvals, key=proposal.approvals.__getitem__) if p in permitted.approvers]
    least = max(int(proposal.body["quorum"]), permitted.quorum)
    enough = (n for n in range(least, len(counted)) if all(level.met(counted[:n]) for level in permitted.levels))
    return counted[next(enough, len(counted)) - 1]


def dispatch_draft(
    desk: Desk, proposal: Proposal, incident: Incident, service: Decided, settles: int | Back
) -> Draft | None:
    """DISPATCHED, or None while policy, a halt, the clock or the anchor forbids it."""
    now = desk.now()
    permitted = check(desk, permission.may_dispatch, proposal, incident, service, now, halted=desk.book.halted())
    if permitted.outcome is not Outcome.PERMIT or not desk.may_act():
        return None
    until = now + timedelta(seconds=int(proposal.body["execute_within_seconds"]))
    return by_policy(
        desk.policy(incident.policy_digest),
        id=f"dispatch:{proposal.index}",
        stage="DISPATCHED",
        incident_id=incident.id,
        decision="dispatch",
        reason=f"{proposal.body['title']} by {proposal.body['executor']}"[:500],
        settles=settles,
        cites=(proposal.index,),
        body={
            "digest": proposal.body["digest"],
            "webhook_id": proposal.body["webhook_id"],
            "executor": proposal.body["executor"],
            "until": stamp(until),
            "verdict": desk.basis(now).under(permitted.to_body()),
            "service": service.to_body(),
        },
    )


def check(
    desk: Desk,
    question: permission.LateQuestion,
    proposal: Proposal,
    incident: Incident,
    service: Decided,
    now: datetime,
    *,
    halted: bool,
) -> Permission:
    """Ask policy once more, the incident's and the one in force, at the tap or right before dispatch."""
    return question(
        desk.policy(incident.policy_digest),
        desk.charter.rulebook,
        incident.rule,
        proposal.body["action"],
        dict(incident.key),
        desk.alerts_of(incident),
        desk.persons(),
        tuple(proposal.approvals),
        int(proposal.body["quorum"]),
        desk.past_runs(),
        halted,
        service.verdict,
        now,
        service.basis.readings,
        str(proposal.body.get("requested_by", "")),
    )


async def fresh_readings(desk: Desk, incident: Incident, proposal: Proposal) -> tuple[Reading, ...]:
    """What Prometheus says of the service: readings of the last 15 s, or one query of 1 s."""
    rulebook = desk.policy(incident.policy_digest)
    rule, action = rulebook.rule(incident.rule), str(proposal.body["action"])
    more = permission.may_ask(rulebook, desk.charter.rulebook, rule.name, action, dict(incident.key))
    return await ask(desk, rulebook, rule, incident.key, RECHECK_SECONDS, FRESH_SECONDS, more)


def fresh_verdict(desk: Desk, incident: Incident, readings: Sequence[Reading]) -> Decided:
    """Whether the service is still broken, on the book as it is now."""
    rulebook = desk.policy(incident.policy_digest)
    rule = rulebook.rule(incident.rule)
    memory = desk.memories.get(incident.index, incident.memory)
    alerts, now = desk.alerts_of(incident), desk.now()
    verdict = recovery.should_recover(rulebook, rule, alerts, readings, now, memory)
    return Decided(verdict, desk.basis(now, memory, readings))


async def dispatch(desk: Desk, due: Due) -> None:
    """An authorization that could not be dispatched in the same post: a halt stood, or the clock was in doubt."""
    proposal = desk.book.authorizations[due.subject]
    incident = incident_of(desk, proposal)
    readings = await fresh_readings(desk, incident, proposal)
    async with desk.deciding():
        if not proposal.authorized or not incident.open or _outdated(desk, proposal, readings):
            return
        service = fresh_verdict(desk, incident, readings)
        draft = dispatch_draft(desk, proposal, incident, service, due.subject)
        if draft is None or desk.charter.observe:
            desk.defer(due.name, HALTED_AGAIN_SECONDS)
            return
        desk.mine.add(proposal.index)
        await desk.post(draft)


async def execute(desk: Desk, due: Due) -> None:
    """One attempt at an outstanding execution. Law 4: at most once unless the action is declared idempotent."""
    proposal = desk.book.executions[due.subject]
    idempotent = bool(proposal.body["idempotent"])
    until = proposal.execute_until
    if due.subject in desk.answered:
        await _book_answer(desk, proposal)
        return
    if until is None or desk.now() >= until:
        return
    if due.subject in desk.accepted:
        desk.deferred[due.name] = until
        return
    if proposal.index not in desk.mine and not idempotent and proposal.taken is None:
        await unresolved(desk, proposal, words("stopped between"))
        return
    raw = await desk.journal.blob(desk.tenant, proposal.request_digest)
    request = RenderedRequest(**json.loads(raw or b"{}"))
    if request.digest != proposal.body["digest"]:
        await failed_by_us(desk, proposal, words("another request"))
        return
    if proposal.taken is not None:
        told = await polling.ask(desk, due, proposal, request)
        if told is not None and proposal.executing:
            desk.answered[due.subject] = (told, True)
            await _book_answer(desk, proposal)
        return
    # Law 3: whoever asks for the proof of an authorization gets it, or nothing is sent.
    proof = await proof_of(desk, proposal.authorization or 0) if request.proof else None
    # Law 5: an entry stands before its anchor is written, and what is sent waits for that.
    if (request.proof and proof is None) or not await desk.journal.anchored(desk.tenant, due.subject):
        desk.defer(due.name, HALTED_AGAIN_SECONDS)
        return
    await desk.level()
    # From here to the request nothing is awaited: a halt that was answered before is seen, and so is a result.
    if not proposal.executing or desk.now() >= until:
        return
    if desk.book.halted() or not desk.may_act():
        desk.defer(due.name, HALTED_AGAIN_SECONDS)
        return
    fresh = proposal.index in desk.mine
    desk.mine.discard(proposal.index)
    more = {} if proof is None else {"proof": proof}
    result = await desk.executors.send(request, webhook_id=proposal.body["webhook_id"], deadline=until, **more)
    if result.outcome is ExecutionOutcome.ACCEPTED and result.poll is None:
        desk.accepted.add(due.subject)
        desk.deferred[due.name] = until
    elif result.outcome is ExecutionOutcome.NOT_SENT or (result.outcome is ExecutionOutcome.UNKNOWN and idempotent):
        if fresh and result.outcome is ExecutionOutcome.NOT_SENT:
            desk.mine.add(proposal.index)
        number = desk.attempts.get(due.subject, 0)
        desk.attempts[due.subject] = number + 1
        wait = result.retry_after_seconds or RETRY_SECONDS[min(number, len(RETRY_SECONDS) - 1)]
        desk.defer(due.name, wait)
    else:
        # Until it is booked it is known to this process alone: a ledger that is full for a moment must not lose it.
        desk.answered[due.subject] = (result, fresh)
        await _book_answer(desk, proposal)


async def _book_answer(desk: Desk, proposal: Proposal) -> None:
    """What the one attempt came to: EXECUTED or FAILED by the executor or by us, or a doubt."""
    index = proposal.dispatched if proposal.dispatched is not None else -1
    result, fresh = desk.answered[index]
    if result.outcome is ExecutionOutcome.ACCEPTED:
        raw = await desk.journal.blob(desk.tenant, proposal.request_digest)
        await polling.note_taken(desk, proposal, RenderedRequest(**json.loads(raw or b"{}")), result)
    elif result.outcome is ExecutionOutcome.UNKNOWN or (result.http_status is None and not fresh):
        # Without a status nobody answered this attempt, and one before it may have reached the executor.
        await unresolved(desk, proposal, result.said, result.detail)
    elif result.http_status is None:
        await failed_by_us(desk, proposal, result.said, result.detail)
    else:
        await settle(desk, proposal, result, f"executor:{proposal.body['executor']}")
    del desk.answered[index]


async def settle(
    desk: Desk, proposal: Proposal, result: ExecutionResult, actor: str, text: str = "", *, ran: bool = True
) -> bool:
    """EXECUTED or FAILED, by whoever knows. False where nothing is outstanding any more.

    ran: False where it is certain that the action never began: then nothing was tried, and it may be proposed again.
    """
    async with desk.deciding():
        drafts = result_drafts(desk, proposal, result, actor, text, ran=ran)
        if drafts:
            await desk.post(*drafts)
        return bool(drafts)


def result_drafts(
    desk: Desk, proposal: Proposal, result: ExecutionResult, actor: str, text: str, *, ran: bool
) -> list[Draft]:
    """What settles the execution of `proposal`, or the doubt about it; nothing where neither is outstanding."""
    if proposal.executing:
        settles, id = proposal.dispatched, f"result:{proposal.dispatched}"
    elif proposal.in_suspense:
        settles, id = proposal.result_index, f"settle:{proposal.result_index}"
    else:
        return []
    executed = result.outcome is ExecutionOutcome.EXECUTED
    incident = incident_of(desk, proposal)
    now = desk.now()
    verify_until = now + timedelta(seconds=int(proposal.body["verify_within_seconds"]))
    draft = Draft(
        id=id,
        stage="EXECUTED" if executed else "FAILED",
        actor=actor,
        incident_id=incident.id,
        decision="executed" if executed else "failed",
        reason=(text or result.detail)[:500],
        settles=settles,
        cites=(proposal.index,),
        body={
            "http_status": result.http_status,
            "output": result.output[:2000],
            "detail": result.detail[:500],
            "attempts": desk.attempts.get(proposal.dispatched or -1, 0) + 1,
            "ran": ran,
            "verify_until": stamp(verify_until),
            **saying(result.said),
        },
    )
    drafts = [draft]
    if executed and not incident.open:
        # The incident is over: there is nothing left to verify, and the books must still balance.
        stage = "CONFIRMED" if incident.closed == "RECOVERED" else "WAIVED"
        drafts.append(
            by_policy(
                desk.policy_or_in_force(incident.policy_digest),
                id=f"confirm:{id}",
                stage=stage,
                incident_id=incident.id,
                reason=f"the incident had ended as {incident.closed}",
                settles=Back(0),
                body={"late": True},
            )
        )
    return drafts


async def unresolved(desk: Desk, proposal: Proposal, why: Words | None, detail: str = "") -> None:
    """It is not known whether it ran. It is never repeated by itself: a person settles it.

    detail: in the words of the executor's office, where it has them.
    """
    reason = detail or (said(ENGLISH, why) if why is not None else "")
    await desk.post(
        Draft(
            id=f"result:{proposal.dispatched}",
            stage="UNRESOLVED",
            actor="system",
            incident_id=proposal.incident_id,
            decision="unresolved",
            reason=reason[:500],
            settles=proposal.dispatched,
            cites=(proposal.index,),
            body={"http_status": None, "output": "", "detail": reason[:500], "attempts": 1} | saying(why),
        )
    )


def saying(why: Words | None) -> dict[str, Any]:
    return {} if why is None else {"said": kept(why)}


async def failed_by_us(desk: Desk, proposal: Proposal, why: Words | None, detail: str = "") -> None:
    reason = detail or (said(ENGLISH, why) if why is not None else "")
    result = ExecutionResult(ExecutionOutcome.FAILED, reason, said=why)
    await settle(desk, proposal, result, "system", ran=False)


async def overdue(desk: Desk, due: Due) -> None:
    """The deadline of an execution: UNRESOLVED, or FAILED where it is certain that no byte ever left."""
    proposal = desk.book.executions[due.subject]
    if due.subject in desk.answered:
        await _book_answer(desk, proposal)
    elif proposal.index in desk.mine:
        await failed_by_us(desk, proposal, words("never sent"))
    else:
        await unresolved(desk, proposal, words("no result"))


async def unconfirm(desk: Desk, due: Due) -> None:
    proposal = desk.book.verifications[due.subject]
    incident = incident_of(desk, proposal)
    within = proposal.body["verify_within_seconds"]
    await desk.post(
        by_policy(
            desk.policy_or_in_force(incident.policy_digest),
            id=f"confirm:{due.subject}",
            stage="UNCONFIRMED",
            incident_id=incident.id,
            decision="unconfirmed",
            reason=f"the service did not recover within {within} s of the action",
            settles=due.subject,
            body={"within_seconds": within, **last_look(desk, incident)},
        )
    )


async def reject(desk: Desk, due: Due) -> None:
    """A DECLINED whose REJECTED is missing cannot be (they are one post); an older ledger may still hold one."""
    await _decide(desk, desk.book.proposals[due.subject], "REJECTED", words("declined"))


async def withdraw(desk: Desk, due: Due) -> None:
    proposal = desk.book.proposals[due.subject]
    suspended = sorted(set(proposal.body["approvers"]) & set(desk.book.enrolled.suspended))
    why = words("may not answer", names=", ".join(suspended)) if suspended else _outrun(desk, proposal)
    await _decide(desk, proposal, "WITHDRAWN", why)


async def expire(desk: Desk, due: Due) -> None:
    await _decide(desk, desk.book.proposals[due.subject], "EXPIRED", words("not in time"))


async def void(desk: Desk, due: Due) -> None:
    proposal = desk.book.authorizations[due.subject]
    late = desk.now() > proposal.authorize_until
    why = words("not dispatched") if late else _outrun(desk, proposal)
    await desk.post(
        by_policy(
            desk.charter.rulebook,
            id=f"void:{proposal.index}",
            stage="VOIDED",
            incident_id=proposal.incident_id,
            decision="void",
            reason=said(ENGLISH, why),
            settles=due.subject,
            body={"said": kept(why)},
        )
    )


def _outrun(desk: Desk, proposal: Proposal) -> Words:
    """Why a question that is neither answered nor over does not count any more."""
    if proposal.body["in_force"] != desk.charter.rulebook.digest:
        return words("other policy")
    incident = incident_of(desk, proposal)
    other = desk.book.open_incident(incident.rule, incident.key)
    return words("alert asks", id=other.id) if other is not None else words("over")


async def _decide(desk: Desk, proposal: Proposal, stage: str, why: Words, reason: str = "") -> None:
    """reason: in the words of policy, where it has them."""
    verb = {"REJECTED": "reject", "WITHDRAWN": "withdraw", "EXPIRED": "expire"}[stage]
    await desk.post(
        by_policy(
            desk.charter.rulebook,
            id=f"{verb}:{proposal.index}",
            stage=stage,
            incident_id=proposal.incident_id,
            decision=verb,
            reason=(reason or said(ENGLISH, why))[:500],
            settles=proposal.index,
            body={"said": kept(why)},
        )
    )
