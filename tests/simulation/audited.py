"""The auditor's view of a history: every verdict decided again from the ledger alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ledger.entry import Entry
from ledger.journal import Journal
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


def differences(copy: Copy) -> list[Difference]:
    return list(Replay(copy).differences())
