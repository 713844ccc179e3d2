"""What the pages and the API show, derived from the journal's entries alone. Read-only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Protocol

from ledger import merkle
from ledger.entry import Entry
from ledger.journal import Journal
from policy_rules.loading import PolicyErrors, load
from policy_rules.rulebook import Rulebook
from receiver.auditor.counting import Books, Count
from receiver.auditor.explanation import Explanation, explanations
from receiver.auditor.report import Report
from receiver.auditor.standing import IncidentView, Standing
from receiver.auditor.timeline import PAGE_ENTRIES, Entries, incident_view, report
from receiver.incident.states import IncidentState


@dataclass(slots=True)
class Register:
    """What one tenant's log says of its incidents and halts, up to the index `size`: a cache of the fold."""

    size: int = 0
    incidents: dict[str, Standing] = field(default_factory=dict)  # in the order in which they were opened
    halts: dict[int, Entry] = field(default_factory=dict)  # outstanding
    policies: dict[str, str] = field(default_factory=dict)  # policy digest → digest of the blob with its text
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def followed_by(self, incident_id: str) -> str | None:
        """The incident that counts as the next part of this one."""
        found = (s.detected for s in self.incidents.values() if s.detected.body.get("continues") == incident_id)
        return next((entry.incident_id for entry in found), None)

    def take(self, entry: Entry) -> None:
        self.size = entry.index + 1
        if entry.stage == "DETECTED" and entry.incident_id is not None:
            self.incidents.setdefault(entry.incident_id, Standing(entry))
        elif entry.incident_id in self.incidents:
            self.incidents[entry.incident_id].take(entry)
        if entry.stage == "HALTED":
            self.halts[entry.index] = entry
        elif entry.stage == "RESUMED" and entry.settles is not None:
            self.halts.pop(entry.settles, None)
        elif entry.stage == "ADOPTED" and entry.policy_digest:
            texts = [blob.digest for blob in entry.blobs if blob.name == "policy"]
            self.policies.update((entry.policy_digest, digest) for digest in texts)


@dataclass(frozen=True, slots=True)
class Proof:
    index: int
    leaf_hash: bytes
    tree_size: int
    path: tuple[bytes, ...]
    note: str


class _Counted:
    """The books of one log so far, and the texts that it has adopted."""

    def __init__(self) -> None:
        self.texts: dict[str, bytes] = {}
        self.count = Count(self.texts.get)
        self._lock = Lock()

    def take(self, page: Sequence[Entry]) -> None:
        """Count a page, in a thread: one that a cancelled question left running may have counted it meanwhile."""
        with self._lock:
            for entry in page:
                if entry.index == self.count.size:
                    self.count.take(entry)

    def books(self, now: datetime | None) -> Books:
        with self._lock:
            return self.count.books(now)


class Texts(Entries, Protocol):
    """A log with the texts that its entries name (a `Journal` does it, and a ledger's file)."""

    async def blob(self, tenant: str, digest: str) -> bytes | None: ...


class Incidents:
    """The incidents of a ledger. What it remembers is made again from the entries after a restart."""

    def __init__(self, log: Texts) -> None:
        self._log = log
        self._registers: dict[str, Register] = {}

    async def register(self, tenant: str) -> Register:
        """The register, caught up with the log."""
        register = self._registers.setdefault(tenant, Register())
        async with register.lock:
            while page := await self._log.entries(tenant, after=register.size - 1, limit=PAGE_ENTRIES):
                for entry in page:
                    register.take(entry)
        return register

    async def incidents(
        self, tenant: str, *, before: int, limit: int, states: frozenset[IncidentState] | None = None
    ) -> tuple[list[IncidentView], int | None]:
        """Incidents opened by an entry below `before`, the newest first, and the `before` of the next page."""
        register = await self.register(tenant)
        found: list[IncidentView] = []
        for standing in reversed(register.incidents.values()):
            if standing.detected.index >= before or (states is not None and standing.state not in states):
                continue
            if len(found) == limit:
                return found, found[-1].index
            found.append(standing.view())
        return found, None

    async def incident(self, tenant: str, incident_id: str, at: int | datetime | None = None) -> IncidentView | None:
        """One incident with its timeline, now or as it stood at an index or a time. None where there is none."""
        return await incident_view(self._log, tenant, incident_id, at)

    async def why(self, tenant: str, view: IncidentView) -> list[Explanation]:
        """Every verdict of one incident, explained by the texts of the policies in the ledger."""
        register = await self.register(tenant)
        named = [digest for e in view.entries for digest in (e.policy_digest, e.body.get("in_force"))]
        books: dict[str | None, Rulebook | None] = {}
        for digest in {name for name in named if isinstance(name, str)} & register.policies.keys():
            text = await self._log.blob(tenant, register.policies[digest])
            books[digest] = await asyncio.to_thread(_rulebook, text)
        detected = next(entry for entry in view.entries if entry.index == view.index)
        key = detected.body.get("key")
        return list(explanations(view.entries, view.rule, key if isinstance(key, dict) else {}, books.get))


class Reader(Incidents):
    """Reads one ledger through its journal.

    clock: when something is overdue; None for the time of the newest entry.
    """

    def __init__(self, journal: Journal, clock: Callable[[], datetime] | None = None) -> None:
        super().__init__(journal)
        self.journal = journal
        self._clock = clock
        self._counted: dict[str, _Counted] = {}
        self._counting = asyncio.Lock()

    async def report(self, tenant: str, incident_id: str, at: int | datetime | None = None) -> Report | None:
        """The report on one incident, now or as it stood then. None where there is none."""
        size = await self.journal.size(tenant)
        last = await self.journal.get(tenant, size - 1)
        return await report(self.journal, tenant, incident_id, last, at) if last is not None else None

    async def books(self, tenant: str) -> Books:
        """The trial balance and the findings; each entry is counted once, away from the event loop."""
        async with self._counting:
            counted = self._counted.setdefault(tenant, _Counted())
            while page := await self.journal.entries(tenant, after=counted.count.size - 1, limit=PAGE_ENTRIES):
                for blob in (blob for entry in page if entry.stage == "ADOPTED" for blob in entry.blobs):
                    data = await self.journal.blob(tenant, blob.digest)
                    counted.texts |= {blob.digest: data} if data is not None else {}
                await asyncio.to_thread(counted.take, page)
            now = self._clock() if self._clock is not None else self.journal.last_time(tenant)
            return await asyncio.to_thread(counted.books, now)

    async def proof(self, tenant: str, index: int) -> Proof | None:
        """The entry's place in the tree of the newest checkpoint, or None where that tree does not hold it."""
        note = await self.journal.checkpoint(tenant)
        entry = await self.journal.get(tenant, index)
        size = checkpoint_size(note)
        if note is None or entry is None or index >= size:
            return None
        path = await self.journal.tree_hashes(tenant, merkle.inclusion_ranges(index, size))
        return Proof(index, merkle.leaf_hash(entry.raw), size, tuple(path), note)


def _rulebook(text: bytes | None) -> Rulebook | None:
    try:
        return load(text or b"", file="policy", environment={})
    except PolicyErrors:
        return None  # written by a version that reads policies otherwise: its words stand in the verdicts all the same


def checkpoint_size(note: str | None) -> int:
    """The number of entries that a signed note speaks of (C2SP checkpoint, line 2)."""
    return int(note.split("\n")[1]) if note else 0
