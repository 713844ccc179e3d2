"""What a person may say besides an answer: HALT, RESUME, STATUS, WHY, DETAIL, NOTE and HELP.

None of them authorizes anything. HALT is the safe direction, so anybody of the roster may say it; RESUME takes another.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from ledger.entry import Draft, Entry
from receiver.authorization.wording import clean
from receiver.governor import halting, recalling, wording
from receiver.governor.answering import had_enough, heed, refuse, reply_to, say, settled
from receiver.governor.asking import question_to
from receiver.governor.desk import Desk
from receiver.governor.explained import long_form
from receiver.governor.phrases import ENGLISH, said
from receiver.incident.agenda import OPEN_INCIDENTS_MAX
from receiver.incident.states import Heard, Incident
from receiver.papers import words

HELP_AGAIN = timedelta(hours=1)  # unknown words get help once in this time
STATUS_INCIDENTS = 5  # in full words
STATUS_PAGE = 30  # by id and title, on each page after the first: as many as one message holds
STATUS_TITLE = 26  # characters of it there
QUESTIONS_AGAIN = 3  # times that one question is sent again to one person who asks for it
WHY_CHARACTERS = 470  # beside what was explained
# what policy and people decided, of all that stands in the ledger about an incident
DECISIONS = frozenset(
    {"DETECTED", "PROPOSED", "APPROVED", "DECLINED", "AUTHORIZED", "REJECTED", "EXPIRED", "WITHDRAWN", "VOIDED"}
    | {"DISPATCHED", "EXECUTED", "FAILED", "UNRESOLVED", "WRITTEN_OFF", "CONFIRMED", "UNCONFIRMED", "RECOVERED"}
    | {"CLOSED"}
)


async def halt(desk: Desk, heard: Heard, person: str) -> None:
    reason = f"halted by message; the words stand with entry {heard.index}"
    halted = Draft(
        id=f"halt:{heard.index}",
        stage="HALTED",
        actor=f"engineer:{person}",
        reason=reason,
        cites=(heard.index,),
        body={"text": reason},
    )
    text = words("you halted")
    done = settled(heard, "HEEDED", "halt", None, {"what": "halt", "person": person})
    told = halting.told(desk, f"halt:{heard.index}", "HALTED", halted.actor, "")
    await desk.post(halted, done, reply_to(desk, heard, person, text, None), *told)


async def resume(desk: Desk, heard: Heard, person: str) -> None:
    others = [index for index, (actor, _) in desk.book.halts.items() if actor != f"engineer:{person}"]
    if not others:
        key = "own halt" if desk.book.halts else "no halt"
        await refuse(desk, heard, said(ENGLISH, words(key)), reply=words(key))
        return
    resumed = [
        Draft(
            id=f"resume:{index}",
            stage="RESUMED",
            actor=f"engineer:{person}",
            reason="resumed by message",
            settles=index,
            cites=(heard.index,),
            body={"text": ""},
        )
        for index in others
    ]
    left = len(desk.book.halts) - len(others)
    text = words("others resumed" if left else "you resumed")
    done = settled(heard, "HEEDED", "resume", None, {"what": "resume", "person": person})
    told = [] if left else halting.told(desk, f"resume:{heard.index}", "RESUMED", f"engineer:{person}", "")
    await desk.post(*resumed, done, reply_to(desk, heard, person, text, None), *told)


async def status(desk: Desk, heard: Heard, person: str) -> None:
    """What is open, the newest first, each with the id by which WHY and DETAIL ask; STATUS 2 goes on, in short."""
    language = _language(desk, person)
    halted = say(desk, person, "halted now") + " " if desk.book.halted() else ""
    found = list(reversed(desk.book.open.values()))
    page = int(str(heard.body.get("about") or 1))
    first = STATUS_INCIDENTS + STATUS_PAGE * (page - 2) if page > 1 else 0
    shown = found[first : first + (STATUS_PAGE if page > 1 else STATUS_INCIDENTS)]
    if page > 1:
        lines = [
            f"{incident.id} {clean(wording.title(incident, language), STATUS_TITLE, language)}." for incident in shown
        ]
    else:
        lines = [
            say(
                desk,
                person,
                "of status",
                id=one.id,
                state=words(str(one.state)),
                headline=wording.headline(one, language),
            )
            for one in shown
        ]
    text = " ".join(lines) or say(desk, person, "none open" if page == 1 else "none further")
    more = len(found) - first - len(shown)
    text += say(desk, person, "more open", count=more, page=page + 1) if more > 0 and shown else ""
    waiting = len(desk.book.watches) if len(found) >= OPEN_INCIDENTS_MAX else 0
    text += say(desk, person, "more watched", count=waiting) if waiting else ""
    await heed(desk, heard, person, "status", halted + text)


async def why(desk: Desk, heard: Heard, person: str) -> None:
    """What was decided of the incident, by whom and on what, from the ledger: the first, and the newest that fit."""
    incident = await incident_meant(desk, heard, person, "WHY")
    if incident is None:
        return
    entries = await desk.journal.entries(desk.tenant, incident=incident.id, limit=10_000)
    zone = ZoneInfo(desk.charter.people[person].recipient.timezone)
    lines = [say(desk, person, "why line", **_line(entry, zone)) for entry in entries if entry.stage in DECISIONS]
    text = words(
        "why",
        version=incident.policy_version,
        lines=_fitting(lines, WHY_CHARACTERS) or words("nothing decided"),
        explained=long_form(incident, _language(desk, person)),
    )
    await heed(desk, heard, person, "why", text, incident_id=incident.id)


async def detail(desk: Desk, heard: Heard, person: str) -> None:
    """The incident as it stands; and its question again, with buttons, to whoever may answer it and has not."""
    incident = await incident_meant(desk, heard, person, "DETAIL")
    if incident is None:
        return
    language, last = _language(desk, person), incident.last
    explained = long_form(incident, language)
    if last is not None and last.open and person in last.body["approvers"] and person not in last.approvals:
        sent = sum(m.proposal == last.index for m in desk.book.questions.get(person, {}).values())
        if sent > QUESTIONS_AGAIN or had_enough(desk, heard, person):
            await heed(desk, heard, person, "detail", words("asked already"), incident_id=incident.id)
            return
        again = question_to(desk, incident, last, person, f"detail:{heard.index}")
        await heed(desk, heard, person, "detail", explained, incident_id=incident.id, extra=(again,))
        return
    names = ", ".join(last.body["approvers"]) if last is not None else ""
    text = words(
        "detail of open" if incident.open else "detail",
        state=say(desk, person, str(incident.state)).capitalize(),
        span=wording.span(desk.now() - incident.opened_at),
        headline=wording.headline(incident, language),
        summary=wording.summary(incident, language),
        asked=words("asked about", title=last.body["title"], names=names) if last is not None else "",
        explained=explained,
    )
    await heed(desk, heard, person, "detail", text, incident_id=incident.id)


async def note(desk: Desk, heard: Heard, person: str) -> None:
    """NOTED: the words stand with the HEARD, under the person's key, and the note says where."""
    incident = await incident_meant(desk, heard, person, "NOTE")
    if incident is None:
        return
    text = f"a note by message; the words stand with entry {heard.index}"
    noted = Draft(
        id=f"note:heard:{heard.index}",
        stage="NOTED",
        actor=f"engineer:{person}",
        incident_id=incident.id,
        reason=text,
        cites=(heard.index,),
        body={"kind": "note", "text": text},
    )
    await heed(desk, heard, person, "note", words("noted"), incident_id=incident.id, extra=(noted,))


async def help_(desk: Desk, heard: Heard, person: str) -> None:
    await heed(desk, heard, person, "help", words("help"))


async def unknown(desk: Desk, heard: Heard, person: str) -> None:
    """Words that are none of ours: help, once in a while, so that two machines do not talk all night."""
    since = desk.now() - HELP_AGAIN
    helped = desk.book.helped.get(person)
    if helped is None or helped <= since:
        await help_(desk, heard, person)
    else:
        await heed(desk, heard, person, "no answer", None)


async def incident_meant(desk: Desk, heard: Heard, person: str, word: str) -> Incident | None:
    """The incident that is meant, or None once the person was asked which: one that is named, or the only one open.

    One that ended so long ago that the book forgot it is found by its whole id.
    """
    about = str(heard.body.get("about") or "")
    known: Iterable[Incident] = desk.book.incidents.values() if about else desk.book.open.values()
    wanted = about.removeprefix("inc-")
    found = [incident for incident in known if incident.id.removeprefix("inc-").startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if wanted and not found and (former := await recalling.incident(desk, f"inc-{wanted}")) is not None:
        return former
    ids = ", ".join(incident.id for incident in list(reversed(desk.book.open.values()))[:STATUS_INCIDENTS])
    text = words("which", word=word, open=words("these open", ids=ids) if ids else words("none of them"))
    await heed(desk, heard, person, f"{word.lower()} of nothing", text)
    return None


def _language(desk: Desk, person: str) -> str:
    return desk.charter.people[person].recipient.language


def _line(entry: Entry, zone: ZoneInfo) -> dict[str, object]:
    """What stands in the line of an entry; its reason is that of the ledger."""
    who = entry.actor.partition(":")[2] or entry.actor
    at, reason = _clock(entry.timestamp, zone), entry.reason.rstrip(".")
    return {"at": at, "stage": entry.stage, "who": who, "index": entry.index, "reason": reason}


def _clock(moment: datetime, zone: ZoneInfo) -> str:
    return moment.astimezone(zone).strftime("%H:%M")


def _fitting(lines: list[str], characters: int) -> str:
    """The first of `lines` and as many of the last as fit, with a mark where some are left out."""
    if not lines:
        return ""
    first, kept, room = lines[0][:300], [], characters - len(lines[0][:300])
    for line in reversed(lines[1:]):
        if len(line) + 1 > room:
            kept.append("…")
            break
        kept.append(line)
        room -= len(line) + 1
    return " ".join([first, *reversed(kept)])
