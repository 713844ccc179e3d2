"""One transaction from BEGIN to COMMIT, in one go. Synchronous: for the thread of the connection that writes."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ledger.entry import Entry
from ledger.journal import Broken, Receipt, Refused
from ledger.stores.batch import Batch, Head, Job, Scribe

_STANDING = "SELECT e.bytes FROM json_each(?2) j CROSS JOIN entry e ON e.tenant = ?1 AND e.id = j.value"
NOT_NEXT = "number: not the next"  # as sqlite.sql says it
_list = json.JSONEncoder(default=str).encode
_INSERT = "INSERT INTO entry (tenant, n, bytes) VALUES (?, ?, ?)"
_INSERT_CHECKPOINT = "INSERT INTO checkpoint (tenant, size, note) VALUES (?, ?, ?)"
_INSERT_BLOB = (
    "INSERT INTO blob (tenant, digest, data) SELECT ?1, ?2, ?3 "
    "WHERE NOT EXISTS (SELECT 1 FROM blob WHERE tenant = ?1 AND digest = ?2)"
)


def write(store: sqlite3.Connection, jobs: Sequence[Job], scribe: Scribe, heads: Mapping[str, Head]) -> Batch:
    """Commit all of `jobs` at once, or, where the database refuses one of them, each in a savepoint of its own.

    heads: the ends of the logs before it. Raises sqlite3.Error, after which nothing of it stands, or, where COMMIT
    failed, perhaps all of it; and Broken where a log has another end than that, after which nothing of it stands.
    """
    for make in (_together, _apart):
        store.execute("BEGIN IMMEDIATE")
        try:
            batch = make(store, jobs, scribe, heads)
            # Crash before this: nothing stands. After it: all of it does, under its checkpoint, and the anchor is
            # behind, which a start accepts and mends.
            store.execute("COMMIT")
        except BaseException as error:
            if store.in_transaction:
                store.execute("ROLLBACK")
            if make is _together and isinstance(error, sqlite3.IntegrityError):
                continue
            raise
        return batch
    raise AssertionError("unreachable")


def _together(store: sqlite3.Connection, jobs: Sequence[Job], scribe: Scribe, heads: Mapping[str, Head]) -> Batch:
    """The usual way: a few statements for the whole batch. Raises IntegrityError where any of it is refused."""
    batch = Batch(standing=_standing(store, jobs))
    blobs: list[tuple[str, str, bytes]] = []
    for job in jobs:
        result = scribe.take(job, batch, heads)
        if isinstance(result, Receipt) and not result.duplicate:
            blobs += job.blobs()
            batch.keep(result.entries)
        batch.results.append(result)
    store.executemany(_INSERT, [_row(entry) for entry in batch.made.values()])
    if blobs:
        store.executemany(_INSERT_BLOB, blobs)
    batch.heads |= {tenant: scribe.signed(tenant, head) for tenant, head in batch.heads.items()}
    batch.signed = [(tenant, head.frontier.size, head.note) for tenant, head in batch.heads.items()]
    store.executemany(_INSERT_CHECKPOINT, batch.signed)
    return batch


def _apart(store: sqlite3.Connection, jobs: Sequence[Job], scribe: Scribe, heads: Mapping[str, Head]) -> Batch:
    """Post by post, so that a refusal leaves the others of the batch. Each is signed as if it were the last."""
    batch = Batch(standing=_standing(store, jobs))
    for job in jobs:
        former = batch.heads.get(job.tenant)
        result = scribe.take(job, batch, heads)
        if isinstance(result, Receipt) and not result.duplicate:
            refused = _insert_apart(store, job, result.entries, scribe, batch)
            if refused is None:
                batch.keep(result.entries)
            else:
                result = refused
                batch.heads.pop(job.tenant)
                batch.heads |= {job.tenant: former} if former is not None else {}
        batch.results.append(result)
    return batch


def _insert_apart(
    store: sqlite3.Connection, job: Job, entries: Sequence[Entry], scribe: Scribe, batch: Batch
) -> Refused | None:
    stage = ""
    store.execute("SAVEPOINT post")
    try:
        for entry in entries:
            stage = entry.stage
            store.execute(_INSERT, _row(entry))
        store.executemany(_INSERT_BLOB, job.blobs())
        head = scribe.signed(job.tenant, batch.heads[job.tenant])
        store.execute(_INSERT_CHECKPOINT, (job.tenant, head.frontier.size, head.note))
    except sqlite3.IntegrityError as error:
        if str(error) == NOT_NEXT:
            # No rule of the books that a post may break: the log was made longer or shorter, and not by this process.
            raise Broken(f"{job.tenant}: the log in the file ends elsewhere than where it was signed") from error
        store.execute("ROLLBACK TO post")
        return Refused(str(error), stage)
    finally:
        if store.in_transaction:
            store.execute("RELEASE post")
    batch.heads[job.tenant] = head
    batch.signed.append((job.tenant, head.frontier.size, head.note))
    return None


def _standing(store: sqlite3.Connection, jobs: Iterable[Job]) -> dict[tuple[str, str], Entry]:
    """The entries that stand under any id of `jobs`."""
    ids: defaultdict[str, list[str]] = defaultdict(list)
    for job in jobs:
        ids[job.tenant] += [draft.id for draft in job.drafts]
    found = {}
    for tenant, wanted in ids.items():
        for (text,) in store.execute(_STANDING, (tenant, _list(wanted))):
            entry = Entry.parse(text.encode())
            found[tenant, entry.id] = entry
    return found


def _row(entry: Entry) -> tuple[str, int, str]:
    return entry.tenant_id, entry.index, entry.raw.decode()
