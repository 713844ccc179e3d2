"""The proof that a request was authorized, for an executor that believes no secret alone."""

from __future__ import annotations

from ledger import merkle
from ledger.proofs import Proof
from receiver.governor.desk import Desk


async def proof_of(desk: Desk, index: int) -> str | None:
    """The entry `index`, its path and the newest signed checkpoint (c2sp.org/tlog-proof); None where none covers it."""
    note = await desk.journal.checkpoint(desk.tenant)
    entry = await desk.journal.get(desk.tenant, index)
    size = int(note.split("\n")[1]) if note else 0
    if note is None or entry is None or index >= size:
        return None
    path = await desk.journal.tree_hashes(desk.tenant, merkle.inclusion_ranges(index, size))
    return Proof(entry.raw, index, tuple(path), note).text()
