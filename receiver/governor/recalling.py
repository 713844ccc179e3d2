"""What the book forgot, from the ledger: for whoever answers, reads or asks of what ended long ago.

One incident, or one drill, is folded into a book of its own. It is over, so nothing that is found there can be
answered, authorized or dispatched; it says what became of it.
"""

from __future__ import annotations

from collections.abc import Iterable

from ledger.entry import Entry
from receiver.governor.desk import Desk
from receiver.incident.book import Book
from receiver.incident.drills import DRILL
from receiver.incident.states import Incident

PAGE = 1_000  # entries


async def of_message(desk: Desk, index: int) -> Book:
    """The book that holds the message `index`: the desk's own, or one of what it was about; it may hold none."""
    if index in desk.book.messages:
        return desk.book
    addressed = await desk.journal.get(desk.tenant, index)
    if addressed is None or addressed.stage != "ADDRESSED":
        return desk.book
    if addressed.incident_id is not None:
        return await _of_incident(desk, addressed.incident_id)
    if addressed.body["kind"] != DRILL:
        return desk.book
    began = await desk.journal.get(desk.tenant, addressed.cites[0])
    over = await desk.journal.find(desk.tenant, f"drill-over:{began.body['drill']}") if began is not None else None
    return _folded(desk, [entry for entry in (began, addressed, over) if entry is not None])


async def incident(desk: Desk, incident_id: str) -> Incident | None:
    """The incident of this whole id, also where it is forgotten."""
    known = desk.book.incidents.get(incident_id)
    return known if known is not None else (await _of_incident(desk, incident_id)).incidents.get(incident_id)


async def _of_incident(desk: Desk, incident_id: str) -> Book:
    entries: list[Entry] = []
    while page := await desk.journal.entries(
        desk.tenant, after=entries[-1].index if entries else -1, limit=PAGE, incident=incident_id
    ):
        entries += page
    return _folded(desk, entries)


def _folded(desk: Desk, entries: Iterable[Entry]) -> Book:
    """A book of these entries alone. What they rest on is in others, which the fold does without."""
    book = Book(desk.tenant)
    for entry in entries:
        book.size = entry.index
        book.take(entry)
    return book
