"""The books of one log as it grows: the trial balance and the findings, counted entry by entry and only once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ledger import reconcile
from ledger.entry import Entry
from ledger.findings import Examiner, Finding, in_order
from receiver.auditor.charters import Blobs
from receiver.auditor.confirming import Unconfirmed
from receiver.auditor.permitted import Permitted


@dataclass(frozen=True, slots=True)
class Books:
    """The trial balance of the first `size` entries, and what an auditor would ask about."""

    size: int
    balance: reconcile.Balance
    findings: tuple[Finding, ...]


class Count:
    """What was counted of one log so far. blob: gives at least the policies and rosters that were adopted."""

    def __init__(self, blob: Blobs) -> None:
        self.size = 0
        self._tally = reconcile.Tally()
        self._examiner = Examiner()
        self._permitted = Permitted(blob)
        self._unconfirmed = Unconfirmed()
        self._found: list[Finding] = []

    def take(self, entry: Entry) -> None:
        """Count the next entry."""
        self._found += self._examiner.take(entry)
        self._found += self._permitted.take(entry)
        self._unconfirmed.take(entry)
        if entry.well_formed:
            self._tally.add(entry)
        self.size += 1

    def books(self, now: datetime | None, more: Iterable[Finding] = ()) -> Books:
        """The books as they stand at `now`; None asks for nothing that is overdue. more: findings from elsewhere."""
        overdue = self._examiner.overdue(now) if now is not None else ()
        found = [*self._found, *self._examiner.end(), *overdue, *self._unconfirmed.findings(now), *more]
        return Books(self.size, self._tally.balance(), in_order(found))
