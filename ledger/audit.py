"""Verify a store: every byte, leaf, root, checkpoint, blob and posting rule; the first fault, and where it is.

Nothing here trusts the database's own rules: a connection that took the triggers away leaves what this finds.
"""

from __future__ import annotations

import glob
import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger import checkpoint as notes
from ledger.entry import MAX_ENTRY_BYTES, Entry, NotCanonical, canonical
from ledger.findings import HARMLESS
from ledger.keys import KeyFault, Keyring, WrongKey
from ledger.merkle import Frontier, leaf_hash
from ledger.reconcile import findings, trial_balance
from ledger.stores import migration, schema
from ledger.stores.opening import keys_of

_Anchored = str | notes.BadCheckpoint | OSError  # what an anchor says, or why it cannot be read


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing that does not hold in one tenant's log. index: None where it is about the log as a whole.

    rule: one of ledger.findings.RULES, or "leaf", "root", "checkpoint", "key", "anchor", "blob", "books" or "file".
    """

    tenant: str
    index: int | None
    message: str
    rule: str = "file"

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


def verify_store(
    path: Path, *, origin: str, public: Ed25519PublicKey, newest: bool = False, anchor_path: Path | None = None
) -> list[Audit]:
    """Verify every log of the SQLite ledger at `path`, read-only. Raises NotALedger.

    public: the key that is trusted: any that the logs ever had, or, where `newest` is set, the one in force.
    """
    if not path.is_file():
        raise NotALedger(f"{path}: no such file")
    try:
        # Before the snapshot: a service that goes on writing would move the anchor ahead of what is read here.
        anchors = _anchors(anchor_path)
        with closing(schema.connect(path)) as store:
            store.execute("BEGIN")
            sql = "SELECT tenant FROM entry UNION SELECT tenant FROM checkpoint"
            tenants = {row[0] for row in store.execute(sql)}
            lost = {tenant for tenant in anchors.keys() - tenants if _is_ours(anchors[tenant], origin, tenant, public)}
            audits = [_Log(store, t, origin, public, newest, anchors.get(t)).verify() for t in sorted(tenants | lost)]
            wrong = _fault_of_the_file(store, origin)
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter where a name in a damaged schema is no text
        raise NotALedger(f"{path}: {error}") from error
    if wrong is None:
        return audits
    return [replace(a, fault=a.fault or Fault(a.tenant, None, wrong)) for a in audits]


def read_entries(path: Path, tenant: str) -> list[Entry]:
    """Every entry of one tenant, as it stands, unverified. Raises NotALedger."""
    if not path.is_file():
        raise NotALedger(f"{path}: no such file")
    try:
        with closing(schema.connect(path)) as store:
            rows = store.execute("SELECT bytes FROM entry WHERE tenant = ? ORDER BY n", (tenant,))
            return [Entry.parse(row[0].encode()) for row in rows]
    except (sqlite3.Error, ValueError) as error:
        raise NotALedger(f"{path}: {error}") from error


def _fault_of_the_file(store: sqlite3.Connection, origin: str) -> str | None:
    """What is wrong with the file itself: a rule that is not as this version makes it, or a damaged page or index."""
    wrong = migration.fault_of(store, origin)
    if wrong is not None:
        return wrong
    (found,) = store.execute("PRAGMA integrity_check(1)").fetchone()
    return None if found == "ok" else f"the file is damaged: {found}"


def _anchors(prefix: Path | None) -> dict[str, _Anchored]:
    """What the anchor of each tenant says, or why it cannot be read."""
    found: dict[str, _Anchored] = {}
    if prefix is None:
        return found
    for file in prefix.parent.glob(f"{glob.escape(prefix.name)}.*"):
        tenant = file.name.removeprefix(f"{prefix.name}.")
        try:
            note = notes.Anchor(file).read()
        except (notes.BadCheckpoint, OSError) as error:
            found[tenant] = error
        else:
            found |= {tenant: note} if note is not None else {}
    return found


def _is_ours(anchored: _Anchored, origin: str, tenant: str, public: Ed25519PublicKey) -> bool:
    """Whether a file that is called like an anchor is one: a copy under another name is signed for its first one."""
    try:
        return isinstance(anchored, str) and bool(notes.verify(anchored, notes.log_origin(origin, tenant), public))
    except notes.BadCheckpoint:
        return False


class _Fault(Exception):
    """The first fault of a log, as (rule, index, message)."""


class _Log:
    """One tenant's log under verification."""

    def __init__(
        self,
        store: sqlite3.Connection,
        tenant: str,
        origin: str,
        public: Ed25519PublicKey,
        newest: bool,
        anchor: _Anchored | None,
    ) -> None:
        self._store = store
        self._tenant = tenant
        self._origin = origin
        self._public = public
        self._newest = newest
        self._keys = Keyring.trusting(notes.log_origin(origin, tenant), public)
        self._anchored = anchor
        self._frontier = Frontier()
        self._entries: list[Entry] = []
        self._sizes: frozenset[int] = frozenset()

    def verify(self) -> Audit:
        fault = None
        try:
            self._keys = self._keyring()
            self._checkpoints_and_entries()
            self._anchor()
            self._blobs()
            self._books()
            self._replay()
        except _Fault as found:
            rule, index, message = found.args
            fault = Fault(self._tenant, index, message, rule)
        return Audit(self._tenant, self._frontier.size, self._frontier.root.hex(), fault)

    def _checkpoints_and_entries(self) -> None:
        """Hash the entries in order and compare the root at every size that was signed."""
        signed = dict(self._signed())
        covered = max(signed, default=0)
        self._sizes = frozenset(signed)
        sql = "SELECT n, CAST(bytes AS BLOB) FROM entry WHERE tenant = ? ORDER BY n"  # whatever the bytes are
        for n, raw in self._store.execute(sql, (self._tenant,)):
            self._entry(n, raw)
            expected = signed.pop(self._frontier.size, None)
            if expected is not None and expected != self._frontier.root:
                raise _Fault("root", n, "the root differs from the signed one: this entry or one before it was changed")
        newest = max(signed, default=None)
        if newest is not None:
            stand = self._frontier.size
            detail = f"it is missing: {newest} entries were signed and {stand} stand: the end was cut off"
            raise _Fault("gap", stand, detail)
        if covered != self._frontier.size:
            raise _Fault(
                "checkpoint", covered, f"it and what follows is under no checkpoint ({self._frontier.size} stand)"
            )

    def _signed(self) -> Iterator[tuple[int, bytes]]:
        before = 0
        sql = "SELECT size, note FROM checkpoint WHERE tenant = ? ORDER BY size"
        for size, note in self._store.execute(sql, (self._tenant,)):
            try:
                found = self._keys.verify(note)
                self._keys.vouch(note, after=before)
            except notes.BadCheckpoint as error:
                rule = "key" if isinstance(error, WrongKey) else "checkpoint"
                raise _Fault(rule, size - 1, f"the checkpoint after it: {error}") from error
            if found.size != size:
                raise _Fault("checkpoint", size - 1, f"the checkpoint after it says {found.size}")
            before = size
            yield size, found.root

    def _keyring(self) -> Keyring:
        """The keys that the log names. What names them is itself under the signatures that are checked with them."""
        try:
            keys = keys_of(self._store, self._origin, self._tenant)
        except KeyFault as error:
            if self._store.execute("SELECT 1 FROM entry WHERE tenant = ?", (self._tenant,)).fetchone() is None:
                return self._keys  # an anchor alone, or checkpoints alone
            raise _Fault("key", error.index, str(error)) from error
        if not keys.holds(self._public):
            detail = f"the key that verifies is none of its keys, of which the newest is {keys.newest.vkey}"
            raise _Fault("key", None, detail)
        if self._newest and keys.newest.public != self._public:
            detail = f"the key that verifies was retired: {keys.newest.vkey} is in force"
            raise _Fault("key", keys.newest.first, detail)
        return keys

    def _entry(self, n: int, raw: bytes) -> None:
        place = self._frontier.size
        if n != place:
            raise _Fault("gap", place, f"it is missing: {n} follows {place - 1}")
        try:
            entry = Entry.parse(raw)
            exact = canonical(json.loads(raw)) == raw
        except (ValueError, NotCanonical) as error:
            raise _Fault("leaf", n, f"it is not an entry: {error}") from error
        if not exact or len(raw) > MAX_ENTRY_BYTES:
            raise _Fault("leaf", n, "its bytes are not canonical")
        if (entry.index, entry.tenant_id, entry.ledger) != (n, self._tenant, self._origin):
            raise _Fault("leaf", n, f"it says it is entry {entry.index} of {entry.tenant_id} in {entry.ledger}")
        self._frontier = self._frontier.appended(leaf_hash(raw))
        self._entries.append(entry)

    def _anchor(self) -> None:
        if self._anchored is None:
            return
        if not isinstance(self._anchored, str):
            raise _Fault("anchor", None, f"the anchor: {self._anchored}")
        try:
            anchored = self._keys.verify(self._anchored)
        except notes.BadCheckpoint as error:
            raise _Fault("anchor", None, f"the anchor: {error}") from error
        stand = self._frontier.size
        if anchored.size > stand:
            detail = f"it is missing: the anchor says {anchored.size} entries and {stand} stand: an older copy"
            raise _Fault("anchor", stand, detail)
        frontier = Frontier().extended(leaf_hash(entry.raw) for entry in self._entries[: anchored.size])
        if frontier.root != anchored.root:
            detail = f"the root at {anchored.size} differs from the anchor's: another history"
            raise _Fault("anchor", anchored.size - 1, detail)

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
                    raise _Fault("blob", entry.index, f"its blob {blob.name} is missing")
                if hashlib.sha256(row[0]).hexdigest() != blob.digest or len(row[0]) != blob.length:
                    raise _Fault("blob", entry.index, f"its blob {blob.name} was changed")

    def _books(self) -> None:
        for finding in findings(self._entries):
            if finding.rule not in HARMLESS:
                raise _Fault(finding.rule, finding.index, f"{finding.rule}: {finding.detail}")
        if not trial_balance(self._entries).balanced:
            raise _Fault("books", None, "the books do not balance; see `ledger reconcile`")

    def _replay(self) -> None:
        """Post every entry again, in order, into an empty ledger that has all of its rules."""
        with closing(schema.connect(":memory:")) as book:
            book.executescript(schema.script(self._origin))
            book.execute("BEGIN")
            for entry in self._entries:
                try:
                    row = (self._tenant, entry.index, entry.raw.decode())
                    book.execute("INSERT INTO entry (tenant, n, bytes) VALUES (?, ?, ?)", row)
                    if entry.index + 1 in self._sizes:
                        book.execute("INSERT INTO checkpoint VALUES (?, ?, '')", (self._tenant, entry.index + 1))
                except sqlite3.Error as error:
                    raise _Fault("books", entry.index, f"{entry.stage} breaks a rule of the books: {error}") from error
