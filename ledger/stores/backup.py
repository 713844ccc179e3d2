"""A copy of a ledger's file, beside a running service: one snapshot, page by page, verified before it has its name.

The copy is one file without SQLite's side files, so it can lie on read-only media and still be read.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger.audit import Audit, NotALedger, verify_store
from ledger.stores import schema

PAGES_A_STEP = 128  # 1 MiB of a new file, between which the progress is told


class BadCopy(Exception):
    """The copy was made and does not hold; nothing of it is kept. Says the first fault."""


def back_up(
    source: Path,
    target: Path,
    *,
    origin: str,
    public: Ed25519PublicKey,
    progress: Callable[[int, int], None] = lambda done, pages: None,
) -> list[Audit]:
    """Copy the ledger at `source` to `target`, a new file of mode 0600, and verify the copy; what was verified.

    public: a key of the ledger. progress: told how many pages of how many are copied.
    Raises FileExistsError (nothing is overwritten), OSError, sqlite3.Error, NotALedger and BadCopy.
    """
    if target.exists():
        raise FileExistsError(17, "is there already, and no backup is overwritten", str(target))
    partial = target.with_name(f"{target.name}.partial")
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        _copy(source, partial, progress)
        audits = verify_store(partial, origin=origin, public=public)
        fault = next((audit.fault for audit in audits if audit.fault is not None), None)
        if fault is not None or not audits:
            raise BadCopy(str(fault) if fault is not None else "it holds no entries")
        _name(partial, target)
    finally:
        partial.unlink(missing_ok=True)
        for suffix in ("-journal", "-wal", "-shm"):
            partial.with_name(partial.name + suffix).unlink(missing_ok=True)
    return audits


def _copy(source: Path, partial: Path, progress: Callable[[int, int], None]) -> None:
    if not source.is_file():
        raise NotALedger(f"{source}: no such file")
    with closing(schema.connect(source)) as ledger, closing(schema.connect(partial, read_only=False)) as copy:
        # A snapshot that is held: otherwise every commit of the service would make the copy begin again.
        ledger.execute("BEGIN")
        ledger.execute("SELECT count(*) FROM sqlite_master").fetchone()
        ledger.backup(copy, pages=PAGES_A_STEP, progress=lambda _, left, pages: progress(pages - left, pages))
        # The service's journal mode is written in the file, and would ask every reader for files beside it.
        copy.execute("PRAGMA journal_mode = DELETE")
    descriptor = os.open(partial, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _name(partial: Path, target: Path) -> None:
    """Give the copy its name, over nothing that came there meanwhile."""
    os.link(partial, target)
    partial.unlink()
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
