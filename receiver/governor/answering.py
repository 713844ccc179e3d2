"""How a HEARD is settled, and how a person is answered: what every judgement of an answer ends with."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from ledger.entry import Draft
from receiver.governor.desk import Desk, addressed
from receiver.governor.phrases import ENGLISH, said
from receiver.incident.outbox import answers
from receiver.incident.states import Heard, Proposal
from receiver.papers import MessageKind, Words, words

REPLIES_PER_HOUR = 12  # to one person, for words that are no answer: two machines must not talk all night
NAMED_PER_HOUR = 120  # for those that name an incident or a page: in a storm somebody reads through all of them
REPLY_VALID = timedelta(minutes=15)


async def refuse(
    desk: Desk,
    heard: Heard,
    why: str,
    *,
    reply: Words | None,
    proposal: Proposal | None = None,
    extra: list[Draft] | None = None,
) -> None:
    """REFUSED: it does not count, and whoever sent it hears why, unless `reply` is None."""
    person = heard.body.get("person")
    incident_id = proposal.incident_id if proposal is not None else None
    body: dict[str, Any] = {"why": why, "person": person, "proposal": proposal.index if proposal else None}
    drafts = [settled(heard, "REFUSED", why, incident_id, body), *(extra or [])]
    if reply is not None and person is not None:
        drafts += replies(desk, heard, person, words("not counted", why=reply), incident_id)
    await desk.post(*drafts)


async def heed(
    desk: Desk,
    heard: Heard,
    person: str,
    what: str,
    text: Words | str | None,
    *,
    incident_id: str | None = None,
    extra: tuple[Draft, ...] = (),
) -> None:
    """HEEDED with what was done (`extra`), and an answer, unless the person had as many as they get in an hour."""
    drafts = [*extra, settled(heard, "HEEDED", what, incident_id, {"what": what, "person": person})]
    if text is not None and not had_enough(desk, heard, person):
        drafts.append(reply_to(desk, heard, person, text, incident_id))
    await desk.post(*drafts)


def say(desk: Desk, person: str, key: str, /, **values: object) -> str:
    """The sentence `key` in the language of `person`; in English for whoever is no longer in the roster."""
    return tell(desk, person, Words(key, values))


def tell(desk: Desk, person: str, what: Words | str) -> str:
    """The same of a sentence that is made already."""
    member = desk.charter.people.get(person)
    return said(member.recipient.language if member is not None else ENGLISH, what)


def settled(heard: Heard, stage: str, reason: str, incident_id: str | None, body: dict[str, Any]) -> Draft:
    return Draft(
        id=f"answer:{heard.index}",
        stage=stage,
        actor="policy" if stage == "REFUSED" else "system",
        incident_id=incident_id,
        decision=stage.lower(),
        reason=reason[:300],
        settles=heard.index,
        body=body,
    )


def replies(desk: Desk, heard: Heard, person: str, text: Words | str, incident_id: str | None) -> list[Draft]:
    """The answer to what was just said; none where it was keyed in or typed into a page, which says it there."""
    return [] if heard.body.get("via") else [reply_to(desk, heard, person, text, incident_id)]


def reply_to(desk: Desk, heard: Heard, person: str, text: Words | str, incident_id: str | None) -> Draft:
    return addressed(
        f"answer:{heard.index}",
        person,
        MessageKind.REPLY.value,
        {"text": " ".join(tell(desk, person, text).split()), "reference": incident_id or ""},
        until=desk.now() + REPLY_VALID,
        subject=f"reply to entry {heard.index}",
        incident_id=incident_id,
        cites=(heard.index,),
    )


def had_enough(desk: Desk, heard: Heard, person: str) -> bool:
    """Whether the person had as many answers within the last hour as words like these get."""
    since, had = desk.now() - timedelta(hours=1), 0
    for message in reversed(desk.book.messages.values()):
        if message.addressed_at <= since:
            break
        had += message.person == person and answers(message)
    return had >= (NAMED_PER_HOUR if heard.body.get("about") else REPLIES_PER_HOUR)
