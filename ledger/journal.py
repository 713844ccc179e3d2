"""The port: what a ledger does for those who post and read. Every store passes the same conformance suite."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from ledger.entry import Draft, Entry
from ledger.merkle import Range


class LedgerError(Exception):
    """Anything that keeps the ledger from doing what was asked."""


class Refused(LedgerError):
    """The post breaks a rule of the books. Nothing of it stands."""

    def __init__(self, rule: str, stage: str = "") -> None:
        super().__init__(f"{stage}: {rule}" if stage else rule)
        self.rule = rule
        self.stage = stage


class Conflict(LedgerError):
    """An entry of that id stands with other contents: somebody else has the claim."""

    def __init__(self, id: str) -> None:
        super().__init__(f"{id} is posted already, with other contents")
        self.id = id


class Unavailable(LedgerError):
    """The ledger cannot be written now, or it is not known whether it was. Ask again under the same ids."""


class Broken(LedgerError):
    """The ledger must not be used: it is not what its signatures and its anchor say. Says what, and where."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What stands after a post. duplicate: it stood already, from an earlier post of the same."""

    entries: tuple[Entry, ...]
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Entries, and what stands in some of their blobs, by digest; one that is missing is not among them."""

    entries: Sequence[Entry]
    blobs: Mapping[str, bytes] = field(default_factory=dict)


class Journal(Protocol):
    """One ledger with a log for each tenant."""

    async def post(self, tenant: str, drafts: Sequence[Draft]) -> Receipt:
        """Post all of `drafts`, in order, or nothing. Raises Refused, Conflict or Unavailable."""

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
        """Entries with an index above `after`, in order, at most `limit`."""

    async def page(self, tenant: str, *, after: int, limit: int, blobs: Collection[str]) -> Page:
        """Entries as `entries` gives them, and their blobs of these names, read at once."""

    async def get(self, tenant: str, index: int) -> Entry | None: ...

    async def find(self, tenant: str, id: str) -> Entry | None: ...

    async def blob(self, tenant: str, digest: str) -> bytes | None: ...

    async def size(self, tenant: str) -> int: ...

    async def tenants(self) -> list[str]: ...

    async def checkpoint(self, tenant: str) -> str | None:
        """The newest signed checkpoint, as a signed note."""

    async def tree_hashes(self, tenant: str, ranges: Sequence[Range]) -> list[bytes]:
        """The root over each range [begin, end) of entries, such as those of a proof (`ledger.merkle`).

        Raises IndexError where a range goes beyond the log.
        """

    async def outstanding(self, tenant: str) -> list[Entry]:
        """The entries that opened an obligation which nothing has settled, in order."""

    async def wait(self, tenant: str, size: int) -> None:
        """Return when the log of `tenant` holds more than `size` entries."""

    async def anchored(self, tenant: str, index: int) -> bool:
        """True once the anchor covers the entry `index`; False where it cannot be written: `anchor_error` says why.

        Whoever is about to do something outside because of an entry asks this first. What is covered stays so.
        """

    def last_time(self, tenant: str) -> datetime | None:
        """The time of the last entry: the ledger's own, which never steps back."""

    def anchor_error(self) -> str | None:
        """Why nothing may be dispatched now (the anchor cannot be written), or None."""

    async def close(self) -> None: ...
