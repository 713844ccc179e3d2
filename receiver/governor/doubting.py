"""An execution of which nobody knows whether it ran: a person looks, and says so. It is never repeated by itself."""

from __future__ import annotations

from ledger.entry import Draft
from receiver.governor import acting
from receiver.governor.answering import heed, refuse
from receiver.governor.desk import Desk
from receiver.governor.phrases import ENGLISH, said
from receiver.incident.states import Heard, Proposal
from receiver.papers import ExecutionOutcome, ExecutionResult, Words, words

# What a person may say of it, by message, and what that makes of the execution.
OUTCOMES = {"ran": "ran", "didnot": "did_not_run", "writeoff": "written_off"}
_SAID = {"ran": "says ran", "did_not_run": "says not", "written_off": "says nobody knows"}
_SAYS = {"ran": "it ran", "did_not_run": "it did not run", "written_off": "nobody can tell"}


def settlement(
    desk: Desk, doubt: Proposal, outcome: str, actor: str, text: str, said: Words | None = None
) -> list[Draft]:
    """EXECUTED, FAILED or WRITTEN_OFF by a person. outcome: "ran", "did_not_run" or "written_off".

    text: in their words, or in ours, which `said` then says to people.
    """
    if outcome == "written_off":
        return [
            Draft(
                id=f"settle:{doubt.result_index}",
                stage="WRITTEN_OFF",
                actor=actor,
                incident_id=doubt.incident_id,
                decision="written_off",
                reason=text[:500],
                settles=doubt.result_index,
                cites=(doubt.index,),
                body={"text": text[:2000]},
            )
        ]
    ran = outcome == "ran"
    name = actor.partition(":")[2]
    result = ExecutionResult(
        ExecutionOutcome.EXECUTED if ran else ExecutionOutcome.FAILED,
        f"{name} says that it {'ran' if ran else 'did not run'}",
        said=said,
    )
    return acting.result_drafts(desk, doubt, result, actor, text, ran=ran)


async def settle_by_word(desk: Desk, heard: Heard, person: str) -> None:
    """RAN, DIDNOT or WRITEOFF, by message: of whoever was asked to approve what is in doubt."""
    outcome = OUTCOMES[str(heard.body["verb"])]
    about = str(heard.body.get("about") or "").removeprefix("inc-")
    async with desk.deciding():
        doubts = list(desk.book.suspense.values())
        found = [p for p in doubts if p.incident_id.removeprefix("inc-").startswith(about)]
        if len(found) != 1:
            ids = ", ".join(sorted(p.incident_id for p in doubts))
            which = words("which doubt", ids=ids) if ids else words("no doubt")
            await heed(desk, heard, person, "doubt about nothing", which)
            return
        (doubt,) = found
        asked = [str(name) for name in doubt.body["approvers"]]
        if person not in asked:
            names = ", ".join(asked)
            why = words("not for you", names=names)
            await refuse(desk, heard, said(ENGLISH, why), reply=why, proposal=doubt)
            return
        text = f"{person} says by message: {_SAYS[outcome]}; the words stand with entry {heard.index}"
        drafts = settlement(desk, doubt, outcome, f"engineer:{person}", text, words(_SAID[outcome], by=person))
        done = words(f"settled {outcome}")
        await heed(desk, heard, person, "doubt", done, incident_id=doubt.incident_id, extra=tuple(drafts))
