"""The roots over the blocks of a log, hashed from the bytes in the file; of a long one by a process for each core.

Nothing here is remembered between two starts: a start that believed hashes of yesterday would fold entries that were
changed since.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

from ledger.merkle import BLOCK, HASH_BYTES, Subtrees, leaf_hash, perfect_root
from ledger.stores import schema

BESIDE_FROM = 100_000  # entries, from which on a process of its own for each core pays
PROCESSES_MAX = 8


class Missing(ValueError):
    """A number of the log has no entry."""

    def __init__(self, index: int) -> None:
        super().__init__(f"entry {index} is missing")
        self.index = index


def size_of(store: sqlite3.Connection, tenant: str) -> int:
    """How many entries a log has by its last number. Raises Missing where its first is not 0."""
    sql = "SELECT {}(n) FROM entry WHERE tenant = ?"  # one at a time: SQLite finds each by one step down the key
    first, last = (store.execute(sql.format(which), (tenant,)).fetchone()[0] for which in ("min", "max"))
    if first is None:
        return 0
    if first != 0:
        raise Missing(0)
    return int(last) + 1


def leaves_of(store: sqlite3.Connection, tenant: str, first: int, end: int) -> list[bytes]:
    """The leaf hashes of the entries from `first` to before `end`. Raises Missing."""
    return [leaf_hash(raw) for raw in _page(store, tenant, first, end)]


def subtrees_of(store: sqlite3.Connection, path: Path, tenant: str, size: int) -> Subtrees:
    """The subtrees over the whole blocks of the first `size` entries. Raises Missing.

    store: reads the file at `path`, where other processes read it, too. What stands there is never changed, so all of
    them see the same, unless it is being tampered with; then the root is not the signed one.
    """
    blocks, known = size // BLOCK, Subtrees()
    cores = min(os.cpu_count() or 1, PROCESSES_MAX) if size >= BESIDE_FROM else 1
    bounds = [blocks * core // cores for core in range(cores + 1)]
    with ExitStack() as stack:
        beside = [_Beside(stack, path, tenant, *ends) for ends in pairwise(bounds[1:])]
        known.take_blocks(_roots(store, tenant, 0, bounds[1]))
        for process in beside:
            known.take_blocks(process.roots() or _roots(store, tenant, process.first, process.end))
    return known


class _Beside:
    """A process that hashes the blocks from `first` to before `end`."""

    def __init__(self, stack: ExitStack, path: Path, tenant: str, first: int, end: int) -> None:
        self.first, self.end = first, end
        program = f"from {__name__} import main; main()"
        words = [sys.executable, "-P", "-c", program, str(path), tenant, str(first), str(end)]  # -P as in ledger.beside
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process: subprocess.Popen[bytes] | None = None
        try:
            process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
        except OSError:  # no other process is allowed here: it is done in this one
            return
        self._process = stack.enter_context(process)
        stack.callback(process.kill)  # whoever leaves before it is done does not wait

    def roots(self) -> list[bytes] | None:
        """What it found, or None where it came to no end: then this process looks, and says what is missing."""
        if self._process is None:
            return None
        said, _ = self._process.communicate()
        if self._process.returncode != 0 or len(said) != (self.end - self.first) * HASH_BYTES:
            return None
        return [said[at : at + HASH_BYTES] for at in range(0, len(said), HASH_BYTES)]


def main() -> None:
    """The process beside: PATH TENANT FIRST END, of blocks. It writes their roots."""
    path, tenant, first, end = sys.argv[1:]
    with closing(schema.connect(path)) as store:
        sys.stdout.buffer.writelines(_roots(store, tenant, int(first), int(end)))


def _roots(store: sqlite3.Connection, tenant: str, first: int, end: int) -> Iterator[bytes]:
    rows = store.execute(
        "SELECT n, CAST(bytes AS BLOB) FROM entry WHERE tenant = ? AND n >= ? AND n < ? ORDER BY n",
        (tenant, first * BLOCK, end * BLOCK),
    )
    for begin in range(first * BLOCK, end * BLOCK, BLOCK):
        page = rows.fetchmany(BLOCK)
        _numbered(page, begin, begin + BLOCK)
        yield perfect_root([sha256(b"\x00" + raw).digest() for _, raw in page])


def _page(store: sqlite3.Connection, tenant: str, first: int, end: int) -> Iterator[bytes]:
    sql = "SELECT n, CAST(bytes AS BLOB) FROM entry WHERE tenant = ? AND n >= ? AND n < ? ORDER BY n"
    page = store.execute(sql, (tenant, first, end)).fetchall()
    _numbered(page, first, end)
    return (raw for _, raw in page)


def _numbered(page: list[tuple[int, bytes]], first: int, end: int) -> None:
    """Raises Missing for the first number from `first` to before `end` that is not on the page."""
    if [n for n, _ in page] != list(range(first, end)):
        present = {n for n, _ in page}
        raise Missing(next(n for n in range(first, end) if n not in present))
