"""Entries of one actor. No index of the ledger holds actors, so the log is read on, and only so far for one request."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.entry import Entry
from receiver.auditor.timeline import PAGE_ENTRIES, Entries

SCANNED_MAX = 5_000  # entries that one request for an actor reads; the next one goes on behind them


async def chosen(
    log: Entries,
    tenant: str,
    *,
    after: int,
    limit: int,
    incident: str | None = None,
    stage: str | None = None,
    actor: str | None = None,
) -> tuple[Sequence[Entry], int | None]:
    """Up to `limit` entries above `after`, and the index after which the next page begins; None at the end.

    With an actor a page may hold fewer, or none, although more follow: it ends where SCANNED_MAX entries were read.
    """
    found: list[Entry] = []
    if actor is None:
        # One more than asked for tells whether there is a next page.
        found = await log.entries(tenant, after=after, limit=limit + 1, incident=incident, stage=stage)
        return found[:limit], found[limit - 1].index if len(found) > limit else None
    scanned = 0
    while scanned < SCANNED_MAX:
        size = min(PAGE_ENTRIES, SCANNED_MAX - scanned)
        page = await log.entries(tenant, after=after, limit=size, incident=incident, stage=stage)
        for entry in page:
            if entry.actor == actor:
                found.append(entry)
                if len(found) == limit:
                    return found, entry.index
        if len(page) < size:
            return found, None
        scanned += size
        after = page[-1].index
    return found, after
