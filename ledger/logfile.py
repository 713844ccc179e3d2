"""One log in a SQLite file, read-only and in one snapshot: its bytes, its hashes, its checkpoints and its keys."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from ledger.audit import NotALedger
from ledger.entry import Entry
from ledger.keys import KeyFault, Keyring
from ledger.merkle import BLOCK, Frontier, Range, Subtrees, blocks_of, leaf_hash
from ledger.stores import hashing, opening, schema

PAGE = 16 * BLOCK  # entries read at a time


class LogFile:
    """The log of one tenant. Made by `open_log`; what it gives is unverified. Its methods raise NotALedger."""

    def __init__(self, store: sqlite3.Connection, path: Path, tenant: str) -> None:
        self._store = store
        self._path = path
        self.tenant = tenant
        row = store.execute("SELECT max(n) FROM entry WHERE tenant = ?", (tenant,)).fetchone()
        self.size = 0 if row[0] is None else int(row[0]) + 1
        self._known = Subtrees()

    def raw(self, first: int, end: int) -> list[bytes]:
        """The bytes of the entries from `first` to before `end`."""
        sql = "SELECT CAST(bytes AS BLOB) FROM entry WHERE tenant = ? AND n >= ? AND n < ? ORDER BY n"
        found = [row[0] for row in self._store.execute(sql, (self.tenant, first, end))]
        if len(found) != end - first:
            raise NotALedger(f"{self._path}: an entry from {first} to {end - 1} of {self.tenant} is missing")
        return found

    def hashes(self, ranges: Sequence[Range]) -> list[bytes]:
        """The root over each range of entries, such as those of a proof. The first call reads the whole log."""
        if self._known.size < self.size - self.size % BLOCK:
            try:
                self._known = hashing.subtrees_of(self._store, self._path, self.tenant, self.size)
            except hashing.Missing as gap:
                raise NotALedger(f"{self._path}: entry {gap.index} of {self.tenant} is missing") from gap
        blocks = {}
        for number in blocks_of(ranges):
            first = number * BLOCK
            blocks[number] = [leaf_hash(raw) for raw in self.raw(first, min(first + BLOCK, self.size))]
        return [self._known.hash_of(leaves, blocks) for leaves in ranges]

    def roots(self, sizes: Collection[int]) -> dict[int, bytes]:
        """The root of the tree at each of `sizes`, none of which goes beyond the log; in one walk through it."""
        frontier, found = Frontier(), {}
        for size in sorted(sizes):
            while frontier.size < size:
                page = self.raw(frontier.size, min(size, frontier.size + PAGE))
                frontier = frontier.extended(leaf_hash(raw) for raw in page)
            found[size] = frontier.root
        return found

    def checkpoint_over(self, index: int) -> str | None:
        """The first checkpoint over the entry `index`."""
        return self._note("size > ? ORDER BY size", index)

    def newest_checkpoint(self) -> str | None:
        return self._note("size > ? ORDER BY size DESC", 0)

    def _note(self, which: str, size: int) -> str | None:
        sql = f"SELECT note FROM checkpoint WHERE tenant = ? AND {which} LIMIT 1"  # noqa: S608 - words of ours
        row = self._store.execute(sql, (self.tenant, size)).fetchone()
        return row[0] if row is not None else None

    def entries(self, after: int = -1, incident: str | None = None, stage: str | None = None) -> Iterator[Entry]:
        """The entries above `after` as they stand, in order, whether or not one is missing before them."""
        # Left to itself the planner walks the tenant's log by the primary key, which holds every column.
        index = "INDEXED BY entry_incident" if incident is not None else "INDEXED BY entry_stage" if stage else ""
        sql = f"SELECT n, CAST(bytes AS BLOB) FROM entry {index} WHERE tenant = ? AND n > ?"  # noqa: S608 - words of ours
        given: list[object] = [self.tenant, after]
        for column, value in (("incident", incident), ("stage", stage)):
            if value is not None:
                sql += f" AND {column} = ?"
                given.append(value)
        for n, raw in self._store.execute(sql + " ORDER BY n", given):
            try:
                yield Entry.parse(raw)
            except ValueError as error:
                raise NotALedger(f"{self._path}: entry {n} of {self.tenant}: {error}") from error

    def has_blob(self, digest: str) -> bool:
        sql = "SELECT 1 FROM blob WHERE tenant = ? AND digest = ?"
        return self._store.execute(sql, (self.tenant, digest)).fetchone() is not None

    def blob(self, digest: str) -> bytes | None:
        """What stands under the SHA-256 `digest`, or None."""
        sql = "SELECT data FROM blob WHERE tenant = ? AND digest = ?"
        row = self._store.execute(sql, (self.tenant, digest)).fetchone()
        return bytes(row[0]) if row is not None else None

    def keys(self, origin: str) -> Keyring:
        """The keys that its entries name."""
        try:
            return opening.keys_of(self._store, origin, self.tenant)
        except KeyFault as error:
            raise NotALedger(f"{self._path}: entry {error.index} of {self.tenant}: {error}") from error

    def others(self) -> list[LogFile]:
        """The logs of the other tenants in the file, in the same snapshot."""
        names = [name for name in opening.tenants(self._store) if name != self.tenant]
        return [LogFile(self._store, self._path, name) for name in names]


@contextmanager
def open_log(path: Path, tenant: str) -> Iterator[LogFile]:
    """The log of `tenant`, in a snapshot that a service which goes on writing does not move. Raises NotALedger."""
    if not path.is_file():
        raise NotALedger(f"{path}: no such file")
    try:
        with closing(schema.connect(path)) as store:
            store.execute("BEGIN")
            yield LogFile(store, path, tenant)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise NotALedger(f"{path}: {error}") from error
