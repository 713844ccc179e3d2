"""Where an export comes from: one tenant's log, as it stood at one moment, read from beginning to end."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger import checkpoint as notes
from ledger.stores import schema


class NoExport(Exception):
    """The log cannot be exported as it stands: says what is wrong, and where."""


class Source(Protocol):
    """A log under its newest checkpoint."""

    note: str  # the signed checkpoint
    head: notes.Checkpoint  # what it says
    vkey: str  # the key that it is signed with

    def entries(self) -> Iterator[bytes]:
        """The bytes of every entry, in order."""

    def blob(self, digest: str) -> bytes | None:
        """What stands under the SHA-256 `digest`."""


class Stored:
    """A log in a SQLite file. Made by `stored`."""

    def __init__(self, store: sqlite3.Connection, tenant: str, note: str, head: notes.Checkpoint, vkey: str) -> None:
        self._store = store
        self._tenant = tenant
        self.note, self.head, self.vkey = note, head, vkey

    def entries(self) -> Iterator[bytes]:
        sql = "SELECT CAST(bytes AS BLOB) FROM entry WHERE tenant = ? ORDER BY n"
        for (raw,) in self._store.execute(sql, (self._tenant,)):
            yield raw

    def blob(self, digest: str) -> bytes | None:
        sql = "SELECT data FROM blob WHERE tenant = ? AND digest = ?"
        row = self._store.execute(sql, (self._tenant, digest)).fetchone()
        return bytes(row[0]) if row is not None else None


@contextmanager
def stored(path: Path, origin: str, tenant: str, public: Ed25519PublicKey) -> Iterator[Stored]:
    """One tenant's log in the file at `path`, in a snapshot that a service which goes on writing does not move.

    Raises NoExport where there is none, or its newest checkpoint is not signed with the key.
    """
    if not path.is_file():
        raise NoExport(f"{path}: no such file")
    name = notes.log_origin(origin, tenant)
    try:
        with closing(schema.connect(path)) as store:
            store.execute("BEGIN")
            sql = "SELECT note FROM checkpoint WHERE tenant = ? ORDER BY size DESC LIMIT 1"
            row = store.execute(sql, (tenant,)).fetchone()
            if row is None:
                raise NoExport(f"there is no tenant {tenant} in {path}")
            head = notes.verify(row[0], name, public)
            if head.origin != name:
                raise NoExport(f"{path}: the newest checkpoint is of {head.origin}")
            yield Stored(store, tenant, row[0], head, notes.verifier_key(name, public))
    except (sqlite3.Error, notes.BadCheckpoint) as error:
        raise NoExport(f"{path}: {error}; see `counterfoil ledger verify`") from error
