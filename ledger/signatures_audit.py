"""The checkpoints of one log under verification: each is by the key in force at its last entry, and says its size.

A signature takes as long to verify as ten entries to read, and there is one for each commit. Those of a long log are
shared out among processes beside, a block to each in turn, so that whoever walks through the log waits for few.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ledger import checkpoint as notes
from ledger.beside import Unsaid, telling
from ledger.keys import Keyring, WrongKey
from ledger.stores import schema
from ledger.stores.opening import keys_of

BLOCK = 500  # checkpoints
PROCESSES_MAX = 4  # each takes some 30 MB
SignatureFault = tuple[int, str, str]  # the size that the checkpoint is stored under, the rule, and what is wrong


@dataclass(frozen=True, slots=True)
class Block:
    """Some checkpoints that follow each other, as (size, note). before: the size of the one before them, or 0."""

    number: int
    before: int
    signed: list[tuple[int, str]]

    def fault(self, keys: Keyring) -> SignatureFault | None:
        """The first that does not hold, or None."""
        before = self.before
        for size, note in self.signed:
            try:
                found = keys.verify(note)
                keys.vouch(note, after=before)
            except notes.BadCheckpoint as error:
                return size, "key" if isinstance(error, WrongKey) else "checkpoint", f"the checkpoint after it: {error}"
            if found.size != size:
                return size, "checkpoint", f"the checkpoint after it says {found.size}"
            before = size
        return None


Verifier = Callable[[Block, Keyring], SignatureFault | None]


def newest_of(store: sqlite3.Connection, tenant: str) -> int:
    """The size of the largest checkpoint, or 0."""
    sql = "SELECT max(size) FROM checkpoint WHERE tenant = ? AND typeof(size) = 'integer'"
    return int(store.execute(sql, (tenant,)).fetchone()[0] or 0)


def blocks_of(store: sqlite3.Connection, tenant: str, newest: int, length: int | None = None) -> Iterator[Block]:
    """The checkpoints of one log in order, up to the size `newest`. length: of a block, else BLOCK."""
    sql = "SELECT size, note FROM checkpoint WHERE tenant = ? AND size <= ? ORDER BY size"
    rows, number, before = store.execute(sql, (tenant, newest)), 0, 0
    while signed := rows.fetchmany(length or BLOCK):
        yield Block(number, before, signed)
        number, before = number + 1, signed[-1][0]


@contextmanager
def signatures_beside(path: Path, tenant: str, origin: str, newest: int) -> Iterator[Verifier]:
    """Processes that verify the log in the file `path` meanwhile. Each block is to be asked for once, in order."""
    shares = min(os.cpu_count() or 1, PROCESSES_MAX)
    given = str(path), tenant, origin, str(newest), str(BLOCK), str(shares)
    with ExitStack() as stack:
        processes = [stack.enter_context(telling(__name__, *given, str(share))) for share in range(shares)]

        def fault(block: Block, keys: Keyring) -> SignatureFault | None:
            try:
                found = processes[block.number % shares]()
            except Unsaid:
                return block.fault(keys)
            return None if found is None else (int(found[0]), str(found[1]), str(found[2]))

        yield fault


def main() -> None:
    """The process beside: PATH TENANT ORIGIN NEWEST LENGTH SHARES SHARE. It writes a line for each block, as JSON."""
    path, tenant, origin, *numbers = sys.argv[1:]
    newest, length, shares, share = map(int, numbers)
    with closing(schema.connect(path)) as store:
        keys = keys_of(store, origin, tenant)
        for block in blocks_of(store, tenant, newest, length):
            if block.number % shares == share:
                sys.stdout.write(json.dumps(block.fault(keys)) + "\n")
                sys.stdout.flush()
