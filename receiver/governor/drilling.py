"""A drill: somebody is asked, in earnest and for nothing. What answers it is an executor that does nothing."""

from __future__ import annotations

from datetime import timedelta

from ledger.entry import Back, Draft
from receiver.governor import wording
from receiver.governor.answering import heed
from receiver.governor.asking import notices
from receiver.governor.desk import Desk, addressed, stamp
from receiver.governor.phrases import phrase
from receiver.incident.agenda import Due
from receiver.incident.drills import ANSWERED, DRILL, OVER, RAN, Drill
from receiver.incident.states import Heard
from receiver.papers import MessageKind

DRILL_VALID = timedelta(minutes=10)  # in which it is to be answered
OUTCOMES = {"approve": "approved", "reject": "rejected"}


def beginning(desk: Desk, drill_id: str, person: str, actor: str) -> list[Draft]:
    """NOTED that there is a drill, and the question of it, with buttons."""
    until = desk.now() + DRILL_VALID
    by = actor.partition(":")[2]
    began = Draft(
        id=f"drill:{drill_id}",
        stage="NOTED",
        actor=actor,
        decision="drill",
        reason=f"DRILL {drill_id}: {person} is asked about nothing",
        body={
            "kind": DRILL,
            "drill": drill_id,
            "person": person,
            "until": stamp(until),
            "text": f"a drill of {person}, asked for by {by}: nothing is broken, and nothing runs",
        },
    )
    reader = desk.charter.people[person].recipient
    question = addressed(
        *(f"drill:{drill_id}", person, MessageKind.DRILL.value, wording.drill(drill_id, by, until, reader)),
        until=until,
        subject=f"DRILL {drill_id}",
        incident_id=None,
        cites=(Back(0),),
    )
    return [began, question]


async def answer(desk: Desk, heard: Heard, person: str, drill: Drill, verb: str) -> None:
    """HEEDED, and the end of the drill. Nothing is authorized or dispatched: there is nothing that could be."""
    language = desk.charter.people[person].recipient.language
    if drill.outcome is not None:
        await heed(desk, heard, person, "drill", phrase(language, "drill is over"))
        return
    if verb not in OUTCOMES:
        await heed(desk, heard, person, "drill", phrase(language, "drill on it"))
        return
    outcome = OUTCOMES[verb]
    steps = [_step(drill, ANSWERED, f"engineer:{person}", f"{person} {outcome} it", heard.index)]
    if verb == "approve":
        steps.append(_step(drill, RAN, "executor:drill", "the executor of drills did nothing, as always"))
    text = phrase(language, f"drill {outcome}")
    await heed(desk, heard, person, "drill", text, extra=(*steps, _over(drill, outcome)))


async def expire(desk: Desk, due: Due) -> None:
    """Nobody answered in time: said to the person, for whom that is the news of the drill."""
    drill = desk.book.drills.known[due.subject]
    told = notices(
        *(desk, None, f"drill:{drill.id}:over", [drill.person]),
        lambda reader: phrase(reader.language, "drill expired"),
        *((drill.index,), drill.id),
    )
    await desk.post(_over(drill, "expired"), *told)


def _over(drill: Drill, outcome: str) -> Draft:
    return _step(drill, OVER, "system", f"it is over: {outcome}", outcome=outcome)


def _step(drill: Drill, kind: str, actor: str, text: str, *cites: int, **more: str) -> Draft:
    return Draft(
        id=f"{kind.replace(' ', '-')}:{drill.id}",
        stage="NOTED",
        actor=actor,
        decision=kind,
        reason=f"DRILL {drill.id}: {text}",
        cites=(drill.index, *cites),
        body={"kind": kind, "drill": drill.id, "text": text, **more},
    )
