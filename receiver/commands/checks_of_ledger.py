"""What `check` says of the ledger and what belongs to it: whether `serve` would take it. Nothing is written."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing

from ledger import checkpoint as notes
from ledger.journal import Broken
from ledger.stores import migration, opening, schema
from ledger.stores.people import people_path
from ledger.stores.room import Room
from receiver.commands.findings import FAIL, OK, WARN, Finding
from receiver.configuration import people_of
from receiver.settings import Settings


def all_of(settings: Settings) -> list[Finding]:
    return [
        *ledger(settings),
        *writable(settings),
        *personal(settings),
        *room(settings),
        *outside(settings),
    ]


def ledger(settings: Settings) -> Iterator[Finding]:
    """Whether `serve` would open the database; a missing one is made by the first `serve`."""
    path = settings.ledger.path
    anchor = settings.ledger.anchor_file
    anchored = [name for name in settings.tenants if anchor.with_name(f"{anchor.name}.{name}").exists()]
    if not path.exists():
        if anchored:
            text = f"{path} is gone, and its anchor says that there was one (tenant {', '.join(anchored)})"
            yield Finding("ledger", FAIL, text, "restore it; only to begin a new ledger move the anchor away")
        elif path.parent.is_dir():
            yield Finding("ledger", OK, f"{path}: not there yet; the first `serve` makes it")
        else:
            yield Finding("ledger", FAIL, f"{path.parent} is no folder", "make it, or change ledger.url")
        return
    try:
        older = _opened(settings)
    except (Broken, notes.BadKey) as error:
        yield Finding("ledger", FAIL, str(error))
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
        text = f"{path} is no ledger that can be read: {error}"
        yield Finding("ledger", FAIL, text, "restore the newest copy, or change ledger.url")
    else:
        more = "; an older version made it, and the next start brings it to this one" if older else ""
        yield Finding("ledger", OK, f"{path}: can be opened{more}; `counterfoil ledger verify` checks every byte")


def _opened(settings: Settings) -> bool:
    """Look at all that `opening.prepare` looks at, by its own checks, through a connection that cannot write.

    Whether an older version made the file, whose rules are another's then. Raises Broken, BadKey, OSError and
    sqlite3.Error.
    """
    public = notes.load_key_file(settings.ledger.key_file).public_key()
    store = opening.Store(settings.ledger.path, settings.ledger.origin, public)
    # Before the snapshot: a service that goes on writing would move them ahead of what is read here.
    anchors = {tenant: _AsRead(notes.anchor_of(settings.ledger.anchor_file, tenant)) for tenant in settings.tenants}
    found: list[str] = []
    older = False
    with closing(schema.connect(store.path)) as connection:
        connection.execute("BEGIN")
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:  # else the next start fills it
            opening.check_origin(connection, store)
            why = migration.too_new(connection)
            if why is not None:
                raise Broken(f"{store.path}: {why}")
            older = migration.version_of(connection) < schema.VERSION
            if not older:
                opening.check_rules(connection, store)
            found = list(opening.tenants(connection))
        for tenant in found:
            opening.head_of(connection, store, tenant, anchors.get(tenant))
    for tenant, anchor in anchors.items():
        if tenant not in found and anchor.note is not None:
            raise Broken(
                f"{store.path}: it has no log of {tenant}, of which {anchor.path} tells: restore the newest copy"
            )
    return older


class _AsRead(notes.Anchor):
    """An anchor as it was when this was made. Raises Broken where it cannot be read."""

    def __init__(self, anchor: notes.Anchor) -> None:
        super().__init__(anchor.path)
        try:
            super().read()
        except (notes.BadCheckpoint, OSError) as error:
            raise Broken(f"the anchor {anchor.path}: {error}") from error

    def read(self) -> str | None:
        return self.note


def writable(settings: Settings) -> Iterator[Finding]:
    """Whether whoever calls this could write what `serve` writes. It should be the same user."""
    path, anchor = settings.ledger.path, settings.ledger.anchor_file
    locks = [f"{path.name}.{tenant}.lock" for tenant in settings.tenants]
    beside = [path.with_name(name) for name in (path.name, f"{path.name}-wal", f"{path.name}-shm", *locks)]
    anchors = [anchor.with_name(f"{anchor.name}.{tenant}") for tenant in settings.tenants]
    files = [file for file in (*beside, people_path(path), *anchors) if file.exists()]
    folders = [folder for folder in dict.fromkeys((path.parent, anchor.parent)) if folder.is_dir()]
    refused = [place for place in (*folders, *files) if not os.access(place, os.W_OK)]
    if not anchor.parent.is_dir():
        yield Finding("ledger", FAIL, f"{anchor.parent} is no folder", "make it, or change ledger.anchor_file")
    if refused:
        text = f"{', '.join(str(place.absolute()) for place in refused)} cannot be written"
        yield Finding("ledger", FAIL, text, "give it to whoever runs `serve`, and call `check` as that user")


def personal(settings: Settings) -> Iterator[Finding]:
    """Whether what was written to and by people can be opened."""
    path = people_path(settings.ledger.path)
    try:
        people_of(settings.ledger)
    except Broken as error:
        yield Finding("people", FAIL, str(error), "a new pair reads nothing of before")
        return
    held = settings.ledger.path.exists() and not path.exists()
    if held:
        why = f"{path} is not there, so what was written to and by people before cannot be read"
        yield Finding("people", WARN, why, "put it back, unless this ledger is older than it; the next start makes one")


def room(settings: Settings) -> Iterator[Finding]:
    """Whether the ledger's file system has the room without which nothing is posted, and as much again."""
    asked = Room(settings.ledger.path, settings.ledger.min_free_bytes)
    try:
        free = asked.free()
    except OSError:
        return  # the folder is not there, as `ledger` says
    text = f"{free:,} bytes are free in {asked.path.parent.absolute()}"
    if free < asked.least:
        why = f"{text}, and below ledger.min_free_bytes ({asked.least:,}) nothing is posted"
        yield Finding("disk", FAIL, why, "make room, or put the ledger elsewhere")
    elif free < 2 * asked.least:
        yield Finding("disk", WARN, f"{text}; below {asked.least:,} nothing is posted", "make room")
    else:
        yield Finding("disk", OK, text)


def outside(settings: Settings) -> Iterator[Finding]:
    """Whether checkpoints go anywhere that this machine's owner cannot change."""
    path, authority = settings.ledger.witness_file, settings.ledger.timestamps
    if path is not None and path.parent.is_dir():
        yield Finding("outside", OK, f"checkpoints go to the end of {path}")
    elif path is not None:
        yield Finding("outside", WARN, f"{path.parent} is no folder", "mount or make it, or change ledger.witness_file")
    if authority is not None:
        yield Finding("outside", OK, f"{authority.url} is asked for time-stamps; {authority.ca_file} can be read")
