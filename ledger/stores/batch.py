"""What one transaction is made of: posts that wait, the entries they become, the heads and checkpoints after them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import checkpoint as notes
from ledger.entry import MAX_ENTRY_BYTES, SALT_BYTES, Draft, Entry, NotCanonical, canonical, format_time, parse_time
from ledger.journal import Conflict, LedgerError, Receipt, Refused
from ledger.merkle import Frontier, leaf_hash


@dataclass(frozen=True, slots=True)
class Head:
    """The end of one tenant's log: the tree, the time of the last entry, and the checkpoint over all of it."""

    frontier: Frontier = field(default_factory=Frontier)
    time: datetime | None = None
    note: str = ""


Signed = tuple[str, int, str]  # a checkpoint as it is stored: tenant, size, note


@dataclass(frozen=True, slots=True)
class Job:
    """A post that waits for its turn."""

    tenant: str
    drafts: tuple[Draft, ...]
    done: asyncio.Future[Receipt]

    def blobs(self) -> list[tuple[str, str, bytes]]:
        return [(self.tenant, blob.digest, blob.data) for draft in self.drafts for blob in draft.blobs]


def answer(job: Job, result: Receipt | LedgerError) -> None:
    """Tell the caller, unless it was told already or went away."""
    if job.done.done():
        return
    if isinstance(result, Receipt):
        job.done.set_result(result)
    else:
        job.done.set_exception(result)
        job.done.exception()  # a caller that was cancelled never looks at it


@dataclass(slots=True)
class Batch:
    """A transaction as it forms: where each log would end, what was made, what stood before, what each job gets.

    signed: the checkpoints in it, in the order in which they were signed.
    """

    heads: dict[str, Head] = field(default_factory=dict)
    made: dict[tuple[str, str], Entry] = field(default_factory=dict)
    standing: dict[tuple[str, str], Entry] = field(default_factory=dict)
    results: list[Receipt | LedgerError] = field(default_factory=list)
    signed: list[Signed] = field(default_factory=list)

    def keep(self, entries: Iterable[Entry]) -> None:
        self.made |= {(entry.tenant_id, entry.id): entry for entry in entries}


class Scribe:
    """Makes entries of drafts and signs heads. What it gives to an entry: ledger, tenant, index, time and salt."""

    def __init__(self, origin: str, key: Ed25519PrivateKey, clock: Callable[[], datetime]) -> None:
        self._origin = origin
        self._key = key
        self._clock = clock

    def take(self, job: Job, batch: Batch, heads: Mapping[str, Head]) -> Receipt | LedgerError:
        """What becomes of a post as far as is known before the database is asked; `batch.heads` moves on with it.

        heads: the ends of the logs before the batch.
        """
        if any(draft.stage == "REKEYED" for draft in job.drafts):
            return Refused("key: only `counterfoil ledger rotate-key` brings another into force", "REKEYED")
        ids = [(job.tenant, draft.id) for draft in job.drafts]
        found = [entry for id in ids if (entry := batch.made.get(id) or batch.standing.get(id)) is not None]
        try:
            if not found:
                head = batch.heads.get(job.tenant) or heads.get(job.tenant) or Head()
                entries, batch.heads[job.tenant] = self.write(job.tenant, job.drafts, head)
                return Receipt(tuple(entries))
            drafts = [canonical(draft.document(found[0].index)) for draft in job.drafts]
        except NotCanonical as error:
            return Refused(f"bytes: {error}", job.drafts[0].stage)
        if drafts != [canonical(entry.document()) for entry in found]:
            return Conflict(found[0].id)
        return Receipt(tuple(found), duplicate=True)

    def write(self, tenant: str, drafts: Sequence[Draft], head: Head) -> tuple[list[Entry], Head]:
        """The entries that follow `head`, and the head after them, unsigned. Raises NotCanonical."""
        first = head.frontier.size
        now = self._clock()
        time = format_time(now if head.time is None else max(now, head.time))
        entries = []
        for offset, draft in enumerate(drafts):
            given = {
                "ledger": self._origin,
                "tenant_id": tenant,
                "index": first + offset,
                "timestamp": time,
                "salt": secrets.token_hex(SALT_BYTES),
            }
            raw = canonical(draft.document(first) | given)
            if len(raw) > MAX_ENTRY_BYTES:
                raise NotCanonical(f"{len(raw)} of them, and an entry has at most {MAX_ENTRY_BYTES}")
            entries.append(Entry.parse(raw))  # not of the draft, which its maker may change
        # The ledger's own time is what was written, to the microsecond.
        return entries, Head(head.frontier.extended(leaf_hash(entry.raw) for entry in entries), parse_time(time))

    def signed(self, tenant: str, head: Head, *vouching: Ed25519PrivateKey) -> Head:
        """The head with the checkpoint over it. vouching: keys that sign it, too, before they are retired."""
        name = notes.log_origin(self._origin, tenant)
        note = notes.sign(notes.Checkpoint(name, head.frontier.size, head.frontier.root), name, self._key, *vouching)
        return Head(head.frontier, head.time, note)
