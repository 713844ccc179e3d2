"""128 writers at once: nothing lost, nothing invented, no gap, each claim won once, and every receipt's proof verifies.

3,000 entries; COUNTERFOIL_CONCURRENCY=full posts 100,000, and a number so many.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ledger import checkpoint as notes
from ledger.attested import attested_of
from ledger.entry import Back, Draft, Entry
from ledger.journal import Conflict, Refused
from ledger.merkle import BLOCK, inclusion_ranges, leaf_hash, tree_root, verify_inclusion
from ledger.stores.sqlite import SqliteJournal
from tests.ledger.books import ORIGIN
from tests.ledger.files import KEY, Files, note

WRITERS = 128
CHOSEN = os.environ.get("COUNTERFOIL_CONCURRENCY", "3000")
ENTRIES = 100_000 if CHOSEN == "full" else int(CHOSEN)
POSTS = ENTRIES * 9 // (8 * WRITERS) + 1  # of each writer; some are refused, or stand already


@dataclass(slots=True)
class Tally:
    """What the writers were told."""

    receipts: dict[int, bytes] = field(default_factory=dict)  # index → the bytes that were acknowledged
    told: Counter[str] = field(default_factory=Counter)
    claims: Counter[str] = field(default_factory=Counter)  # id → how many won it
    given_up: set[str] = field(default_factory=set)  # ids of callers that went away before their answer

    def keep(self, entries: tuple[Entry, ...]) -> None:
        for entry in entries:
            assert self.receipts.setdefault(entry.index, entry.raw) == entry.raw


async def write(journal: SqliteJournal, number: int, posts: int, tally: Tally) -> None:
    """One writer: most posts are its own; some it repeats, some are claims of all, some are refused or given up."""
    chance = random.Random(number)
    for count in range(posts):
        id = f"{number}:{count}"
        match chance.randrange(12):
            case 0:
                await claim(journal, f"claim:{count}", number, tally)
            case 1:
                await refuse(journal, id, tally)
            case 2:
                await give_up(journal, id, tally)
            case 3:
                first, second = [await journal.post("default", [note(id)]) for _ in range(2)]
                assert (first.entries, first.duplicate, second.duplicate) == (second.entries, False, True)
                tally.keep(first.entries)
                tally.told["twice"] += 1
            case 4:
                drafts = [Draft(f"w{id}", "WATCHED", "policy"), Draft(f"c{id}", "CLEARED", "policy", settles=Back(0))]
                receipt = await journal.post("default", drafts)
                assert receipt.entries[1].settles == receipt.entries[0].index == receipt.entries[1].index - 1
                tally.keep(receipt.entries)
                tally.told["pair"] += 1
            case _:
                tally.keep((await journal.post("default", [note(id, text="x" * chance.randrange(400))])).entries)
                tally.told["one"] += 1


async def claim(journal: SqliteJournal, id: str, number: int, tally: Tally) -> None:
    """Many want it, each with a text of their own: one gets it."""
    try:
        receipt = await journal.post("default", [note(id, text=f"mine, says {number}")])
    except Conflict:
        tally.told["lost a claim"] += 1
    else:
        tally.keep(receipt.entries)
        tally.claims[id] += 1


async def refuse(journal: SqliteJournal, id: str, tally: Tally) -> None:
    with pytest.raises(Refused):
        await journal.post("default", [note(f"never:{id}"), Draft(id, "DIAGNOSED", "policy", settles=0)])
    tally.told["refused"] += 1


async def give_up(journal: SqliteJournal, id: str, tally: Tally) -> None:
    """The caller is cancelled: the entry may stand or not, and only once."""
    post = asyncio.ensure_future(journal.post("default", [note(id)]))
    await asyncio.sleep(0)
    post.cancel()
    await asyncio.wait([post])
    tally.given_up.add(id)
    tally.told["gave up"] += 1


async def test_nothing_is_lost_between_128_writers(tmp_path: Path) -> None:
    files, tally = Files(tmp_path), Tally()
    journal = await files.open(durable=True)
    began = time.perf_counter()
    await asyncio.gather(*(write(journal, number, POSTS, tally) for number in range(WRITERS)))
    seconds = time.perf_counter() - began
    size = await journal.size("default")
    print(f"\n{WRITERS} writers, {size} entries, {size / seconds:.0f}/s: {dict(sorted(tally.told.items()))}")
    await journal.close()

    journal = await files.open()  # what is told from here on is what stands on the disk
    found = await journal.entries("default", limit=10**9)
    assert [entry.index for entry in found] == list(range(size))
    assert {index: found[index].raw for index in tally.receipts} == tally.receipts
    unheard = {entry.id for entry in found if entry.index not in tally.receipts}
    own = {entry.id for entry in found if attested_of(entry) is not None}  # what the ledger says of its checkpoints
    assert unheard <= tally.given_up | own | {"open"}
    assert not [entry for entry in found if entry.id.startswith("never:")]
    assert set(tally.claims.values()) == {1}
    assert len({entry.id for entry in found}) == size >= ENTRIES
    await check_proofs(journal, found)
    await journal.close()
    assert str(files.verify()).startswith(f"OK: {size} entries")


async def check_proofs(journal: SqliteJournal, entries: list[Entry]) -> None:
    """The proof of every entry, as the journal gives it, under the signed checkpoint. A block of them in a question."""
    note = await journal.checkpoint("default")
    assert note is not None
    head = notes.verify(note, notes.log_origin(ORIGIN, "default"), KEY.public_key())
    leaves = [leaf_hash(entry.raw) for entry in entries]
    assert (head.size, head.root) == (len(entries), tree_root(leaves))
    for first in range(0, head.size, BLOCK):
        indices = range(first, min(first + BLOCK, head.size))
        ranges = [inclusion_ranges(index, head.size) for index in indices]
        hashes = iter(await journal.tree_hashes("default", [part for path in ranges for part in path]))
        for index, path in zip(indices, ranges, strict=True):
            proof = [next(hashes) for _ in path]
            assert verify_inclusion(leaves[index], index, head.size, proof, head.root)
