"""Who holds the phone: enrolment by a word that is texted, an identity that changed, and opting out.

Law 3: a human authorizes. A number moves to another SIM and a phone to another hand; the carrier's own id for the
person does not. So whoever enrolled is known by both, and an answer under another id suspends them until they enrol
again.
"""

from __future__ import annotations

from datetime import datetime

from ledger.entry import Draft
from receiver.authorization import codes
from receiver.governor.answering import heed, refuse, say, settled
from receiver.governor.asking import notices
from receiver.governor.desk import Desk, stamp
from receiver.governor.phrases import phrase
from receiver.incident.enrolled import CODE_WINDOW, ENROLLED, ENROLMENT, OPTED_IN, OPTED_OUT, SUSPENDED
from receiver.incident.states import Heard
from receiver.papers import words

CODE_TRIES = 5  # wrong ones, within CODE_WINDOW; a word that enrols is tried as a code is


def enrolment(person: str, actor: str, nonce: str, until: datetime) -> Draft:
    """NOTED: the person may enrol by a word that is made from `nonce`; a word that was given before is void."""
    return Draft(
        id=f"enrol:{nonce}",
        stage="NOTED",
        actor=actor,
        decision="enrol",
        reason=f"{person} may enrol until {until:%Y-%m-%d %H:%M} UTC",
        body={"kind": ENROLMENT, "person": person, "nonce": nonce, "until": stamp(until)},
    )


def suspension(person: str, actor: str, entry_id: str, reason: str, cites: tuple[int, ...] = ()) -> Draft:
    return Draft(
        id=entry_id,
        stage="NOTED",
        actor=actor,
        decision="suspend",
        reason=f"{person} is suspended: {reason}"[:500],
        cites=cites,
        body={"kind": SUSPENDED, "person": person, "text": reason[:2000]},
    )


def locked(desk: Desk, person: str) -> bool:
    """Whether no code of `person` is looked at now: too many were wrong of late."""
    since = desk.now() - CODE_WINDOW
    return sum(at > since for at in desk.book.wrong_codes.get(person, ())) >= CODE_TRIES


async def join(desk: Desk, heard: Heard, person: str) -> None:
    """NOTED that the person enrolled with this phone, if the word is the one that they were given."""
    waiting = desk.book.enrolled.waiting.get(person)
    if waiting is None or desk.now() > waiting.until:
        await heed(desk, heard, person, "no enrolment", say(desk, person, "no enrolment"))
        return
    if locked(desk, person):
        # The word holds for a day, which is time enough to try all that there are.
        await heed(desk, heard, person, "join locked", say(desk, person, "join locked"))
        return
    if not codes.same(codes.join_code(desk.secret, desk.tenant, person, waiting.nonce), str(heard.body.get("code"))):
        await refuse(desk, heard, "wrong code", reply=words("another word"))
        return
    enrolled = Draft(
        id=f"enrolled:{heard.index}",
        stage="NOTED",
        actor=f"engineer:{person}",
        decision="enrol",
        reason=f"{person} enrolled with this phone",
        cites=(heard.index,),
        body={
            "kind": ENROLLED,
            "person": person,
            "from_hmac": heard.body["from_hmac"],
            "external_id_hmac": heard.body["external_id_hmac"],
        },
    )
    roles = ", ".join(sorted(desk.charter.people[person].roles)) or say(desk, person, "no role")
    text = say(desk, person, "welcome", person=person, roles=roles)
    await heed(desk, heard, person, "enrolled", text, extra=(enrolled,))


async def another_identity(desk: Desk, heard: Heard, person: str) -> None:
    """The number is the person's and the identity is not: they are suspended, and the others are told."""
    noted = suspension(
        person,
        "system",
        f"suspend:{heard.index}",
        "the carrier names another identity for this number than the one that enrolled",
        (heard.index,),
    )
    body = {"why": "another identity", "person": person, "proposal": None}
    told = _tell_others(desk, heard, person, "suspend", "suspended")
    await desk.post(noted, settled(heard, "REFUSED", "another identity", None, body), *told)


async def stop(desk: Desk, heard: Heard, person: str) -> None:
    """The carrier's opt-out word: the person hears nothing more, and the others hear of that."""
    if person in desk.book.enrolled.opted_out:
        await heed(desk, heard, person, "opted out already", None)
        return
    noted = _opted(heard, person, OPTED_OUT)
    told = _tell_others(desk, heard, person, "optout", "opted out")
    await heed(desk, heard, person, "opted out", None, extra=(noted, *told))


async def start(desk: Desk, heard: Heard, person: str) -> None:
    if person not in desk.book.enrolled.opted_out:
        await heed(desk, heard, person, "opted in already", say(desk, person, "in already"))
        return
    text = say(desk, person, "welcome back")
    await heed(desk, heard, person, "opted in", text, extra=(_opted(heard, person, OPTED_IN),))


def _tell_others(desk: Desk, heard: Heard, person: str, about: str, key: str) -> list[Draft]:
    return notices(
        *(desk, None, f"{about}:{heard.index}", _others(desk, person)),
        lambda reader: phrase(reader.language, key, person=person),
        *((heard.index,), person),
    )


def _others(desk: Desk, person: str) -> list[str]:
    return sorted(name for name, m in desk.charter.people.items() if name != person and not m.suspended)


def _opted(heard: Heard, person: str, kind: str) -> Draft:
    return Draft(
        id=f"opt:{heard.index}",
        stage="NOTED",
        actor=f"engineer:{person}",
        decision=kind,
        reason=f"{person} {kind}",
        cites=(heard.index,),
        body={"kind": kind, "person": person},
    )
