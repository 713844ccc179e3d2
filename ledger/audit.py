"""Verify a store: every byte, leaf, root, checkpoint, blob and posting rule; the first fault, and where it is.

Nothing here trusts the database's own rules: a connection that took the triggers away leaves what this finds.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger import checkpoint as notes
from ledger.entry import MAX_ENTRY_BYTES, Entry, NotCanonical, canonical
from ledger.merkle import Frontier, leaf_hash
from ledger.reconcile import findings, trial_balance

HARMLESS = frozenset({"clock stepped"})  # a finding for the auditor, and no sign of tampering


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing that does not hold in one tenant's log. index: None where it is about the log as a whole."""

    tenant: str
    index: int | None
    message: str

    def __str__(self) -> str:
        place = f"entry {self.index}" if self.index is not None else "the log"
        return f"{self.tenant}: {place}: {self.message}"


@dataclass(frozen=True, slots=True)
class Audit:
    """What was verified of one tenant's log. `fault` is None where everything holds."""

    tenant: str
    entries: int
    root: str
    fault: Fault | None

    def __str__(self) -> str:
        if self.fault is not None:
            return f"FAULT: {self.fault}"
        return f"OK: {self.entries} entries, root {self.root}"


class NotALedger(Exception):
    """The file cannot be read as a ledger."""


def verify_store(path: Path, *, origin: str, public: Ed25519PublicKey, anchor_path: Path | None = None) -> list[Audit]:
    """Verify every log of the SQLite ledger at `path`, read-only. Raises NotALedger."""
    if not path.is_file():
        raise NotALedger(f"{path}: no such file")
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
            sql = "SELECT tenant FROM entry UNION SELECT tenant FROM checkpoint ORDER BY 1"
            tenants = [row[0] for row in store.execute(sql)]
            return [_Log(store, tenant, origin, public, anchor_path).verify() for tenant in tenants]
    except sqlite3.Error as error:
        raise NotALedger(f"{path}: {error}") from error


def read_entries(path: Path, tenant: str) -> list[Entry]:
    """Every entry of one tenant, as it stands, unverified. Raises NotALedger."""
    if not path.is_file():
        raise NotALedger(f"{path}: no such file")
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
            rows = store.execute("SELECT bytes FROM entry WHERE tenant = ? ORDER BY n", (tenant,))
            return [Entry.parse(row[0].encode()) for row in rows]
    except (sqlite3.Error, ValueError) as error:
        raise NotALedger(f"{path}: {error}") from error


class _Fault(Exception):
    def __init__(self, index: int | None, message: str) -> None:
        super().__init__(message)
        self.index = index
        self.message = message


class _Log:
    """One tenant's log under verification."""

    def __init__(
        self, store: sqlite3.Connection, tenant: str, origin: str, public: Ed25519PublicKey, anchor: Path | None
    ) -> None:
        self._store = store
        self._tenant = tenant
        self._origin = origin
        self._name = notes.log_origin(origin, tenant)
        self._public = public
        self._anchor_path = anchor
        self._frontier = Frontier()
        self._entries: list[Entry] = []

    def verify(self) -> Audit:
        fault = None
        try:
            self._checkpoints_and_entries()
            self._anchor()
            self._blobs()
            self._books()
        except _Fault as found:
            fault = Fault(self._tenant, found.index, found.message)
        return Audit(self._tenant, self._frontier.size, self._frontier.root.hex(), fault)

    def _checkpoints_and_entries(self) -> None:
        """Hash the entries in order and compare the root at every size that was signed."""
        signed = dict(self._signed())
        if not signed:
            raise _Fault(None, "no checkpoint")
        sql = "SELECT n, bytes FROM entry WHERE tenant = ? ORDER BY n"
        for n, text in self._store.execute(sql, (self._tenant,)):
            self._entry(n, text)
            expected = signed.pop(self._frontier.size, None)
            if expected is not None and expected != self._frontier.root:
                raise _Fault(n, "the root differs from the signed one: this entry or one before it was changed")
        newest = max(signed, default=None)
        if newest is not None:
            raise _Fault(None, f"{newest} entries were signed and {self._frontier.size} stand: the end was cut off")
        last = self._store.execute("SELECT max(size) FROM checkpoint WHERE tenant = ?", (self._tenant,)).fetchone()[0]
        if last != self._frontier.size:
            raise _Fault(last, f"it and what follows is under no checkpoint ({self._frontier.size} stand)")

    def _signed(self) -> Iterator[tuple[int, bytes]]:
        sql = "SELECT size, note FROM checkpoint WHERE tenant = ? ORDER BY size"
        for size, note in self._store.execute(sql, (self._tenant,)):
            try:
                found = notes.verify(note, self._name, self._public)
            except notes.BadCheckpoint as error:
                raise _Fault(None, f"the checkpoint of size {size}: {error}") from error
            if found.size != size or found.origin != self._name:
                raise _Fault(None, f"the checkpoint of size {size} says {found.origin} {found.size}")
            yield size, found.root

    def _entry(self, n: int, text: str) -> None:
        place = self._frontier.size
        if n != place:
            raise _Fault(place, f"it is missing: {n} follows {place - 1}")
        raw = text.encode()
        try:
            entry = Entry.parse(raw)
            exact = canonical(json.loads(raw)) == raw
        except (ValueError, NotCanonical) as error:
            raise _Fault(n, f"it is not an entry: {error}") from error
        if not exact or len(raw) > MAX_ENTRY_BYTES:
            raise _Fault(n, "its bytes are not canonical")
        if (entry.index, entry.tenant_id, entry.ledger) != (n, self._tenant, self._origin):
            raise _Fault(n, f"it says it is entry {entry.index} of {entry.tenant_id} in {entry.ledger}")
        self._frontier = self._frontier.appended(leaf_hash(raw))
        self._entries.append(entry)

    def _anchor(self) -> None:
        if self._anchor_path is None:
            return
        path = self._anchor_path.with_name(f"{self._anchor_path.name}.{self._tenant}")
        try:
            note = notes.Anchor(path).read()
            anchored = notes.verify(note, self._name, self._public) if note is not None else None
        except (notes.BadCheckpoint, OSError) as error:
            raise _Fault(None, f"the anchor: {error}") from error
        if anchored is None:
            return
        if anchored.size > self._frontier.size:
            raise _Fault(
                None, f"the anchor says {anchored.size} entries and {self._frontier.size} stand: an older copy"
            )
        frontier = Frontier()
        for entry in self._entries[: anchored.size]:
            frontier = frontier.appended(leaf_hash(entry.raw))
        if frontier.root != anchored.root:
            raise _Fault(None, f"the root at {anchored.size} differs from the anchor's: another history")

    def _blobs(self) -> None:
        sql = "SELECT data FROM blob WHERE tenant = ? AND digest = ?"
        seen: set[str] = set()
        for entry in self._entries:
            for blob in entry.blobs:
                if blob.digest in seen:
                    continue
                seen.add(blob.digest)
                row = self._store.execute(sql, (self._tenant, blob.digest)).fetchone()
                if row is None:
                    raise _Fault(entry.index, f"its blob {blob.name} is missing")
                if hashlib.sha256(row[0]).hexdigest() != blob.digest or len(row[0]) != blob.length:
                    raise _Fault(entry.index, f"its blob {blob.name} was changed")

    def _books(self) -> None:
        for finding in findings(self._entries):
            if finding.rule not in HARMLESS:
                raise _Fault(finding.index, f"{finding.rule}: {finding.detail}")
        if not trial_balance(self._entries).balanced:
            raise _Fault(None, "the books do not balance; see `ledger reconcile`")
