"""The log that goes on from another, in memory: what a seal makes, without files and keys."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import datetime

from ledger.carried import Opening
from ledger.entry import Draft
from ledger.stores import schema
from receiver.rehearsal.memory import ORIGIN, MemoryJournal
from tests.simulation.audited import Copy
from tests.simulation.history import STRANGER


async def next_log(tenant: str, opening: Opening, clock: Callable[[], datetime]) -> MemoryJournal:
    """A journal that holds OPENED and what is carried behind it."""
    journal = MemoryJournal(tenant, clock)
    body = {"continues": "a checkpoint", "key": "a key"} | opening.said()
    opened = Draft("open", "OPENED", "system", body=body, blobs=opening.blobs)
    await journal.post(tenant, [opened, *opening.drafts])
    return journal


def taken_by_others(copy: Copy) -> None:
    """The rules of the database, and the auditor's own script, take the entries."""
    ledger = STRANGER.Ledger()
    with closing(schema.connect(":memory:")) as store:
        store.executescript(schema.script(ORIGIN))
        for entry in copy.log:
            store.execute(
                "INSERT INTO entry (tenant, n, bytes) VALUES (?, ?, ?)", (copy.tenant, entry.index, entry.raw.decode())
            )
            ledger.post(STRANGER.read_entry(entry.raw, entry.index, f"{ORIGIN}/{copy.tenant}"))
    ledger.end()
