"""A log is ended, and another one goes on from it: two files, two names, two keys, each of which names the other.

The old log ends with NOTED of kind "sealed", which names the new log and its key. The new one begins with OPENED, which
holds the old one's last checkpoint. Both list what is carried forward, and behind OPENED it stands again
(`ledger.carried`). A log in which anything else is outstanding is not sealed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import carried
from ledger import checkpoint as notes
from ledger.audit import NotALedger, verify_store
from ledger.carried import NOTHING, Opening
from ledger.entry import Draft, Entry, NotCanonical
from ledger.journal import Broken
from ledger.keys import KeyFault
from ledger.stores import opening, rotation, schema
from ledger.stores.batch import Head, Scribe


def outstanding(path: Path) -> list[tuple[str, Entry]]:
    """Every obligation of every log that nothing has settled, with its book. Raises sqlite3.Error."""
    with closing(schema.connect(path)) as store:
        rows = store.execute("SELECT book, bytes FROM outstanding ORDER BY tenant, n").fetchall()
    return [(book, Entry.parse(raw.encode())) for book, raw in rows]


def tenants(path: Path) -> list[str]:
    """Whose logs stand in the file. Raises sqlite3.Error."""
    with closing(schema.connect(path)) as store:
        return list(opening.tenants(store))


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
    openings: Mapping[str, Opening],
    target: Path,
) -> list[Entry]:
    """End every log of the file, in one transaction; the entries that do. The whole ledger is checked first.

    successor: the origin of the ledger that goes on. new: its key. openings: by tenant, what is carried forward.
    target: where that ledger will be. It is made once before anything is sealed, so that nothing is sealed for a ledger
    that could not be made. Raises Broken, OSError and sqlite3.Error.
    """
    anchors = rotation.anchors_of(store.path, anchor_path, tenants)
    heads = opening.prepare(store, anchors)
    scribe = Scribe(store.origin, key, clock)
    posted, ends = [], {}
    for tenant, head in heads.items():
        name = notes.log_origin(successor, tenant)
        body = {"kind": opening.SEALED, "origin": name, "key": notes.verifier_key(name, new.public_key())}
        body |= {"text": reason} | openings.get(tenant, NOTHING).said()
        draft = Draft("seal", "NOTED", f"operator:{by}", reason=reason, body=body)
        try:
            (entry,), end = scribe.write(tenant, [draft], head)
        except NotCanonical as error:
            raise Broken(f"the entry that seals {tenant} cannot be written: {error}") from error
        posted.append(entry)
        ends[tenant] = scribe.signed(tenant, end)
    last = {tenant: end.note for tenant, end in ends.items()}
    _make(_partial(target), last, successor, new, clock, openings).unlink()
    # Crash before this: nothing is sealed, and the old ledger goes on.
    rotation.commit(store.path, posted, ends)
    # Crash here: the logs are sealed and an anchor is behind its log. `begin` goes on from either.
    for tenant, anchor in anchors.items():
        if tenant in ends:
            anchor.write(ends[tenant].note)
    return posted


def begin(
    former: Path,
    target: Path,
    origin: str,
    key: Ed25519PrivateKey,
    clock: Callable[[], datetime],
    openings: Mapping[str, Opening],
) -> None:
    """Make the ledger that goes on from a sealed one: each log with an OPENED that holds the old one's last checkpoint.

    target: a new file, which has its name only once it is whole. openings: by tenant, what is carried forward.
    Raises Broken, OSError and sqlite3.Error.
    """
    with closing(schema.connect(former)) as store:
        sql = "SELECT note FROM checkpoint WHERE tenant = ? ORDER BY size DESC LIMIT 1"
        last = {tenant: store.execute(sql, (tenant,)).fetchone()[0] for tenant in list(opening.tenants(store))}
    for tenant, entry in seals(former).items():
        name = notes.log_origin(origin, tenant)
        if (entry.body["origin"], entry.body["key"]) != (name, notes.verifier_key(name, key.public_key())):
            raise Broken(f"{former}: {tenant} is sealed for {entry.body['origin']}, and not for {name} under this key")
        if entry.body.get("carries", {}) != openings.get(tenant, NOTHING).said().get("carries", {}):
            raise Broken(f"{former}: {tenant} was sealed with other obligations to carry than this version finds")
    partial = _make(_partial(target), last, origin, key, clock, openings)
    os.link(partial, target)
    partial.unlink()


def _partial(target: Path) -> Path:
    return target.with_name(f"{target.name}.partial")


def _make(
    path: Path,
    last: Mapping[str, str],
    origin: str,
    key: Ed25519PrivateKey,
    clock: Callable[[], datetime],
    openings: Mapping[str, Opening],
) -> Path:
    """A ledger at `path` whose logs go on from these checkpoints, by tenant. Raises as `begin` does."""
    path.unlink(missing_ok=True)  # of a call that was cut off; it never was a ledger
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    scribe = Scribe(origin, key, clock)
    with closing(schema.connect(path, read_only=False)) as store:
        store.executescript(schema.script(origin))
    posted, ends = [], {}
    blobs: dict[tuple[str, str], bytes] = {}
    for tenant, note in last.items():
        name, brought = notes.log_origin(origin, tenant), openings.get(tenant, NOTHING)
        body = {"origin": name, "continues": note, "key": notes.verifier_key(name, key.public_key())} | brought.said()
        reason = f"the log of {tenant} goes on"
        opened = Draft("open", "OPENED", "system", reason=reason, body=body, blobs=brought.blobs)
        try:
            entries, end = scribe.write(tenant, [opened, *brought.drafts], Head())
        except NotCanonical as error:
            raise Broken(f"what {tenant} carries forward cannot be written: {error}") from error
        posted += entries
        ends[tenant] = scribe.signed(tenant, end)
        blobs |= {(tenant, blob.digest): blob.data for draft in (opened, *brought.drafts) for blob in draft.blobs}
    rotation.commit(path, posted, ends, [(tenant, digest, data) for (tenant, digest), data in blobs.items()])
    return path


def link_fault(path: Path, former: Path, tenant: str) -> tuple[str | None, int]:
    """Why the log of `tenant` at `path` does not go on from the one in `former`, or None; how many entries that has.

    The log at `path` was verified before; the former one is verified here, by the keys that it names itself, because
    its root stands in the new log. Raises sqlite3.Error and OSError.
    """
    with closing(schema.connect(path)) as store:
        sql = "SELECT bytes FROM entry WHERE tenant = ? ORDER BY n"
        opened = carried.first_post(Entry.parse(raw.encode()) for (raw,) in store.execute(sql, (tenant,)))
    said = opened[0].body.get("continues")
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
    first = opened[0].body
    if not opening.is_seal(end) or any(end.body.get(name) != first.get(name) for name in ("origin", "key", "carries")):
        return "it does not end with an entry that seals it for this log", audit.entries
    standing = {entry.index: (book, entry) for book, entry in outstanding(former) if entry.tenant_id == tenant}
    return next(carried.differences(standing, opened), None), audit.entries
