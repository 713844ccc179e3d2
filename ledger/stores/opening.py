"""What is believed of a SQLite file before anything is written to it, or told from it. Synchronous: for a thread.

A start accepts only entries under a valid checkpoint, because an unsigned tail would be a way to command the service.
It is refused and not cut off: somebody has to see it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger import checkpoint as notes
from ledger.entry import Entry
from ledger.journal import Broken
from ledger.keys import KeyFault, Keyring
from ledger.merkle import BLOCK, Subtrees
from ledger.stores import hashing, migration, schema
from ledger.stores.batch import Head

SEALED = "sealed"
# Of a new file. A row of up to a quarter of a page stands in it whole; a larger one takes a page more for itself, as
# every fifth entry would with SQLite's own 4,096. Twice as large again would double what each commit writes.
PAGE_BYTES = 8_192


@dataclass(frozen=True, slots=True)
class Store:
    """Which ledger is meant: where it is, and by what it is known."""

    path: Path
    origin: str
    public: Ed25519PublicKey


def prepare(
    store: Store,
    anchors: Mapping[str, notes.Anchor],
    keep: Callable[[str, Subtrees], None] = lambda tenant, known: None,
) -> dict[str, Head]:
    """Make an empty ledger where there is none, check all of it where there is one; the head of each log.

    anchors: those of the tenants that are configured; each is read here. keep: told what was hashed of each log that
    holds. Raises Broken, OSError and sqlite3.Error.
    """
    heads = {}
    _make(store)
    with closing(schema.connect(store.path)) as connection:
        connection.execute("BEGIN")
        check_rules(connection, store)
        for tenant in tenants(connection):
            heads[tenant], known = head_of(connection, store, tenant, anchors.get(tenant))
            keep(tenant, known)
    for tenant, anchor in anchors.items():
        keys = Keyring.trusting(notes.log_origin(store.origin, tenant), store.public)
        if tenant not in heads and (found := _anchored(keys, anchor)) is not None:
            raise Broken(
                f"{store.path}: it has no log of {tenant}, and {anchor.path} says that there were {found.size} "
                f"entries: restore the newest copy; only to begin a new ledger move the anchor away"
            )
    return heads


def tenants(connection: sqlite3.Connection) -> Iterator[str]:
    """Every tenant with an entry or a checkpoint, each found by one step down an index."""
    found: set[str] = set()
    for table in ("entry", "checkpoint"):
        name = ""
        while row := connection.execute(
            f"SELECT tenant FROM {table} WHERE tenant > ? ORDER BY tenant LIMIT 1",  # noqa: S608 - two names of ours
            (name,),
        ).fetchone():
            (name,) = row
            found.add(name)
    yield from sorted(found)


def _make(store: Store) -> None:
    descriptor = os.open(store.path, os.O_RDWR | os.O_CREAT, 0o600)
    os.close(descriptor)
    with closing(schema.connect(store.path, read_only=False)) as connection:
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            check_origin(connection, store)
            try:
                migration.migrate(connection, store.origin)
            except Broken as error:
                raise Broken(f"{store.path}: {error}") from error
            return
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        # Crash here: an empty file, or the whole schema; the next start goes on from either.
        connection.executescript(schema.script(store.origin))


def check_origin(connection: sqlite3.Connection, store: Store) -> None:
    """Raise Broken where the file is another's ledger, or none."""
    try:
        other = schema.other_origin(connection, store.origin)
    except sqlite3.OperationalError as error:
        raise Broken(f"{store.path}: not a ledger ({error})") from error
    if other is not None:
        raise Broken(f"{store.path}: the ledger of {other!r}, and the configuration says {store.origin!r}")


def check_rules(connection: sqlite3.Connection, store: Store) -> None:
    """Raise Broken where its rules are not those of this version."""
    changed = next(schema.differences(connection, store.origin), None)
    if changed is not None:
        raise Broken(f"{store.path}: its rules are not those of this version: {changed}; restore the newest copy")


def head_of(
    connection: sqlite3.Connection, store: Store, tenant: str, anchor: notes.Anchor | None
) -> tuple[Head, Subtrees]:
    """Hash every entry of one log, and compare with the newest checkpoint and the anchor. Raises Broken."""
    keys = _keys(connection, store, tenant)
    anchored = _anchored(keys, anchor) if anchor is not None else None
    try:
        size = hashing.size_of(connection, tenant)
        known = hashing.subtrees_of(connection, store.path, tenant, size)
        frontier = known.frontier(hashing.leaves_of(connection, tenant, known.size, size))
        if anchored is not None:
            _follows(connection, store, anchored, tenant, known, size)
    except hashing.Missing as missing:
        raise Broken(
            f"{store.path}: entry {missing.index} of {tenant} is missing; restore the newest copy"
        ) from missing
    row = connection.execute(
        "SELECT note FROM checkpoint WHERE tenant = ? ORDER BY size DESC LIMIT 1", (tenant,)
    ).fetchone()
    if row is None:
        raise Broken(f"{store.path}: the {frontier.size} entries of {tenant} are under no checkpoint")
    try:
        signed = keys.verify(row[0])
    except notes.BadCheckpoint as error:
        raise Broken(f"{store.path}: the newest checkpoint of {tenant}: {error}") from error
    if (signed.size, signed.root) != (frontier.size, frontier.root):
        raise Broken(
            f"{store.path}: {tenant} has {frontier.size} entries, and they are not the {signed.size} that were "
            f"signed last; `counterfoil ledger verify` says where"
        )
    last = last_entry(connection, tenant)
    if is_seal(last):
        raise Broken(
            f"{store.path}: {tenant} was sealed by entry {last.index}; the log goes on as {last.body['origin']}"
        )
    return Head(frontier, last.timestamp, row[0]), known


def last_entry(connection: sqlite3.Connection, tenant: str) -> Entry:
    """The last entry of a log that has any."""
    row = connection.execute("SELECT bytes FROM entry WHERE tenant = ? ORDER BY n DESC LIMIT 1", (tenant,)).fetchone()
    return Entry.parse(row[0].encode())


def is_seal(entry: Entry) -> bool:
    """Whether a log ends with this entry, because another one goes on from it."""
    return entry.stage == "NOTED" and entry.actor.startswith("operator:") and entry.body.get("kind") == SEALED


def _follows(
    connection: sqlite3.Connection, store: Store, anchored: notes.Checkpoint, tenant: str, known: Subtrees, size: int
) -> None:
    """Check that a log of `size` entries goes on from what its anchor says. Raises Broken."""
    if size < anchored.size:
        raise Broken(
            f"{store.path}: an older copy: the anchor says {anchored.size} entries of {tenant}, and "
            f"{size} stand: put the newest copy back, or go on from this one with "
            f"`counterfoil ledger accept-restored`"
        )
    block = anchored.size // BLOCK
    leaves = hashing.leaves_of(connection, tenant, block * BLOCK, anchored.size)
    if known.hash_of((0, anchored.size), {block: leaves}) != anchored.root:
        raise Broken(
            f"{store.path}: {tenant} is not what its anchor says of the first {anchored.size} entries: another "
            f"history; restore the newest copy"
        )


def _keys(connection: sqlite3.Connection, store: Store, tenant: str) -> Keyring:
    """The keys of one log, each vouched for by the one before, the newest of them ours. Raises Broken."""
    try:
        keys = keys_of(connection, store.origin, tenant)
        for key in keys.keys[1:]:
            sql = "SELECT note FROM checkpoint WHERE tenant = ? AND size > ? ORDER BY size LIMIT 1"
            for (note,) in connection.execute(sql, (tenant, key.first)):
                keys.verify(note)
                keys.vouch(note, after=key.first)
    except KeyFault as error:
        raise Broken(f"{store.path}: entry {error.index} of {tenant}: {error}; restore the newest copy") from error
    except notes.BadCheckpoint as error:
        raise Broken(f"{store.path}: {tenant}: {error}; restore the newest copy") from error
    if keys.newest.public == store.public:
        return keys
    if keys.holds(store.public):
        raise Broken(
            f"{store.path}: entry {keys.newest.first} of {tenant} retired the key of the configuration: put the key "
            f"{keys.newest.id.hex()} in its place; `counterfoil ledger rotate-key` ends a rotation that was cut off"
        )
    raise Broken(
        f"{store.path}: the key of the configuration is none of {tenant}'s: is it that of this ledger? An older copy "
        f"needs the key of its time, {keys.newest.id.hex()}"
    )


def keys_of(connection: sqlite3.Connection, origin: str, tenant: str) -> Keyring:
    """The keys that the entries of one log name. Raises KeyFault."""
    sql = "SELECT n, CAST(bytes AS BLOB) FROM entry WHERE +tenant = ? AND stage IN ('OPENED', 'REKEYED') ORDER BY n"
    entries = []
    for n, raw in connection.execute(sql, (tenant,)):
        try:
            entry = Entry.parse(raw)
        except ValueError as error:
            raise KeyFault(n, f"it names a key and is no entry: {error}") from error
        if not entry.well_formed or entry.index != n:
            raise KeyFault(n, f"it names a key and is not entry {n} as one is written")
        entries.append(entry)
    return Keyring.of(notes.log_origin(origin, tenant), entries)


def _anchored(keys: Keyring, anchor: notes.Anchor) -> notes.Checkpoint | None:
    try:
        note = anchor.read()
        return keys.verify(note) if note is not None else None
    except (notes.BadCheckpoint, OSError) as error:
        raise Broken(f"the anchor {anchor.path}: {error}") from error
