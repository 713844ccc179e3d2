"""Verify a store: every byte, leaf, root, checkpoint, blob and posting rule; the first fault, and where it is.

Nothing here trusts the database's own rules: a connection that took the triggers away leaves what this finds.
"""

from __future__ import annotations

import glob
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger import checkpoint as notes
from ledger.beside import can_be_told
from ledger.bulk import without_collector
from ledger.entries_audit import BESIDE_FROM, EntriesAudit, EntriesFound, Found, LogFault, entries_beside
from ledger.entry import Entry
from ledger.log_audit import Anchored, LogAudit
from ledger.posting_again import POSTED_AGAIN_MAX, Refused, posting_again
from ledger.signatures_audit import Block, Verifier, newest_of, signatures_beside
from ledger.stores import migration, schema


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
    """What was verified of one tenant's log. `fault` is None where everything holds; else entries and root are those
    that were hashed until it was found, and perhaps some behind it."""

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
    path: Path,
    *,
    origin: str,
    public: Ed25519PublicKey,
    newest: bool = False,
    anchor_path: Path | None = None,
    post_again: bool | None = None,
    tell: Callable[[str, int], None] = lambda tenant, entries: None,
) -> list[Audit]:
    """Verify every log of the SQLite ledger at `path`, read-only. Raises NotALedger.

    public: the key that is trusted: any that the logs ever had, or, where `newest` is set, the one in force.
    post_again: whether the entries are also posted again, into an empty database with all the rules of the books; None:
    where a log has at most POSTED_AGAIN_MAX of them.
    tell: called with how many entries of a tenant's log were read so far.
    """
    if not path.is_file():
        raise NotALedger(f"{path}: no such file")
    try:
        # Before the snapshot: a service that goes on writing would move the anchor ahead of what is read here.
        anchors = _anchors(anchor_path)
        with closing(schema.connect(path)) as store, _damage(path) as damage, without_collector():
            store.execute("BEGIN")
            if (odd := _odd(store)) is not None:
                raise NotALedger(f"{path}: {odd}; restore the newest copy")
            sql = "SELECT tenant FROM entry UNION SELECT tenant FROM checkpoint"
            # What is no text is a damaged record: its log lacks it, or the file's own check names it below.
            tenants = {row[0] for row in store.execute(sql) if isinstance(row[0], str)}
            lost = {tenant for tenant in anchors.keys() - tenants if _is_ours(anchors[tenant], origin, tenant)}
            audits = []
            for tenant in sorted(tenants | lost):
                log = partial(
                    LogAudit,
                    store,
                    tenant,
                    origin,
                    public,
                    newest=newest,
                    anchor=anchors.get(tenant),
                    tell=partial(tell, tenant),
                )
                row = store.execute("SELECT max(n) FROM entry WHERE tenant = ?", (tenant,)).fetchone()
                size = 0 if row[0] is None else int(row[0]) + 1
                again = size <= POSTED_AGAIN_MAX if post_again is None else post_again
                with posting_again(store, path, tenant, origin, size) if again else nullcontext(_nothing) as refused:
                    audits.append(_verify(store, path, tenant, origin, size, log, refused))
            wrong = migration.fault_of(store, origin) or damage()
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter where a name in a damaged schema is no text
        raise NotALedger(f"{path}: {error}") from error
    if wrong is None:
        return audits
    if not audits:
        raise NotALedger(f"{path}: {wrong}")
    return [replace(a, fault=a.fault or Fault(a.tenant, None, wrong)) for a in audits]


def _verify(
    store: sqlite3.Connection,
    path: Path,
    tenant: str,
    origin: str,
    size: int,
    log: Callable[..., LogAudit],
    refused: Callable[[], Refused | None],
) -> Audit:
    """One log: the walk through it; its entries and signatures on the way or, where that pays, beside it."""
    inside = EntriesAudit(tenant, origin) if size < BESIDE_FROM or not can_be_told(tenant) else None
    with ExitStack() as beside:
        entries: Callable[[str | None], EntriesFound]
        signatures: Verifier
        if inside is not None:
            entries, signatures = inside.end, Block.fault
        else:
            entries = beside.enter_context(entries_beside(store, path, tenant, origin, size))
            newest = newest_of(store, tenant)
            signatures = beside.enter_context(signatures_beside(store, path, tenant, origin, newest))
        walk = log(entries=inside, signatures=signatures)
        found: Found | None = None  # not the exception, which would keep the walk's cursors with it
        try:
            walk.walk()
        except LogFault as first:
            found = first.args
        said = entries(walk.seen() if found is None else None)
        # Where the walk came further than to bytes that are no entry, these are the fault, whatever else they show.
        if said.shape is not None and (found is None or said.shape[1] < walk.reached):
            found = said.shape
        found = found or walk.later or said.books
    if found is None and (refusal := refused()) is not None:
        found = "books", *refusal
    head = walk.head()
    if found is None:
        return Audit(tenant, head.size, head.root.hex(), None)
    rule, index, message = found
    return Audit(tenant, head.size, head.root.hex(), Fault(tenant, index, message, rule))


# What no table of ours can hold by its own rules, so that somebody has changed these. Of an entry the walk says it.
_ODD = {
    "entry": "n > 9007199254740991",  # a text is larger than any number
    "checkpoint": f"typeof(size) <> 'integer' OR typeof(note) <> 'text' OR length(note) > {notes.SLOT_BYTES}",
    "blob": "typeof(digest) <> 'text' OR typeof(data) <> 'blob'",
}


def _odd(store: sqlite3.Connection) -> str | None:
    """Why nothing can be looked for in a file, or None."""
    for table, odd in _ODD.items():
        kind = store.execute("SELECT type FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        if kind is None or kind[0] != "table":
            return f"it has no table {table}"
        if store.execute(f"SELECT 1 FROM {table} WHERE {odd} LIMIT 1").fetchone() is not None:  # noqa: S608 - ours
            return f"its table {table} holds what it cannot hold"
    return None


def _nothing() -> None:
    """What an empty database refuses of entries that are not posted into it."""


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


@contextmanager
def _damage(path: Path) -> Iterator[Callable[[], str | None]]:
    """What SQLite's own check finds in the file, a damaged page or index, by a thread meanwhile.

    It has a connection of its own, which may see commits that came after the snapshot: they are checked as well, and
    what is damaged does not become whole by them. What is called for the answer waits for it, and raises sqlite3.Error.
    Whoever leaves before ends it.
    """
    with closing(schema.connect(path, any_thread=True)) as store, ThreadPoolExecutor(1) as thread:

        def check() -> str | None:
            (found,) = store.execute("PRAGMA integrity_check(1)").fetchone()
            return None if found == "ok" else f"the file is damaged: {found}"

        found = thread.submit(check)
        try:
            yield found.result
        finally:
            found.cancel()
            store.interrupt()


def _anchors(prefix: Path | None) -> dict[str, Anchored]:
    """What the anchor of each tenant says, or why it cannot be read."""
    found: dict[str, Anchored] = {}
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


def _is_ours(anchored: Anchored, origin: str, tenant: str) -> bool:
    """Whether a file that is called like an anchor is one: a copy under another name is of the log of its first one.

    Whoever signed it: the log is gone, and with it what keys it had.
    """
    return isinstance(anchored, str) and anchored.startswith(f"{notes.log_origin(origin, tenant)}\n")
