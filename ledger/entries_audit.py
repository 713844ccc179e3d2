"""The entries of one log under verification: their bytes, and the rules of the books.

Of a long log a process beside looks at them, while the one that verifies hashes the same bytes and compares roots.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

from ledger.beside import Unsaid, beside
from ledger.bulk import without_collector
from ledger.entry import MAX_ENTRY_BYTES, Entry, read_canonical
from ledger.findings import HARMLESS, Examiner, Finding
from ledger.merkle import leaf_hash
from ledger.reconcile import Tally
from ledger.stores import schema

BESIDE_FROM = 20_000  # entries, from which on a process of its own pays
Found = tuple[str, int | None, str]  # the rule, the index of the entry, and what is wrong
Shape = tuple[str, int, str]  # the same of bytes that are no entry


class LogFault(Exception):
    """The first fault of a log, as `Found`."""


@dataclass(frozen=True, slots=True)
class EntriesFound:
    """What is wrong with the entries of a log, the first of each kind; None where nothing is.

    shape: bytes that are no entry; what follows them was not looked at. books: a rule of the books.
    seen: the SHA-256 over the leaf hashes of all that was looked at, in hex.
    """

    shape: Shape | None
    books: Found | None
    seen: str | None


class EntriesAudit:
    """The entries of `tenant`, one after the other, from the first."""

    def __init__(self, tenant: str, origin: str) -> None:
        self._tenant = tenant
        self._origin = origin
        self._examiner = Examiner()
        self._tally = Tally()
        self._worst: Finding | None = None

    def take(self, n: int, raw: bytes) -> None:
        """The bytes that stand at the number `n`. Raises LogFault where they are no entry, or not that one."""
        try:
            data, exact = read_canonical(raw)
            said = data["index"], data["tenant_id"], data["ledger"]
            entry = Entry.of(data, raw)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise LogFault("leaf", n, f"it is not an entry: {str(error).removeprefix('not an entry: ')}") from error
        if not exact:
            raise LogFault("leaf", n, "its bytes are not canonical")
        if said != (n, self._tenant, self._origin):
            raise LogFault("leaf", n, f"it says it is entry {said[0]} of {said[1]} in {said[2]}")
        if found := self._examiner.take(entry):
            self._note(found)
        if self._worst is None:
            self._tally.add(entry)

    def end(self, seen: str | None = None, shape: Shape | None = None) -> EntriesFound:
        """What is wrong with all that was taken. seen, shape: as they are to stand there."""
        self._note(self._examiner.end())
        books: Found | None = None
        if self._worst is not None:
            books = self._worst.rule, self._worst.index, f"{self._worst.rule}: {self._worst.detail}"
        elif not self._tally.balance().balanced:
            books = "books", None, "the books do not balance; see `ledger reconcile`"
        return EntriesFound(shape, books, seen)

    def _note(self, found: Iterator[Finding] | list[Finding]) -> None:
        for one in found:
            if one.rule not in HARMLESS and (self._worst is None or _place(one) < _place(self._worst)):
                self._worst = one


def text_of(n: int, raw: object) -> bytes:
    """What stands at the number `n` as bytes that may be an entry. Raises LogFault."""
    if type(raw) is not bytes:
        raise LogFault("leaf", n, "it is no text")
    if len(raw) > MAX_ENTRY_BYTES:
        raise LogFault("leaf", n, f"it has {len(raw)} bytes, and an entry has at most {MAX_ENTRY_BYTES}")
    return raw


def audit_entries(store: sqlite3.Connection, tenant: str, origin: str, size: int) -> EntriesFound:
    """What is wrong with the first `size` entries of a log. A gap is left to whoever looks at the numbers."""
    audit, seen = EntriesAudit(tenant, origin), hashlib.sha256()
    sql = "SELECT n, CAST(bytes AS BLOB) FROM entry WHERE tenant = ? AND n < ? ORDER BY n"
    shape: Shape | None = None
    for place, (n, raw) in enumerate(store.execute(sql, (tenant, size))):
        if n != place:
            break
        try:
            audit.take(n, text_of(n, raw))
        except LogFault as fault:
            shape = fault.args
            break
        seen.update(leaf_hash(raw))
    return audit.end(seen.hexdigest(), shape)


@contextmanager
def entries_beside(
    store: sqlite3.Connection, path: Path, tenant: str, origin: str, size: int
) -> Iterator[Callable[[str | None], EntriesFound]]:
    """`audit_entries` of the log in the file `path`, which `store` reads, in a process beside this one.

    What is called for the answer is told what was seen here, where that was the whole log: a process that saw other
    entries, as where the file was changed meanwhile, counts for nothing, and this one looks.
    """
    with beside(__name__, str(path), tenant, origin, str(size)) as answer:

        def found(seen: str | None) -> EntriesFound:
            try:
                shape, books, seen_there = answer()
            except Unsaid:
                return audit_entries(store, tenant, origin, size)
            if seen is not None and (shape is not None or seen != seen_there):
                return audit_entries(store, tenant, origin, size)
            return EntriesFound(shape and tuple(shape), books and tuple(books), seen_there)

        yield found


def main() -> None:
    """The process beside: PATH TENANT ORIGIN SIZE. It writes what it found, as JSON."""
    path, tenant, origin, size = sys.argv[1:]
    with closing(schema.connect(path)) as store, without_collector():
        sys.stdout.write(json.dumps(astuple(audit_entries(store, tenant, origin, int(size)))))


def _place(finding: Finding) -> int:
    return -1 if finding.index is None else finding.index
