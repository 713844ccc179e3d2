"""A request that was taken, and whose result must be asked for: outstanding work that the ledger knows of."""

from __future__ import annotations

from datetime import timedelta

from ledger.entry import Draft
from receiver.governor.desk import Desk, stamp
from receiver.governor.phrases import ENGLISH, said
from receiver.incident.agenda import Due
from receiver.incident.states import TAKEN, Proposal
from receiver.papers import ExecutionOutcome, ExecutionResult, RenderedRequest, words


async def note_taken(desk: Desk, proposal: Proposal, request: RenderedRequest, result: ExecutionResult) -> None:
    """NOTED that the executor took it, and where its result is to be asked for.

    Crash before: DISPATCHED stands without an outcome, as after any request whose answer was not booked. Crash after:
    the next start asks on at the same address.
    """
    until = desk.now() + timedelta(seconds=int(request.result.get("timeout_seconds", 0)))
    if proposal.execute_until is not None:
        until = min(until, proposal.execute_until)
    await desk.post(
        Draft(
            id=f"taken:{proposal.dispatched}",
            stage="NOTED",
            actor=f"executor:{proposal.body['executor']}",
            incident_id=proposal.incident_id,
            reason=result.detail[:500],
            cites=(proposal.dispatched or 0,),
            body={
                "kind": TAKEN,
                "http_status": result.http_status,
                "output": result.output[:2000],
                "poll": result.poll,
                "until": stamp(until),
            },
        )
    )


async def ask(desk: Desk, due: Due, proposal: Proposal, request: RenderedRequest) -> ExecutionResult | None:
    """Ask once. What it says settles the execution; None where it says nothing yet, and it is asked again.

    A question runs nothing: it is asked during a halt, too, and again after a restart.
    """
    taken = proposal.taken
    every = timedelta(seconds=int(request.result.get("every_seconds", 5)))
    if taken is None:
        return None
    now = desk.now()
    if now < taken.at + every:
        # What is asked too early may still tell of the run before.
        desk.deferred[due.name] = taken.at + every
        return None
    if now >= taken.until:
        why = words("nothing told", until=stamp(taken.until))
        return ExecutionResult(ExecutionOutcome.UNKNOWN, said(ENGLISH, why), said=why)
    result = await desk.executors.poll(
        request, taken.poll, webhook_id=proposal.body["webhook_id"], deadline=taken.until
    )
    if result.outcome is not ExecutionOutcome.ACCEPTED:
        return result
    desk.deferred[due.name] = min(desk.now() + every, taken.until)
    return None
