"""One log under examination, entry by entry, in order. What it keeps grows with what is open, not with the log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from ledger.entry import Entry, format_time
from ledger.findings import laws
from ledger.findings.carrying import Carrying
from ledger.findings.finding import WHO_WROTE, Finding, in_order
from ledger.findings.order import Order
from ledger.findings.standing import Standing

OVERDUE_SLACK = timedelta(minutes=1)  # the service takes its steps one after the other


class Examiner:
    """Says of each entry what must not be. Nothing behind a gap is judged: it may rest on what is missing."""

    def __init__(self) -> None:
        self._order = Order()
        self._standing = Standing()
        self._carrying = Carrying()
        self._before: Entry | None = None
        self._ended = False

    def take(self, entry: Entry) -> list[Finding]:
        """The findings of the next entry."""
        if self._ended:
            return []
        place = self._order.size
        if not entry.well_formed:
            self._ended = True
            return [Finding(place, "form", "a field is of another type", WHO_WROTE)]
        if entry.index != place:
            self._ended = True
            remedy = "restore the newest copy of the ledger"
            return [Finding(place, "gap", f"it is missing: {entry.index} follows {place - 1}", remedy)]
        standing = self._standing
        target = standing.outstanding.get(entry.settles) if entry.settles is not None else None
        found = self._order.take(entry, target)
        if self._before is not None and self._before.stage == "DECLINED":
            found[:0] = laws.after(self._before, entry)
        if self._carrying.begins or "carried" in entry.body:
            found += self._carrying.take(entry)
        if entry.stage in laws.JUDGED:
            found += laws.of_its_stage(entry, target, standing)
        standing.take(entry)
        self._before = entry
        return found

    def end(self) -> Iterator[Finding]:
        """What only shows at the end of the log."""
        if not self._ended:
            if self._before is not None:
                yield from laws.after(self._before, None)
            yield from self._carrying.end()
            yield from self._order.end()

    def overdue(self, now: datetime) -> Iterator[Finding]:
        """What is outstanding at `now` and should have been settled."""
        moment = format_time(now - OVERDUE_SLACK)
        for open_entry in self._standing.outstanding.values():
            if open_entry.deadline and open_entry.deadline < moment:
                detail = f"{open_entry.stage} is outstanding, and was to be settled by {open_entry.deadline}"
                remedy = "start the service, which settles what is overdue; where it runs, its log says why it does not"
                yield Finding(open_entry.index, "overdue", detail, remedy)


def findings(entries: Iterable[Entry], now: datetime | None = None) -> tuple[Finding, ...]:
    """Everything that must not be in a log, by entry. now: when nothing may be overdue; None to leave that out."""
    examiner = Examiner()
    found = [finding for entry in entries for finding in examiner.take(entry)]
    found += examiner.end()
    found += examiner.overdue(now) if now is not None else ()
    return in_order(found)
