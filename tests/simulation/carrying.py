"""The log that goes on from another, in memory: what a seal makes, without files and keys."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from ledger.carried import Opening
from ledger.entry import Draft
from receiver.rehearsal.memory import MemoryJournal


async def next_log(tenant: str, opening: Opening, clock: Callable[[], datetime]) -> MemoryJournal:
    """A journal that holds OPENED and what is carried behind it."""
    journal = MemoryJournal(tenant, clock)
    body = {"continues": "a checkpoint", "key": "a key"} | opening.said()
    opened = Draft("open", "OPENED", "system", body=body, blobs=opening.blobs)
    await journal.post(tenant, [opened, *opening.drafts])
    return journal
