"""What a person changes through the API or the commands, by name: close, note, halt, resume, settle a doubt."""

from __future__ import annotations

import secrets
from datetime import timedelta

from ledger.entry import Draft
from ledger.journal import Receipt, Refused
from ledger.stores.people import People
from receiver.authorization import codes
from receiver.governor import acting, doubting, drilling, halting, recalling, requesting
from receiver.governor.desk import Desk
from receiver.governor.ending import closing_drafts
from receiver.governor.enrolling import enrolment, suspension
from receiver.governor.phrases import ENGLISH, said
from receiver.incident.states import RESUMED_ACTION, Incident
from receiver.papers import ChangeRefused, ExecutionOutcome, ExecutionResult, UnknownSubject, Words, words

ENROL_SECONDS = 86_400  # in which the word must be texted


class GovernorChanges:
    """Posts what people decide by hand. `actor` is "engineer:NAME" for one of the roster, else "operator:NAME"."""

    def __init__(self, desk: Desk, people: People | None = None) -> None:
        self._desk = desk
        self._people = people

    def _actor(self, by: str) -> str:
        return f"engineer:{by}" if by in self._desk.charter.people else f"operator:{by}"

    async def _incident(self, incident_id: str) -> Incident:
        await self._desk.fold()
        incident = await recalling.incident(self._desk, incident_id)
        if incident is None:
            raise UnknownSubject(f"there is no incident {incident_id}")
        return incident

    async def close(self, incident_id: str, by: str, reason: str) -> Receipt:
        incident = await self._incident(incident_id)
        desk = self._desk
        closed = Draft(
            id=f"close:{incident.index}",
            stage="CLOSED",
            actor=self._actor(by),
            incident_id=incident.id,
            decision="close",
            reason=reason[:500],
            settles=incident.index,
            body={"text": reason[:2000]},
        )
        async with desk.deciding():
            if not incident.open:
                raise ChangeRefused(f"{incident_id} has ended already ({incident.closed})")
            if incident.last is not None and incident.last.executing:
                raise ChangeRefused(f"{incident_id}: an execution is under way; wait for its result or its deadline")
            rulebook = desk.policy_or_in_force(incident.policy_digest)
            drafts = closing_drafts(desk, incident, rulebook, f"closed by {by}", confirmed=False)
            return await self._post(*drafts, closed)

    async def note(self, incident_id: str, by: str, text: str) -> Receipt:
        incident = await self._incident(incident_id)
        return await self._post(
            Draft(
                id=f"note:{secrets.token_hex(8)}",
                stage="NOTED",
                actor=self._actor(by),
                incident_id=incident.id,
                reason=text[:500],
                body={"kind": "note", "text": text[:4000]},
            )
        )

    async def halt(self, by: str, reason: str) -> Receipt:
        await self._desk.fold()
        actor, about = self._actor(by), f"halt:{secrets.token_hex(8)}"
        halted = Draft(
            id=about,
            stage="HALTED",
            actor=actor,
            decision="halt",
            reason=reason[:500],
            body={"text": reason[:2000]},
        )
        return await self._post(halted, *halting.told(self._desk, about, "HALTED", actor, reason))

    async def resume(self, by: str, reason: str) -> Receipt:
        await self._desk.fold()
        halts = self._desk.book.halts
        if not halts:
            raise ChangeRefused("nothing is halted")
        actor = self._actor(by)
        others = [index for index, (who, _) in halts.items() if who.partition(":")[2] != by]
        if not others:
            raise ChangeRefused(f"{by} halted, so somebody else must resume")
        resumed = [
            Draft(
                id=f"resume:{index}",
                stage="RESUMED",
                actor=actor,
                decision="resume",
                reason=reason[:500],
                settles=index,
                body={"text": reason[:2000]},
            )
            for index in others
        ]
        told = halting.told(self._desk, f"resume:{others[-1]}", "RESUMED", actor, reason)
        return await self._post(*resumed, *(told if len(others) == len(halts) else ()))

    async def resume_action(self, action: str, by: str, reason: str) -> Receipt:
        """Let an action be proposed again whose runs failed so often that its breaker holds it back."""
        await self._desk.fold()
        if not self._desk.book.held_back(action):
            raise ChangeRefused(f"no run of {action} failed since somebody resumed it last")
        return await self._post(resumed_action(action, self._actor(by), reason))

    async def settle(self, incident_id: str, by: str, outcome: str, text: str) -> Receipt:
        """A person says what became of an UNRESOLVED execution: "ran", "did_not_run" or "written_off"."""
        incident = await self._incident(incident_id)
        doubt = next((p for p in incident.proposals if p.in_suspense), None)
        if doubt is None:
            raise ChangeRefused(f"{incident_id} has no unresolved execution")
        async with self._desk.deciding():
            if not doubt.in_suspense:
                raise ChangeRefused(f"{incident_id}: it was settled meanwhile")
            return await self._post(*doubting.settlement(self._desk, doubt, outcome, self._actor(by), text))

    async def request(self, by: str, text: str) -> Receipt:
        """A person of the roster asks for an action by hand: "ACTION VALUE…", which others are asked to approve."""
        await self._desk.fold()
        if by not in self._desk.charter.people:
            raise ChangeRefused(f"{by} is not in the roster: who asks for an action is a person who could be asked")
        asked = await requesting.understand(self._desk, text)
        async with self._desk.deciding():
            made = requesting.request(self._desk, asked, by) if isinstance(asked, requesting.Asked) else asked
            if isinstance(made, Words):
                raise ChangeRefused(said(ENGLISH, made))
            return await self._post(*made[1])

    async def erase(self, by: str, person: str) -> Receipt:
        """Post that the key of a person is gone, then destroy it. Who is still in the roster is not erased."""
        key = self._people.find(self._desk.tenant, person) if self._people is not None else None
        if self._people is None or key is None:
            raise UnknownSubject(f"there is no key of {person}: erased already, or nobody wrote to them")
        if person in self._desk.charter.people:
            raise ChangeRefused(f"{person} is in the roster: take them out of counterfoil.yml and reload, then erase")
        receipt = await self._post(
            Draft(
                id=f"erase:{key.id.hex()}",
                stage="ERASED",
                actor=f"operator:{by}",
                decision="erase",
                reason=f"{person}: the key of what was written to and by them, and of their numbers, is destroyed",
                body={"person": person, "key": key.id.hex()},
            )
        )
        # Crash here: the next start destroys it.
        self._people.destroy(key.id)
        return receipt

    async def enrol(self, by: str, person: str) -> tuple[str, Receipt]:
        """The word that `person` is to text, and the entry that lets them; a word from before is void."""
        await self._desk.fold()
        if person not in self._desk.charter.people:
            raise UnknownSubject(f"{person} is not in the roster: add them to counterfoil.yml and reload")
        nonce = secrets.token_hex(8)
        receipt = await self._post(
            enrolment(person, self._actor(by), nonce, self._desk.now() + timedelta(seconds=ENROL_SECONDS))
        )
        return codes.join_code(self._desk.secret, self._desk.tenant, person, nonce), receipt

    async def drill(self, by: str, person: str) -> Receipt:
        """Ask `person` about nothing, in earnest; the entry that says so, and the message."""
        await self._desk.fold()
        book, member = self._desk.book, self._desk.charter.people.get(person)
        if member is None:
            raise UnknownSubject(f"{person} is not in the roster: add them to counterfoil.yml and reload")
        if member.suspended:
            raise ChangeRefused(f"{person} is suspended: counterfoil person enrol {person}")
        if person in book.enrolled.opted_out:
            raise ChangeRefused(f"{person} opted out of messages, until they send START")
        if (waits := book.drills.of(person)) is not None:
            raise ChangeRefused(f"{person} has not answered the drill {waits.id} yet, which ends by itself")
        drill_id = f"drill-{secrets.token_hex(3)}"
        return await self._post(*drilling.beginning(self._desk, drill_id, person, self._actor(by)))

    async def suspend(self, by: str, person: str, reason: str) -> Receipt:
        """Nothing of `person` counts until they enrol again; the questions open to them are asked of others."""
        await self._desk.fold()
        if person not in self._desk.charter.people:
            raise UnknownSubject(f"{person} is not in the roster")
        if person in self._desk.book.enrolled.suspended:
            raise ChangeRefused(f"{person} is suspended already")
        return await self._post(suspension(person, self._actor(by), f"suspend:{secrets.token_hex(8)}", reason))

    async def _post(self, *drafts: Draft) -> Receipt:
        try:
            return await self._desk.post(*drafts)
        except Refused as refused:
            raise ChangeRefused(str(refused)) from refused


def resumed_action(action: str, actor: str, reason: str, cites: tuple[int, ...] = ()) -> Draft:
    return Draft(
        id=f"note:{secrets.token_hex(8)}",
        stage="NOTED",
        actor=actor,
        decision="resume",
        reason=f"{action} may be proposed again: {reason}"[:500],
        cites=cites,
        body={"kind": RESUMED_ACTION, "action": action, "text": reason[:2000]},
    )


class ExecutionDesk:
    """What the intake of results asks of a governor: whose execution it is, and to settle it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def executor_of(self, webhook_id: str) -> str | None:
        """The executor that a DISPATCHED with this webhook-id names, or None."""
        await self._desk.fold()
        proposal = self._desk.book.by_webhook.get(webhook_id)
        return str(proposal.body["executor"]) if proposal is not None and proposal.dispatched is not None else None

    async def settle(self, webhook_id: str, succeeded: bool, detail: str, output: str) -> bool:
        """Post the result; False where it had been settled before (NOTED, so that it is not lost)."""
        await self._desk.fold()
        proposal = self._desk.book.by_webhook.get(webhook_id)
        if proposal is None:
            return False  # its run counts for nothing since a moment ago, and nothing is known of it any more
        outcome = ExecutionOutcome.EXECUTED if succeeded else ExecutionOutcome.FAILED
        actor = f"executor:{proposal.body['executor']}"
        said = words("reports success" if succeeded else "reports failure")
        result = ExecutionResult(outcome, detail, output=output, said=said)
        if await acting.settle(self._desk, proposal, result, actor):
            return True
        note = Draft(
            id=f"late:{webhook_id}:{outcome.value}",
            stage="NOTED",
            actor=actor,
            incident_id=proposal.incident_id,
            reason=f"a result came after {proposal.result}: {detail}"[:500],
            cites=(proposal.index,),
            body={"kind": "late result", "outcome": outcome.value, "output": output[:2000]},
        )
        await self._desk.post(note)
        return False
