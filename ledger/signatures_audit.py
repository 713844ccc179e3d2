"""The checkpoints of one log under verification: each is by the key in force at its last entry, and says its size.

A signature takes as long to verify as ten entries to read, and there is one for each commit. Checkpoints of which a
later entry of the log speaks (`ledger.attested`) are compared with what it says; only where they differ, or where no
entry speaks of them, each signature is verified. The newest is always among these, so what the entries say is itself
under a signature that is verified. Where no entry speaks of many, as in a log from before there were such entries, they
are shared out among processes beside, a block to each in turn, so that whoever walks through the log waits for few.
Each reads the file by itself, and says what it read with what it found.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import os
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ledger import checkpoint as notes
from ledger.attested import END_ID, FIRST_ID, Attested, attested_of
from ledger.beside import Unsaid, telling
from ledger.entry import MAX_ENTRY_BYTES, Entry
from ledger.keys import Keyring, WrongKey
from ledger.stores import schema
from ledger.stores.opening import keys_of

BLOCK = 500  # checkpoints
BESIDE_FROM = 4 * BLOCK  # checkpoints of which no entry speaks, from which on processes of their own pay
PROCESSES_MAX = 4  # each takes some 30 MB
# Left to itself the planner walks the tenant's log by the primary key, and reads every id.
SPEAKING = (
    "SELECT CAST(bytes AS BLOB) FROM entry WHERE tenant = ? AND id > ? AND id < ? AND +n < ? AND length(bytes) <= ?"
)
SignatureFault = tuple[int, str, str]  # the size that the checkpoint is stored under, the rule, and what is wrong


@dataclass(frozen=True)
class Block:
    """Some checkpoints that follow each other, as (size, note).

    number: which block it is of those of which no entry speaks; those of which one does are not numbered apart.
    before: the size of the one before them, or 0. attested: what an entry says of them, where one does.
    """

    number: int
    before: int
    signed: list[tuple[int, str]]
    attested: Attested | None = None

    @functools.cached_property
    def known(self) -> bool:
        """Whether they are those of which an entry speaks, to the last bit."""
        return self.attested is not None and self.attested.covers([note for _, note in self.signed])

    def fault(self, keys: Keyring) -> SignatureFault | None:
        """The first that does not hold, or None."""
        if self.known and self._plain(keys):
            return None
        before = self.before
        for size, note in self.signed:
            try:
                found = keys.verify(note, signature=not self.known)
                vouchers = keys.vouch(note, after=before)
            except notes.BadCheckpoint as error:
                return size, "key" if isinstance(error, WrongKey) else "checkpoint", f"the checkpoint after it: {error}"
            if found.size != size:
                return size, "checkpoint", f"the checkpoint after it says {found.size}"
            if note.count("\n") != found.body().count("\n") + 2 + vouchers:  # an empty line, and one for each key
                return size, "checkpoint", "the checkpoint after it has lines that its keys did not write"
            before = size
        return None

    def seen(self, keys: Keyring) -> str:
        """What whoever looks at it looked at: two that read the file at different times may not see the same."""
        in_force = [(key.vkey, key.first) for key in keys.keys]
        digest = hashlib.sha256(repr((self.before, self.attested, in_force)).encode())
        for size, note in self.signed:
            digest.update(f"{size} {len(note)} {note}".encode())
        return digest.hexdigest()

    def _plain(self, keys: Keyring) -> bool:
        """Whether all are to the letter what a service writes under one key. It says less than `fault`, and sooner."""
        last = self.signed[-1][0]
        if any(key.end is not None and self.before <= key.end < last for key in keys.keys):
            return False
        form = _form(keys.name, keys.at(last - 1).id)
        found = [form.fullmatch(note) for _, note in self.signed]
        return all(one and one[1] == str(size) for one, (size, _) in zip(found, self.signed, strict=True))


@functools.lru_cache(maxsize=64)
def _form(name: str, key_id: bytes) -> re.Pattern[str]:
    """A checkpoint by one key. Of its four bytes of id the first five digits are compared, which hold nothing else."""
    root, mark, origin = "[A-Za-z0-9+/]{43}=", base64.b64encode(key_id)[:5].decode(), re.escape(name)
    return re.compile(
        rf"{origin}\n(0|[1-9]\d{{0,15}})\n{root}\n\n\u2014 {origin} {re.escape(mark)}[A-Za-z0-9+/]{{86}}=\n", re.ASCII
    )


Verifier = Callable[[Block, Keyring], SignatureFault | None]


def newest_of(store: sqlite3.Connection, tenant: str) -> int:
    """The size of the largest checkpoint, or 0."""
    sql = "SELECT max(size) FROM checkpoint WHERE tenant = ? AND typeof(size) = 'integer'"
    return int(store.execute(sql, (tenant,)).fetchone()[0] or 0)


def blocks_of(
    store: sqlite3.Connection, tenant: str, newest: int, length: int | None = None, *, spoken_of: bool = True
) -> Iterator[Block]:
    """The checkpoints of one log in order, up to the size `newest`. length: of a block, else BLOCK.

    Those of which an entry speaks are a block of their own, also where there is none of them. spoken_of: False passes
    over them.
    """
    number, before = 0, 0
    for end, attested in _spans(store, tenant, newest):
        if attested is not None and not spoken_of:
            before = end
            continue
        sql = "SELECT size, note FROM checkpoint WHERE tenant = ? AND size > ? AND size <= ? ORDER BY size"
        rows = store.execute(sql, (tenant, before, end))
        most = attested.checkpoints if attested is not None else length or BLOCK
        signed = rows.fetchmany(most)
        while signed or attested is not None:
            yield Block(number, before, signed, attested)
            number += attested is None
            before = signed[-1][0] if signed else before
            signed = rows.fetchmany(most)
            attested = attested if signed else None


def _unspoken(store: sqlite3.Connection, tenant: str, newest: int) -> int:
    """How many checkpoints there are of which no entry speaks."""
    sql, found, before = "SELECT count(*) FROM checkpoint WHERE tenant = ? AND size > ? AND size <= ?", 0, 0
    for end, attested in _spans(store, tenant, newest):
        found += store.execute(sql, (tenant, before, end)).fetchone()[0] if attested is None else 0
        before = end
    return found


def _spans(store: sqlite3.Connection, tenant: str, newest: int) -> Iterator[tuple[int, Attested | None]]:
    """Up to which sizes no entry speaks of the checkpoints, and up to which one does, in turn; the last is `newest`.

    Of entries that speak of the same the first counts. What they say is not verified here.
    """
    said: list[Attested] = []
    for raw in _speaking(store, tenant, newest):
        try:
            attested = attested_of(Entry.parse(raw))
        except ValueError:  # it is a fault that the walk through the log names
            continue
        said += [attested] if attested is not None else []
    reached = 0
    for attested in sorted(said, key=lambda one: (one.after, one.through, one.index)):
        if reached <= attested.after and attested.through < newest:
            yield from [(attested.after, None)] if reached < attested.after else []
            yield attested.through, attested
            reached = attested.through
    yield newest, None


def _speaking(store: sqlite3.Connection, tenant: str, newest: int) -> list[bytes]:
    """The entries that may speak of checkpoints; none where the index that finds them is damaged."""
    try:
        rows = store.execute(SPEAKING, (tenant, FIRST_ID, END_ID, newest, MAX_ENTRY_BYTES)).fetchall()
    except sqlite3.DatabaseError:  # then each signature is verified, and the file's own check names the damage
        return []
    return [raw for (raw,) in rows]


@contextmanager
def signatures_beside(
    store: sqlite3.Connection, path: Path, tenant: str, origin: str, newest: int
) -> Iterator[Verifier]:
    """Verifies the log in the file `path`, which `store` reads, by processes where they pay.

    Each block is to be asked for once, in order.
    """
    shares = min(os.cpu_count() or 1, PROCESSES_MAX) if _unspoken(store, tenant, newest) >= BESIDE_FROM else 0
    given = str(path), tenant, origin, str(newest), str(BLOCK), str(shares)
    with ExitStack() as stack:
        processes = [stack.enter_context(telling(__name__, *given, str(share))) for share in range(shares)]

        def fault(block: Block, keys: Keyring) -> SignatureFault | None:
            if block.attested is not None or not processes:
                return block.fault(keys)
            try:
                seen, found = processes[block.number % shares]()
            except Unsaid:
                seen, found = "", None
            if seen != block.seen(keys):  # it came to no answer, or the file was changed meanwhile
                return block.fault(keys)
            return None if found is None else (int(found[0]), str(found[1]), str(found[2]))

        yield fault


def main() -> None:
    """The process beside: PATH TENANT ORIGIN NEWEST LENGTH SHARES SHARE. It writes a line for each block, as JSON."""
    path, tenant, origin, *numbers = sys.argv[1:]
    newest, length, shares, share = map(int, numbers)
    with closing(schema.connect(path)) as store:
        keys = keys_of(store, origin, tenant)
        for block in blocks_of(store, tenant, newest, length, spoken_of=False):
            if block.number % shares == share:
                sys.stdout.write(json.dumps((block.seen(keys), block.fault(keys))) + "\n")
                sys.stdout.flush()
