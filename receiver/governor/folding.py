"""How a desk's book follows the log: a page at a time, at first on a memo where one fits, and a memo now and then."""

from __future__ import annotations

import gc
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ledger.bulk import without_collector
from ledger.entry import Entry
from ledger.journal import Page
from receiver.governor.beside import NAMES, assigned_by, brought_by
from receiver.governor.forgetting import forget
from receiver.governor.meters import count, durations

if TYPE_CHECKING:
    from receiver.governor.desk import Desk

log = logging.getLogger(__name__)

LONG = 100_000  # entries: what is made of so many is never looked through for garbage; it has no cycles
PAGE = 500  # entries that are read and folded at once, before anything else runs; with more a fold is no faster


class Spoilt(RuntimeError):
    """An entry could not be folded to its end: a defect of ours, after which the governor ends."""


async def begin(desk: Desk) -> None:
    """The first fold of a process, and a memo where much was folded. Raises LedgerError."""
    memos = desk.memos
    with without_collector():
        await desk.fold()
        if memos is not None:
            folded = desk.book.size - memos.size
            # Of a short log there is nothing to say: whoever starts the service reads first where it listens.
            say = log.info if memos.size or memos.due(desk.book.size, serving=False) else log.debug
            say("tenant %s: %d entries from the memo, %d folded", desk.tenant, memos.size, folded)
        await remember(desk, serving=False)
        if desk.book.size >= LONG:
            # The collector would look through all of the book at once, and then at each of its long looks: half a
            # second each time for a million entries, in which nothing else runs.
            gc.freeze()


async def fold_on(desk: Desk) -> int:
    """Fold what is new in the log; by how many entries the book grew. One at a time: the caller sees to that."""
    before = desk.book.size
    if desk.spoilt is not None:
        raise Spoilt(f"tenant {desk.tenant}: entry {desk.spoilt} was folded by half; the next start folds it anew")
    if not before and desk.memos is not None:
        desk.book = await desk.memos.load(desk.journal) or desk.book
    while (page := await _page(desk)).entries:
        for entry in page.entries:
            # What stood before this process is no news to its metrics, whether it was folded now or for the memo.
            _take(desk, entry, page.blobs, counted=bool(before))
    return desk.book.size - before


async def _page(desk: Desk) -> Page:
    return await desk.journal.page(desk.tenant, after=desk.book.size - 1, limit=PAGE, blobs=NAMES)


def _take(desk: Desk, entry: Entry, blobs: Mapping[str, bytes], *, counted: bool) -> None:
    # What few entries need is asked for here: of a million, each call more is a tenth of a second.
    assigned = assigned_by(blobs, entry) if entry.stage == "EVALUATED" else ()
    former = brought_by(blobs, entry) if entry.stage == "OPENED" else None
    try:
        desk.book.take(entry, assigned, former)
    except BaseException:
        # A book that has folded one half of an entry is not remembered, and nobody decides by it.
        desk.memos, desk.spoilt = None, entry.index
        raise
    if entry.settles is not None:
        forget(desk, entry)
    if counted:
        count(desk.metrics, desk.book, entry)
        durations(desk.metrics, desk.book, entry)


async def remember(desk: Desk, *, serving: bool) -> None:
    """Write a memo of the book, where that is due. serving: steps may run meanwhile."""
    memos = desk.memos
    if memos is None or not memos.due(desk.book.size, serving=serving):
        return
    async with desk.folding:
        if desk.memos is not memos:  # a fold that this waited for has failed in the middle of an entry
            return
        raw = await memos.made(desk.book, desk.journal, serving=serving)
    if raw is not None:
        await memos.keep(raw)
