"""A log is ended, and another one goes on from it: two files, two names, two keys, each of which names the other.

The old log ends with NOTED of kind "sealed", which names the new log and its key. The new one begins with OPENED, which
holds the old one's last checkpoint. Nothing is carried over: a log in which anything is outstanding is not sealed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from contextlib import closing
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import checkpoint as notes
from ledger.audit import NotALedger, verify_store
from ledger.entry import Draft, Entry
from ledger.journal import Broken
from ledger.keys import KeyFault
from ledger.stores import opening, rotation, schema
from ledger.stores.batch import Head, Scribe


def outstanding(path: Path) -> list[tuple[str, Entry]]:
    """Every obligation of every log that nothing has settled, with its book. Raises sqlite3.Error."""
    with closing(schema.connect(path)) as store:
        rows = store.execute("SELECT book, bytes FROM outstanding ORDER BY tenant, n").fetchall()
    return [(book, Entry.parse(raw.encode())) for book, raw in rows]


def seals(path: Path) -> dict[str, Entry]:
    """The last entry of each log, where it is the one that seals it."""
    with closing(schema.connect(path)) as store:
        ends = [opening.last_entry(store, tenant) for tenant in list(opening.tenants(store))]
    return {entry.tenant_id: entry for entry in ends if opening.is_seal(entry)}


def seal(
    store: opening.Store,
    key: Ed25519PrivateKey,
    *,
    anchor_path: Path | None,
    tenants: Collection[str],
    clock: Callable[[], datetime],
    successor: str,
    new: Ed25519PrivateKey,
    by: str,
    reason: str,
) -> list[Entry]:
    """End every log of the file, in one transaction; the entries that do. The whole ledger is checked first.

    successor: the origin of the ledger that goes on. new: its key. Raises Broken, OSError and sqlite3.Error.
    """
    anchors = rotation.anchors_of(store.path, anchor_path, tenants)
    heads = opening.prepare(store, anchors)
    scribe = Scribe(store.origin, key, clock)
    posted, ends = [], {}
    for tenant, head in heads.items():
        name = notes.log_origin(successor, tenant)
        body = {"kind": opening.SEALED, "origin": name, "key": notes.verifier_key(name, new.public_key())}
        draft = Draft("seal", "NOTED", f"operator:{by}", reason=reason, body=body | {"text": reason})
        (entry,), end = scribe.write(tenant, [draft], head)
        posted.append(entry)
        ends[tenant] = scribe.signed(tenant, end)
    rotation.commit(store.path, posted, ends)
    # Crash here: the logs are sealed and an anchor is behind its log. `begin` goes on from either.
    for tenant, anchor in anchors.items():
        if tenant in ends:
            anchor.write(ends[tenant].note)
    return posted


def begin(former: Path, target: Path, origin: str, key: Ed25519PrivateKey, clock: Callable[[], datetime]) -> None:
    """Make the ledger that goes on from a sealed one: each log with an OPENED that holds the old one's last checkpoint.

    target: a new file, which has its name only once it is whole. Raises Broken, OSError and sqlite3.Error.
    """
    with closing(schema.connect(former)) as store:
        sql = "SELECT note FROM checkpoint WHERE tenant = ? ORDER BY size DESC LIMIT 1"
        last = {tenant: store.execute(sql, (tenant,)).fetchone()[0] for tenant in list(opening.tenants(store))}
    for tenant, entry in seals(former).items():
        name = notes.log_origin(origin, tenant)
        if (entry.body["origin"], entry.body["key"]) != (name, notes.verifier_key(name, key.public_key())):
            raise Broken(f"{former}: {tenant} is sealed for {entry.body['origin']}, and not for {name} under this key")
    partial = target.with_name(f"{target.name}.partial")
    partial.unlink(missing_ok=True)  # of a call that was cut off; it never was a ledger
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    scribe = Scribe(origin, key, clock)
    with closing(schema.connect(partial, read_only=False)) as store:
        store.executescript(schema.script(origin))
    posted, ends = [], {}
    for tenant, note in last.items():
        name = notes.log_origin(origin, tenant)
        body = {"origin": name, "continues": note, "key": notes.verifier_key(name, key.public_key())}
        draft = Draft("open", "OPENED", "system", reason=f"the log of {tenant} goes on", body=body)
        (entry,), end = scribe.write(tenant, [draft], Head())
        posted.append(entry)
        ends[tenant] = scribe.signed(tenant, end)
    rotation.commit(partial, posted, ends)
    os.link(partial, target)
    partial.unlink()


def link_fault(path: Path, former: Path, tenant: str) -> tuple[str | None, int]:
    """Why the log of `tenant` at `path` does not go on from the one in `former`, or None; how many entries that has.

    The log at `path` was verified before; the former one is verified here, by the keys that it names itself, because
    its root stands in the new log. Raises sqlite3.Error and OSError.
    """
    with closing(schema.connect(path)) as store:
        opened = Entry.parse(
            store.execute("SELECT bytes FROM entry WHERE tenant = ? AND n = 0", (tenant,)).fetchone()[0].encode()
        )
    said = opened.body.get("continues")
    if not isinstance(said, str):
        return "it continues no other log", 0
    try:
        with closing(schema.connect(former)) as store:
            (origin,) = store.execute("SELECT value FROM meta WHERE name = 'origin'").fetchone()
            keys = opening.keys_of(store, origin, tenant)
            end = opening.last_entry(store, tenant)
        head = keys.verify(said)
        (audit,) = [a for a in verify_store(former, origin=origin, public=keys.newest.public) if a.tenant == tenant]
    except (KeyFault, notes.BadCheckpoint, NotALedger) as error:
        return str(error), 0
    if audit.fault is not None:
        return str(audit.fault), audit.entries
    if (head.size, head.root.hex()) != (audit.entries, audit.root):
        return f"it goes on from {head.size} entries with another root, and {audit.entries} stand there", audit.entries
    if not opening.is_seal(end) or any(end.body.get(name) != opened.body[name] for name in ("origin", "key")):
        return "it does not end with an entry that seals it for this log", audit.entries
    return None, audit.entries
