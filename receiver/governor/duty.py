"""Who is on duty, as the roster in force says it; that nobody is; and duty that is handed over by message."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from ledger.entry import Back, Draft, canonical
from receiver.governor.answering import heed, say
from receiver.governor.asking import notices
from receiver.governor.desk import Charter, Desk, stamp
from receiver.governor.phrases import ENGLISH, said
from receiver.incident.agenda import Due
from receiver.incident.book import Book
from receiver.incident.duty import HANDED_OVER, HELD, VACANT, Duty, next_word
from receiver.incident.states import Heard
from receiver.papers import Words, words

_NAMED = re.compile(r"handover\b[\s:,]*(?:to\s+)?(?P<name>[a-z0-9][a-z0-9_.-]*)?", re.IGNORECASE)


def in_force(charter: Charter, book: Book, now: datetime) -> Charter:
    """`charter` at `now`: each with the roles that are theirs then, and suspended whom an entry suspended."""
    people = {}
    for name, member in charter.people.items():
        held, off = charter.duty.split(name, member.roles, now, book.duties.handovers)
        suspended = member.suspended or name in book.enrolled.suspended
        people[name] = replace(member, roles=held, off_duty=off, suspended=suspended)
    return replace(charter, people=people)


def standing(charter: Charter, book: Book, now: datetime) -> tuple[frozenset[str], Mapping[str, tuple[str, ...]]]:
    """What may change of the roster in force while the configuration stays: who is suspended, and who is on duty."""
    duty = charter.duty
    return (
        frozenset(book.enrolled.suspended),
        {role: duty.on_duty(role, now, book.duties.handovers) for role in duty.roles},
    )


def duty_bytes(given: Charter) -> bytes:
    """What duty follows from, as an ADOPTED keeps it. given: as the configuration has it."""
    roles = {name: sorted(member.roles) for name, member in given.people.items()}
    return canonical(given.duty.to_body() | {"roles": roles})


def decided(given: Charter, book: Book, now: datetime) -> dict[str, Any]:
    """What an ADOPTED says of duty: on how many entries and when it was decided, and who has it."""
    if not given.duty.rotations:
        return {}
    on_duty = {role: list(names) for role, names in standing(given, book, now)[1].items()}
    return {"duty": {"entries": book.size, "at": stamp(now), "on_duty": on_duty}}


def incoming(desk: Desk, duty: Duty, now: datetime) -> list[Draft]:
    """What is said to those whose turn has begun, in one post with the ADOPTED: that it has, where some is open."""
    before = desk.book.adopted
    former = before.body.get("duty", {}).get("on_duty") if before is not None else None
    if before is None or former is None or not desk.book.open:
        return []
    handed = {h.taker for h in desk.book.duties.handovers if h.until > now}  # they heard of it when it was handed over
    begun: dict[str, list[str]] = {}
    for role in duty.roles:
        for name in set(duty.on_duty(role, now, desk.book.duties.handovers)) - set(former.get(role, ())) - handed:
            begun.setdefault(name, []).append(role)
    drafts = []
    for name, roles in sorted(begun.items()):
        if name in desk.charter.people:
            until = _until(desk, duty, roles[0], name, name, now)
            text = say(desk, name, "on duty now", roles=", ".join(roles), until=until, open=_open(desk, name))
            drafts += notices(desk, None, f"duty:{before.index}", [name], text, (Back(0),), words("of duty"))
    return drafts


def vacancies(desk: Desk) -> frozenset[str]:
    """The roles that somebody takes turns at, and that nobody holds now who can be asked and told."""
    gone = desk.book.enrolled.opted_out
    active = [m for name, m in desk.charter.people.items() if not m.suspended and name not in gone]
    return frozenset(r for r in desk.charter.duty.roles if not any(r in member.roles for member in active))


async def announce(desk: Desk, due: Due) -> None:
    """NOTED that nobody is on duty, or that somebody is again, and a notice to each who could take it."""
    now, duties, vacant = desk.now(), desk.book.duties, vacancies(desk)
    for role in sorted(vacant | set(duties.vacant)):
        here = frozenset({role}) & vacant
        told = {role: duties.vacant[role]} if role in duties.vacant else {}
        at = next_word(replace(duties, vacant=told), here, now)
        if at is None or at > now:
            continue
        vacancy = told.get(role)
        since = vacancy.since if vacancy is not None else now
        if here:
            kind, number = VACANT, vacancy.number if vacancy is not None else 0
            what = words("duty vacant", role=role)
        else:
            kind, number = HELD, 0
            holders = desk.charter.duty.on_duty(role, now, duties.handovers)
            what = words("duty held", role=role, names=", ".join(holders) or words("everybody"))
        about = f"{kind.replace(' ', '-')}:{role}:{vacancy.index if vacancy is not None else desk.book.size}:{number}"
        people, text = _could_take(desk, role), said(ENGLISH, what)
        drafts = notices(desk, None, about, people, what, (Back(0),), words("of duty"))
        noted = Draft(
            id=f"note:{about}",
            stage="NOTED",
            actor="system",
            decision=kind,
            reason=text,
            cites=(vacancy.index,) if vacancy is not None else (),
            body={"kind": kind, "role": role, "since": stamp(since), "people": people, "text": text},
        )
        await desk.post(noted, *drafts)


def _could_take(desk: Desk, role: str) -> list[str]:
    """Who hears that nobody is on duty: whoever may have that duty; where none of them can be reached, everybody."""
    gone = desk.book.enrolled.opted_out
    able = {name: m for name, m in desk.charter.people.items() if not m.suspended and name not in gone}
    found = [name for name, member in able.items() if role in member.roles | member.off_duty]
    return sorted(found or able)


async def handover(desk: Desk, heard: Heard, person: str) -> None:
    """NOTED that duty passes from `person`, or from nobody, to whom they name, until it would have ended."""
    charter, now = desk.charter, desk.now()
    name = await _named(desk, heard)
    taker = next((known for known in charter.people if known.lower() == name.lower()), None) if name else None
    if taker is None:
        key = "handover nobody" if name else "handover whom"
        await heed(desk, heard, person, "handover to nobody", words(key, name=name[:64], holders=_holders(desk)))
        return
    mine = [role for role in charter.duty.roles if role in charter.people[person].roles]
    member = charter.people[taker]
    if taker == person:
        mine = [role for role in vacancies(desk) if role in member.roles | member.off_duty]
    able = [role for role in mine if role in member.roles | member.off_duty]
    why_not = _why_not(desk, taker, person, mine, able)
    if why_not is not None:
        await heed(desk, heard, person, "handover refused", why_not)
        return
    giver = "" if taker == person else person
    handed = desk.book.duties.handovers
    ends = {role: charter.duty.ends(role, giver, now, handed) for role in sorted(able)}
    until = {role: stamp(end) for role, end in ends.items() if end is not None}
    noted = Draft(
        id=f"handover:{heard.index}",
        stage="NOTED",
        actor=f"engineer:{person}",
        decision=HANDED_OVER,
        reason=f"{taker} is on duty for {', '.join(until)}" + (f" in the place of {giver}" if giver else ""),
        cites=(heard.index,),
        body={"kind": HANDED_OVER, "from": giver, "person": taker, "until": until},
    )
    roles, first = ", ".join(until), min(until)
    until_when = _until(desk, charter.duty, first, giver, person, now)
    text = words("handover", person=taker, roles=roles, until=until_when)
    extra = [noted]
    if giver:
        until_then = _until(desk, charter.duty, first, giver, taker, now)
        what = {"person": person, "roles": roles, "until": until_then, "open": _open(desk, taker)}
        told = say(desk, taker, "handed over", **what)
        extra += notices(desk, None, f"handover:{heard.index}", [taker], told, (heard.index,), words("of duty"))
    await heed(desk, heard, person, "handover", text, extra=tuple(extra))


def _why_not(desk: Desk, taker: str, person: str, mine: list[str], able: list[str]) -> Words | None:
    member, holders = desk.charter.people[taker], _holders(desk)
    if not desk.charter.duty.rotations:
        return words("no turns", holders=holders)
    if taker == person and not mine:
        return words("handover own", holders=holders)
    if not mine:
        return words("not on duty", holders=holders)
    if member.suspended or taker in desk.book.enrolled.opted_out:
        return words("not callable", person=taker, holders=holders)
    if not able:
        return words("may not hold", person=taker, roles=", ".join(mine), holders=holders)
    if taker != person and all(role in member.roles for role in able):
        return words("on duty already", person=taker, holders=holders)
    return None


async def _named(desk: Desk, heard: Heard) -> str:
    """The name behind HANDOVER. It is read from the message itself: what people write stands nowhere else."""
    entry = await desk.journal.get(desk.tenant, heard.index)
    digest = next((blob.digest for blob in entry.blobs if blob.name == "text"), None) if entry is not None else None
    raw = await desk.journal.blob(desk.tenant, digest) if digest is not None else None
    found = _NAMED.fullmatch((raw or b"").decode(errors="replace").strip(" .!\n"))
    return (found["name"] or "") if found is not None else ""


def _holders(desk: Desk) -> tuple[Words, ...]:
    """Who is on duty now, a sentence a role; none where nobody takes turns."""
    now, duty = desk.now(), desk.charter.duty
    held = {role: duty.on_duty(role, now, desk.book.duties.handovers) for role in duty.roles}
    return tuple(words("holder", role=role, names=", ".join(names) or words("nobody")) for role, names in held.items())


def _until(desk: Desk, duty: Duty, role: str, holder: str, reader: str, now: datetime) -> str:
    """Until when `holder` has the duty, on the clock of `reader`: " until Mon 09:00 CAT"."""
    end = duty.ends(role, holder, now, desk.book.duties.handovers)
    if end is None:
        return ""
    local = end.astimezone(ZoneInfo(desk.charter.people[reader].recipient.timezone))
    day = say(desk, reader, "weekdays").split()[local.weekday()]
    return say(desk, reader, "until", at=f"{day} {local:%H:%M %Z}")


def _open(desk: Desk, reader: str) -> str:
    number = len(desk.book.open)
    key = "some open" if number > 1 else "one open" if number else "no open"
    return say(desk, reader, key, **({"count": number} if number > 1 else {}))
