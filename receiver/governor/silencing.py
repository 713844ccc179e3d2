"""SILENCE: Alertmanager says nothing more of an incident's alerts for a while, in the name of whoever asked.

The incident stays open: policy goes on looking, and nothing is closed because nobody wants to hear of it.
"""

from __future__ import annotations

import json
from datetime import timedelta
from zoneinfo import ZoneInfo

from ledger.entry import Blob, Draft, canonical
from policy_rules.durations import duration, parse_duration
from receiver.governor.answering import REPLY_VALID, heed, tell
from receiver.governor.desk import Desk, addressed, stamp
from receiver.governor.phrases import ENGLISH, said
from receiver.governor.words import incident_meant
from receiver.incident.agenda import Due
from receiver.incident.silences import ASKED, DONE, Request
from receiver.incident.states import Heard
from receiver.papers import MessageKind, NotSilenced, Silence, Words, words

LEAST_SECONDS, MOST_SECONDS = 300, 86_400  # of one silence
ALERTS_MAX = 20  # of one incident; more are silenced at Alertmanager, by whoever can see what they have in common
NOBODY = NotSilenced(words("no alertmanager"), again=False)
TRY_AGAIN_SECONDS = 5.0
GIVE_UP_SECONDS = 120.0  # after it was asked for


async def silence(desk: Desk, heard: Heard, person: str) -> None:
    """NOTED with the labels of the alerts that fire; Alertmanager is asked once that stands."""
    incident = await incident_meant(desk, heard, person, "SILENCE")
    if incident is None:
        return
    span = parse_duration(str(heard.body.get("span") or ""))
    alerts = [alert for alert in desk.alerts_of(incident) if alert.firing]
    why_not: Words | None = None
    if span is None or not LEAST_SECONDS <= span <= MOST_SECONDS:
        least, most = duration(LEAST_SECONDS), duration(MOST_SECONDS)
        why_not = words("silence how long", least=least, most=most, id=incident.id)
    elif not incident.open:
        why_not = words("silence over", id=incident.id)
    elif not alerts:
        why_not = words("silence none", id=incident.id)
    elif len(alerts) > ALERTS_MAX:
        why_not = words("silence many", count=len(alerts), most=ALERTS_MAX)
    if span is None or why_not is not None:
        await heed(desk, heard, person, "silence of nothing", why_not, incident_id=incident.id)
        return
    end = desk.now() + timedelta(seconds=float(span))
    asked = Draft(
        id=f"silence:{heard.index}",
        stage="NOTED",
        actor=f"engineer:{person}",
        incident_id=incident.id,
        decision="silence",
        reason=f"{person} silences {len(alerts)} alerts until {end:%Y-%m-%d %H:%M} UTC",
        cites=(heard.index,),
        body={
            "kind": ASKED,
            "person": person,
            "until": stamp(end),
            "fingerprints": sorted(alert.fingerprint for alert in alerts),
        },
        blobs=(Blob("matchers", canonical([dict(alert.labels) for alert in alerts])),),
    )
    await heed(desk, heard, person, "silence", None, incident_id=incident.id, extra=(asked,))


async def ask(desk: Desk, due: Due) -> None:
    """Ask Alertmanager for what stands in the ledger, and NOTED what it said, with an answer to whoever asked.

    Crash here: the request stands without an answer, and is made again; a silence that stands already is found.
    """
    request = desk.book.silences.pending[due.subject]
    raw = await desk.journal.blob(desk.tenant, request.content)
    ids: list[str] = []
    refusal: NotSilenced | None = None
    comment = f"Counterfoil: {request.incident_id}, entry {request.index}"
    for labels in json.loads(raw or b"[]"):
        wanted = Silence(labels, desk.now(), request.until, request.person, comment)
        answer = await desk.silencer.silence(wanted) if desk.silencer is not None else NOBODY
        if isinstance(answer, NotSilenced):
            refusal = answer
            break
        ids.append(answer)
    now = desk.now()
    entry = await desk.journal.get(desk.tenant, request.index)
    asked_at = entry.timestamp if entry is not None else now
    if refusal is not None and refusal.again and (now - asked_at).total_seconds() < GIVE_UP_SECONDS:
        desk.defer(due.name, TRY_AGAIN_SECONDS)
        return
    async with desk.deciding():
        if due.subject in desk.book.silences.pending:
            await desk.post(*_done(desk, request, ids, refusal))


def _done(desk: Desk, request: Request, ids: list[str], refusal: NotSilenced | None) -> list[Draft]:
    member = desk.charter.people.get(request.person)
    zone = ZoneInfo(member.recipient.timezone if member is not None else "UTC")
    end = request.until.astimezone(zone)
    if refusal is not None:
        told = words("some silenced" if ids else "not silenced", why=refusal.why, count=len(ids))
    else:
        told = words("silenced" if len(ids) > 1 else "silenced one", count=len(ids), until=f"{end:%H:%M %Z}")
    text = said(ENGLISH, told)
    done = Draft(
        id=f"silenced:{request.index}",
        stage="NOTED",
        actor="system",
        incident_id=request.incident_id,
        decision="silence",
        reason=text[:500],
        cites=(request.index,),
        body={"kind": DONE, "ids": ids, "text": text},
    )
    if member is None:
        return [done]
    reply = addressed(
        f"silenced:{request.index}",
        request.person,
        MessageKind.REPLY.value,
        {"text": tell(desk, request.person, told), "reference": request.incident_id},
        until=desk.now() + REPLY_VALID,
        subject=f"reply about entry {request.index}",
        incident_id=request.incident_id,
        cites=(request.index,),
    )
    return [done, reply]
