"""The auditor's view of a history: the books and findings, and every verdict decided again from the ledger alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from ledger.entry import Entry
from ledger.findings import HARMLESS, Finding
from ledger.journal import Journal
from receiver.auditor.counting import Count
from receiver.auditor.replay import Difference, Replay


@dataclass
class Copy:
    """A log and its blobs, taken out of a journal."""

    tenant: str
    log: Sequence[Entry]
    blobs: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    async def of(cls, journal: Journal, tenant: str, log: Sequence[Entry]) -> Copy:
        found = cls(tenant, log)
        for digest in {blob.digest for entry in log for blob in entry.blobs}:
            found.blobs[digest] = await journal.blob(tenant, digest) or b""
        return found

    def entries(self) -> Iterator[Entry]:
        return iter(self.log)

    def blob(self, digest: str) -> bytes | None:
        return self.blobs.get(digest)


def findings(copy: Copy) -> list[Finding]:
    """What `ledger reconcile` would name a day later, but for steps of the clock, which are part of a history."""
    count = Count(copy.blob)
    for entry in copy.log:
        count.take(entry)
    books = count.books(copy.log[-1].timestamp + timedelta(days=1))
    assert books.balance.balanced
    return [finding for finding in books.findings if finding.rule not in HARMLESS]


def differences(copy: Copy) -> list[Difference]:
    return list(Replay(copy).differences())
