"""The rules of the books over one log under verification: every finding, and the trial balance at the end.

Of a long log a process beside decides them, while the one that verifies looks at bytes, roots and signatures.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ledger.beside import Unsaid, beside
from ledger.bulk import without_collector
from ledger.entry import MAX_ENTRY_BYTES, Entry
from ledger.findings import HARMLESS, Examiner, Finding
from ledger.reconcile import Tally
from ledger.stores import schema

BESIDE_FROM = 20_000  # entries, from which on a process of its own pays
BooksFault = tuple[str, int | None, str]  # the rule, the index of the entry, and what is wrong
SHAPE = "leaf"  # the rule that the bytes of an entry are one


class BooksAudit:
    """What the books say of the entries that were taken, in order: one after the other, from the first."""

    def __init__(self) -> None:
        self._examiner = Examiner()
        self._tally = Tally()
        self._worst: Finding | None = None

    def take(self, entry: Entry) -> None:
        if found := self._examiner.take(entry):
            self._note(found)
        if self._worst is None:
            self._tally.add(entry)

    def end(self) -> BooksFault | None:
        """What comes first in the log of all that must not be; None where the books hold."""
        self._note(self._examiner.end())
        if self._worst is not None:
            return self._worst.rule, self._worst.index, f"{self._worst.rule}: {self._worst.detail}"
        if not self._tally.balance().balanced:
            return "books", None, "the books do not balance; see `ledger reconcile`"
        return None

    def _note(self, found: Iterator[Finding] | list[Finding]) -> None:
        for one in found:
            if one.rule not in HARMLESS and (self._worst is None or _place(one) < _place(self._worst)):
                self._worst = one


def audit_books(store: sqlite3.Connection, tenant: str, size: int) -> BooksFault | None:
    """The first fault of the books in the first `size` entries of a log, or None.

    It ends at bytes that are no entry, which is then the fault. A gap is left to whoever looks at the numbers.
    """
    books = BooksAudit()
    sql = "SELECT n, CAST(bytes AS BLOB) FROM entry WHERE tenant = ? AND n < ? ORDER BY n"
    for place, (n, raw) in enumerate(store.execute(sql, (tenant, size))):
        if n != place:
            break
        if type(raw) is not bytes or len(raw) > MAX_ENTRY_BYTES:
            return SHAPE, place, "it is not an entry: it is no text, or too long"
        try:
            books.take(Entry.parse(raw))
        except ValueError as error:  # NotCanonical among them, where a rule compares what has no canonical form
            return SHAPE, place, f"it is not an entry: {error}"
    return books.end()


@contextmanager
def audited_beside(
    store: sqlite3.Connection, path: Path, tenant: str, size: int
) -> Iterator[Callable[[], BooksFault | None]]:
    """`audit_books` of the log in the file `path`, which `store` reads, in a process beside this one."""
    with beside(__name__, str(path), tenant, str(size)) as answer:

        def fault() -> BooksFault | None:
            try:
                found = answer()
            except Unsaid:
                return audit_books(store, tenant, size)
            return None if found is None else (str(found[0]), found[1], str(found[2]))

        yield fault


def main() -> None:
    """The process beside: PATH TENANT SIZE. It writes the first fault, as JSON."""
    path, tenant, size = sys.argv[1:]
    with closing(schema.connect(path)) as store, without_collector():
        sys.stdout.write(json.dumps(audit_books(store, tenant, int(size))))


def _place(finding: Finding) -> int:
    return -1 if finding.index is None else finding.index
