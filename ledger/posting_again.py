"""Whether a database with all the rules of the books would take a log again: it is posted into an empty one.

The same rules as `ledger.findings` decides, in another language, by another program; a test holds that the two agree.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ledger.beside import Unsaid, beside, can_be_told
from ledger.stores import schema

IN_MEMORY_MAX = 50_000  # entries; of a longer log the empty ledger is a file of its own, which SQLite removes
CACHE_KIB = 65_536
POSTED_AGAIN_MAX = 20_000  # entries, up to which it is done without being asked for
BESIDE_FROM = 10_000  # entries, from which on a process of its own pays
Refused = tuple[int, str]  # the index of an entry, and why it was refused


def post_again(store: sqlite3.Connection, tenant: str, origin: str, size: int) -> Refused | None:
    """Post the first `size` entries of the log again; what the database refuses first, or None."""
    read = "SELECT n, bytes FROM entry WHERE tenant = ? AND n < ? ORDER BY n"
    signed = store.execute("SELECT size FROM checkpoint WHERE tenant = ? AND size <= ? ORDER BY size", (tenant, size))
    covered = next(signed, (None,))[0]
    with closing(schema.connect(":memory:" if size <= IN_MEMORY_MAX else "")) as book:
        book.executescript(f"PRAGMA journal_mode = OFF; PRAGMA cache_size = -{CACHE_KIB};")
        book.executescript(schema.script(origin))
        book.execute("BEGIN")
        for n, text in store.execute(read, (tenant, size)):
            try:
                book.execute("INSERT INTO entry (tenant, n, bytes) VALUES (?, ?, ?)", (tenant, n, text))
                if n + 1 == covered:
                    book.execute("INSERT INTO checkpoint VALUES (?, ?, '')", (tenant, n + 1))
                    covered = next(signed, (None,))[0]
            except sqlite3.Error as error:
                stage = store.execute("SELECT stage FROM entry WHERE tenant = ? AND n = ?", (tenant, n)).fetchone()[0]
                return n, f"{stage} breaks a rule of the books: {error}"
    return None


@contextmanager
def posting_again(
    store: sqlite3.Connection, path: Path, tenant: str, origin: str, size: int
) -> Iterator[Callable[[], Refused | None]]:
    """The same of the log in the file `path`, which `store` reads; of a long one by a process beside this one."""
    if size < BESIDE_FROM or not can_be_told(tenant):
        yield lambda: post_again(store, tenant, origin, size)
        return
    with beside(__name__, str(path), tenant, origin, str(size)) as answer:

        def refused() -> Refused | None:
            try:
                found = answer()
            except Unsaid:
                return post_again(store, tenant, origin, size)
            return None if found is None else (int(found[0]), str(found[1]))

        yield refused


def main() -> None:
    """The process beside: PATH TENANT ORIGIN SIZE. It writes what was refused, as JSON."""
    path, tenant, origin, size = sys.argv[1:]
    with closing(schema.connect(path)) as store:
        sys.stdout.write(json.dumps(post_again(store, tenant, origin, int(size))))
