"""Post entries again, one after the other, into an empty ledger that has all of its rules."""

from __future__ import annotations

import sqlite3
from types import TracebackType

from ledger.entry import Entry
from ledger.stores import schema


class Replay:
    """A ledger of one log in a temporary file of SQLite's own, which goes with it. A context manager."""

    def __init__(self, origin: str, tenant: str) -> None:
        self._tenant = tenant
        self._book = sqlite3.connect("", isolation_level=None)
        self._book.create_function("sha256_hex", 1, schema.sha256_hex, deterministic=True)
        self._book.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {schema.script(origin)}")
        self._book.execute("BEGIN")

    def post(self, entry: Entry) -> str | None:
        """Post it. The rule that it breaks, or None."""
        try:
            row = (self._tenant, entry.index, entry.raw.decode())
            self._book.execute("INSERT INTO entry (tenant, n, bytes) VALUES (?, ?, ?)", row)
        except sqlite3.Error as error:
            return str(error)
        return None

    def sign(self, size: int) -> str | None:
        """A checkpoint over `size` entries, which is as many as were posted. The rule that it breaks, or None."""
        try:
            self._book.execute("INSERT INTO checkpoint VALUES (?, ?, '')", (self._tenant, size))
        except sqlite3.Error as error:
            return str(error)
        return None

    def __enter__(self) -> Replay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._book.close()
