"""A journal in memory, for rehearsals: the port without disk, tree and signatures.

What the books allow is proven of the real stores; here the real governor runs on an outside that is made up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from ledger.accounts import OPENS
from ledger.entry import Draft, Entry, canonical, format_time
from ledger.journal import Conflict, Page, Receipt
from ledger.merkle import Range, leaf_hash, tree_root

ORIGIN = "rehearsal.example"
SALT = "0" * 32


class MemoryJournal:
    """One tenant's log as a list. `clock` gives aware UTC time; the log's own never steps back."""

    def __init__(self, tenant: str, clock: Callable[[], datetime]) -> None:
        self._tenant = tenant
        self._clock = clock
        self._by_id: dict[str, Entry] = {}
        self._blobs: dict[str, bytes] = {}
        self._settled: set[int] = set()
        self.log: list[Entry] = []

    async def post(self, tenant: str, drafts: Sequence[Draft]) -> Receipt:
        """Post all of `drafts`, or nothing. Raises Conflict."""
        first = len(self.log)
        standing = [self._by_id.get(draft.id) for draft in drafts]
        if any(standing):
            found = tuple(entry for entry in standing if entry is not None)
            if len(found) == len(drafts) and all(e.stage == d.stage for e, d in zip(found, drafts, strict=True)):
                return Receipt(found, duplicate=True)
            raise Conflict(found[0].id)
        now = max(self._clock(), self.log[-1].timestamp) if self.log else self._clock()
        entries = []
        for place, draft in enumerate(drafts):
            head = {"ledger": ORIGIN, "tenant_id": self._tenant, "index": first + place, "salt": SALT}
            raw = canonical({**head, "timestamp": format_time(now), **draft.document(first)})
            entries.append(Entry.parse(raw))
        for entry, draft in zip(entries, drafts, strict=True):
            self.log.append(entry)
            self._by_id[entry.id] = entry
            self._blobs |= {blob.digest: blob.data for blob in draft.blobs}
            if entry.settles is not None:
                self._settled.add(entry.settles)
        return Receipt(tuple(entries))

    async def entries(
        self,
        tenant: str,
        *,
        after: int = -1,
        limit: int = 1000,
        incident: str | None = None,
        stage: str | None = None,
        actor: str | None = None,
    ) -> list[Entry]:
        wanted = (
            entry
            for entry in self.log[after + 1 :]
            if (incident is None or entry.incident_id == incident)
            and (stage is None or entry.stage == stage)
            and (actor is None or entry.actor == actor)
        )
        return [entry for entry, _ in zip(wanted, range(limit), strict=False)]

    async def page(self, tenant: str, *, after: int, limit: int, blobs: Collection[str]) -> Page:
        entries = await self.entries(tenant, after=after, limit=limit)
        wanted = (ref.digest for entry in entries for ref in entry.blobs if ref.name in blobs)
        return Page(entries, {d: data for d in wanted if (data := await self.blob(tenant, d)) is not None})

    async def get(self, tenant: str, index: int) -> Entry | None:
        return self.log[index] if 0 <= index < len(self.log) else None

    async def find(self, tenant: str, id: str) -> Entry | None:
        return self._by_id.get(id)

    async def blob(self, tenant: str, digest: str) -> bytes | None:
        return self._blobs.get(digest)

    async def size(self, tenant: str) -> int:
        return len(self.log)

    async def tenants(self) -> list[str]:
        return [self._tenant]

    async def checkpoint(self, tenant: str) -> str | None:
        return None

    async def tree_hashes(self, tenant: str, ranges: Sequence[Range]) -> list[bytes]:
        leaves = [leaf_hash(entry.raw) for entry in self.log]
        return [tree_root(leaves[begin:end]) for begin, end in ranges]

    async def outstanding(self, tenant: str) -> list[Entry]:
        return [e for e in self.log if e.stage in OPENS and e.index not in self._settled]

    async def wait(self, tenant: str, size: int) -> None:
        """Return at once, or never: a rehearsal turns its governor by hand."""
        if len(self.log) <= size:
            await asyncio.Event().wait()

    async def anchored(self, tenant: str, index: int) -> bool:
        await self.wait(tenant, index)
        return True

    def last_time(self, tenant: str) -> datetime | None:
        return self.log[-1].timestamp if self.log else None

    def anchor_error(self) -> str | None:
        return None

    async def close(self) -> None:
        return None
