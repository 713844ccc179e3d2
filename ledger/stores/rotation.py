"""A new key for a ledger: one transaction over all of its logs, while nothing else writes it. Synchronous.

Each log gets REKEYED, and a checkpoint over it that both keys sign: the old one vouches for the new.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import checkpoint as notes
from ledger.entry import Draft, Entry
from ledger.journal import Broken
from ledger.stores import opening, schema
from ledger.stores.batch import Head, Scribe


def rotate(
    store: opening.Store,
    old: Ed25519PrivateKey,
    new: Ed25519PrivateKey,
    *,
    anchor_path: Path | None,
    tenants: Collection[str],
    clock: Callable[[], datetime],
    by: str,
    reason: str,
    lost: Mapping[str, str] = MappingProxyType({}),
) -> list[Entry]:
    """Retire `old`, with which `store` was opened until now, for `new`; the entries that say so.

    tenants: those of the configuration. by: the operator's name. The whole ledger is checked first.
    lost: what the anchor says of a log that is behind it, and may be (`restoring`); its entry then says so.
    Raises Broken, OSError and sqlite3.Error.
    """
    anchors = anchors_of(store.path, anchor_path, tenants)
    heads = opening.prepare(store, {tenant: anchor for tenant, anchor in anchors.items() if tenant not in lost})
    for tenant, said in lost.items():
        if anchors[tenant].read() != said:
            raise Broken(f"{anchors[tenant].path}: another process has written it")
    scribe = Scribe(store.origin, new, clock)
    posted, ends = [], {}
    for tenant, head in heads.items():
        (entry,), end = scribe.write(
            tenant, [_draft(store.origin, tenant, old, new, by, reason, lost.get(tenant))], head
        )
        posted.append(entry)
        ends[tenant] = scribe.signed(tenant, end, old)
    commit(store.path, posted, ends)
    # Crash here: the logs are under the new key, and an anchor is behind its log, which a start accepts and mends.
    for tenant, anchor in anchors.items():
        if tenant in ends:
            anchor.write(ends[tenant].note)
    return posted


def _draft(
    origin: str,
    tenant: str,
    old: Ed25519PrivateKey,
    new: Ed25519PrivateKey,
    by: str,
    reason: str,
    lost: str | None,
) -> Draft:
    name = notes.log_origin(origin, tenant)
    body = {
        "key": notes.verifier_key(name, new.public_key()),
        "retires": notes.verifier_key(name, old.public_key()),
        "text": reason,
    } | ({"lost": lost} if lost is not None else {})
    id = f"rekey:{notes.key_id(name, new.public_key()).hex()}"
    return Draft(id=id, stage="REKEYED", actor=f"operator:{by}", reason=reason, body=body)


def commit(
    path: Path, entries: list[Entry], ends: dict[str, Head], blobs: Collection[tuple[str, str, bytes]] = ()
) -> None:
    """Write these entries and the checkpoints over them, in one transaction. Raises sqlite3.Error.

    blobs: tenant, digest and bytes of what the entries name and the file does not have yet.
    """
    with closing(schema.connect(path, read_only=False)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        connection.set_authorizer(schema.authorizer)
        connection.execute("BEGIN IMMEDIATE")
        rows = [(entry.tenant_id, entry.index, entry.raw.decode()) for entry in entries]
        connection.executemany("INSERT INTO entry (tenant, n, bytes) VALUES (?, ?, ?)", rows)
        connection.executemany("INSERT INTO blob (tenant, digest, data) VALUES (?, ?, ?)", blobs)
        signed = [(tenant, end.frontier.size, end.note) for tenant, end in ends.items()]
        connection.executemany("INSERT INTO checkpoint (tenant, size, note) VALUES (?, ?, ?)", signed)
        # Crash before this: nothing has changed. After it: all of it stands.
        connection.execute("COMMIT")


def anchors_of(path: Path, prefix: Path | None, tenants: Collection[str]) -> dict[str, notes.Anchor]:
    """The anchors of the tenants that are configured, and of those that once were."""
    if prefix is None:
        return {}
    with closing(schema.connect(path)) as connection:
        former = set(opening.tenants(connection))
    anchors = {tenant: notes.anchor_of(prefix, tenant) for tenant in former | set(tenants)}
    return {tenant: anchor for tenant, anchor in anchors.items() if tenant in tenants or anchor.path.exists()}


def exchange(path: Path, fresh: Path, retired: Path) -> None:
    """Put the key file `fresh` in the place of `path`, whose former key is kept as `retired`. Raises OSError.

    It may be done again after a crash anywhere in it.
    """
    if not retired.exists():
        os.link(path, retired)
    # Crash here: both names have the old key; the next call goes on.
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
