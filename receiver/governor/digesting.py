"""A digest instead of a flood: when more waits for a person than they can get, one message says how much it is."""

from __future__ import annotations

from receiver.governor.asking import not_sent, notices
from receiver.governor.desk import Desk
from receiver.governor.phrases import phrase
from receiver.incident.agenda import Due
from receiver.incident.book import DIGESTED
from receiver.incident.outbox import too_many, turns
from receiver.papers import words


async def digest(desk: Desk, due: Due) -> None:
    """UNDELIVERED for each message that would wait too long, and one that says how many incidents they were about."""
    now, person = desk.now(), desk.book.messages[due.subject].person
    outbox = desk.book.outbox(person)
    waiting = [m for m in desk.book.unsettled_messages.values() if m.person == person and not m.sids]
    late = too_many(list(turns(waiting, outbox.sent, desk.pace, now)), now)
    if not late:
        return
    incidents = {incident for incident in outbox.digested | {m.incident_id or "" for m in late} if incident}
    key = "digest" if len(incidents) > 1 else "digest of news"
    settled = [not_sent(message, DIGESTED, "a digest stands for it") for message in late]
    told = notices(
        *(desk, None, f"digest:{due.subject}", [person]),
        lambda reader: phrase(reader.language, key, count=len(incidents)),
        *((due.subject,), words("of digest")),
    )
    await desk.post(*settled, *told)
