"""Single changes of a ledger's files at random, by a hand that takes the rules away and puts them back."""

from __future__ import annotations

import json
import random
import sqlite3
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from ledger import checkpoint as notes
from ledger.entry import canonical
from ledger.merkle import leaf_hash, tree_root
from ledger.stores import schema
from tests.ledger.exports import NAME, Exported
from tests.ledger.files import OTHER_KEY

Store = sqlite3.Connection
ANYWHERE = range(1 << 30)  # where the first damaged entry cannot be told from what is left


@dataclass(frozen=True, slots=True)
class Change:
    """What was done, and the entries of which the first damaged one is; empty where it is of no entry."""

    what: str
    where: range | None


class Image:
    """A ledger as bytes: as it is, and with its triggers taken away, ready for a change."""

    def __init__(self, export: Exported) -> None:
        self.path, self.anchor = export.files.path, export.files.anchor
        with closing(sqlite3.connect(self.path, isolation_level=None)) as store:
            store.execute("PRAGMA journal_mode = DELETE")
            self.whole = self.path.read_bytes()
            self._triggers = store.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
            for name, _ in self._triggers:
                store.execute(f"DROP TRIGGER {name}")
        self._bare = self.path.read_bytes()
        self.anchored = self.anchor.read_bytes()
        self.restore()

    def restore(self) -> None:
        self.path.write_bytes(self.whole)
        self.anchor.write_bytes(self.anchored)

    def change(self, act: Callable[[Store], None]) -> None:
        """Do it without the rules, and put them back."""
        self.path.write_bytes(self._bare)
        with closing(sqlite3.connect(self.path, isolation_level=None)) as store:
            store.execute("PRAGMA synchronous = OFF")
            store.execute("BEGIN")
            act(store)
            for _, sql in self._triggers:
                store.execute(sql)
            store.execute("COMMIT")

    def content(self) -> object:
        """Everything that the database says, whatever page it stands on; the error where it cannot be read."""
        try:
            with closing(schema.connect(self.path)) as store:
                store.text_factory = bytes
                names = ("entry", "checkpoint", "blob", *schema.FROZEN)
                rows = [store.execute(f"SELECT * FROM {name}").fetchall() for name in names]
                return rows, store.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()
        except (sqlite3.Error, ValueError) as error:
            return str(error)


class StoreChanges:
    """Draws one change after the other and makes it. other: another history of the same log, signed with its key."""

    def __init__(self, export: Exported, other: Exported, seed: int) -> None:
        self.image = Image(export)
        self._random = random.Random(seed)
        self._content = self.image.content()
        self._raws = self._read(export.files.path, "SELECT n, CAST(bytes AS BLOB) FROM entry")
        self._notes = self._read(export.files.path, "SELECT size, note FROM checkpoint")
        self._blobs = self._read(export.files.path, "SELECT digest, data FROM blob")
        self._other_raws = self._read(other.files.path, "SELECT n, CAST(bytes AS BLOB) FROM entry")
        self._other_notes = self._read(other.files.path, "SELECT size, note FROM checkpoint")
        self._other_bytes = other.files.path.read_bytes(), other.files.anchor.read_bytes()
        self._sizes = sorted(self._notes)
        self._size = self._sizes[-1]
        self._key = export.key
        self._keyed = [n for n, raw in self._raws.items() if b'"stage":"OPENED"' in raw or b'"stage":"REKEYED"' in raw]
        self._kinds: Sequence[Callable[[], Change]] = (
            *(self._bit, self._bit, self._byte_of_the_file, self._field, self._swap, self._drop, self._duplicate),
            *(self._truncate, self._splice, self._checkpoint, self._key_or_rule, self._anchor, self._blob),
        )

    def make(self) -> Change:
        """Change the files; afterwards `image.restore` undoes it."""
        while True:
            change = self._random.choice(self._kinds)()
            if self.image.content() != self._content or self.image.anchor.read_bytes() != self.image.anchored:
                return change if self._keys_stand() else replace(change, where=ANYWHERE)
            self.image.restore()

    def _keys_stand(self) -> bool:
        """Whether the entries that name keys are where they were; else what is told first is that the keys are not."""
        try:
            with closing(sqlite3.connect(self.image.path)) as store:
                sql = "SELECT CAST(bytes AS BLOB) FROM entry WHERE n = ?"
                return all(store.execute(sql, (n,)).fetchall() == [(self._raws[n],)] for n in self._keyed)
        except (sqlite3.Error, ValueError):
            return False

    @staticmethod
    def _read(path: Path, sql: str) -> dict[object, bytes]:
        with closing(sqlite3.connect(path)) as store:
            return dict(store.execute(sql).fetchall())

    def _commit(self, n: int) -> range:
        """From the entry to the end of its commit: what is between two roots is told apart by none."""
        return range(n, self._sizes[bisect_right(self._sizes, n)])

    def _n(self) -> int:
        return self._random.randrange(self._size)

    def _set(self, n: int, raw: bytes) -> None:
        self.image.change(lambda store: _put(store, n, raw))

    def _bit(self) -> Change:
        n = self._n()
        raw = bytearray(self._raws[n])
        raw[self._random.randrange(len(raw))] ^= 1 << self._random.randrange(8)
        try:
            self._set(n, bytes(raw))
        except sqlite3.Error:  # SQLite itself does not store it, as an index of what is JSON stands over it
            self.image.restore()
            return self._bit()
        return Change(f"a bit of entry {n}", self._commit(n))

    def _byte_of_the_file(self) -> Change:
        data = bytearray(self.image.whole)
        place = self._random.randrange(len(data))
        data[place] = self._random.randrange(256)
        self.image.path.write_bytes(data)
        return Change(f"byte {place} of the file", ANYWHERE)

    def _field(self) -> Change:
        n = self._n()
        document = json.loads(self._raws[n])
        name = self._random.choice(sorted(document))
        values = ["", "x", None, 0, 1, 7, [], [0], {}, "system", "policy", "NOTED", "engineer:rudo", True, "0" * 64]
        document[name] = self._random.choice(values)
        try:
            self._set(n, canonical(document))
        except sqlite3.Error:  # the same id or settlement as another entry's
            self.image.restore()
            return self._field()
        return Change(f"{name} of entry {n}", self._commit(n) if name != "body" else ANYWHERE)

    def _swap(self) -> Change:
        first, second = sorted(self._random.sample(range(self._size), 2))

        def swap(store: Store) -> None:
            for n, place in ((first, -1), (second, first), (-1, second)):
                store.execute("UPDATE entry SET n = ? WHERE n = ?", (place, n))

        self.image.change(swap)
        return Change(f"{first} and {second} are swapped", self._commit(first))

    def _drop(self) -> Change:
        n, closed = self._n(), self._random.random() < 0.5

        def drop(store: Store) -> None:
            store.execute("DELETE FROM entry WHERE n = ?", (n,))
            for place in range(n + 1, self._size) if closed else ():
                store.execute("UPDATE entry SET n = n - 1 WHERE n = ?", (place,))

        self.image.change(drop)
        return Change(f"without entry {n}", self._commit(n) if closed else range(n, n + 1))

    def _duplicate(self) -> Change:
        """The entry once more: under the next number, with the numbers behind it moved; its id made another one."""
        n = self._n()
        document = json.loads(self._raws[n]) | {"id": "once more", "settles": None}
        changed = document | ({"index": n + 1} if self._random.random() < 0.5 else {})

        def double(store: Store) -> None:
            for place in range(self._size - 1, n, -1):
                store.execute("UPDATE entry SET n = n + 1 WHERE n = ?", (place,))
            store.execute("INSERT INTO entry VALUES ('default', ?, ?)", (n + 1, canonical(changed).decode()))

        self.image.change(double)
        return Change(f"entry {n} twice", range(n + 1, (self._commit(n + 1).stop if n + 1 < self._size else n + 2)))

    def _truncate(self) -> Change:
        n, with_checkpoints = self._random.randrange(1, self._size), self._random.random() < 0.5

        def cut(store: Store) -> None:
            store.execute("DELETE FROM entry WHERE n >= ?", (n,))
            store.execute("DELETE FROM checkpoint WHERE size > ?", (n if with_checkpoints else self._size,))

        self.image.change(cut)
        return Change(f"cut off at {n}", ANYWHERE if with_checkpoints else range(n, n + 1))

    def _splice(self) -> Change:
        """An entry, or everything from one on with its checkpoints, or the whole file with its anchor's, of another."""
        n, kind = self._random.randrange(1, self._size), self._random.randrange(3)
        if kind == 0:
            self._set(n, self._other_raws[n])
            return Change(f"entry {n} of another log", self._commit(n))
        if kind == 1:
            self.image.path.write_bytes(self._other_bytes[0])
            return Change("the file of another log", ANYWHERE)

        def splice(store: Store) -> None:
            store.execute("DELETE FROM entry WHERE n >= ?", (n,))
            store.execute("DELETE FROM checkpoint WHERE size > ?", (n,))
            rows = [(at, raw) for at, raw in self._other_raws.items() if at >= n]  # type: ignore[operator]
            for at, raw in rows:
                store.execute("INSERT INTO entry VALUES ('default', ?, CAST(? AS TEXT))", (at, raw))
            for size, note in self._other_notes.items():
                if size > n:  # type: ignore[operator]
                    store.execute("INSERT INTO checkpoint VALUES ('default', ?, ?)", (size, note))

        self.image.change(splice)
        return Change(f"another log from {n} on", range(n, self._size + 1))

    def _checkpoint(self) -> Change:
        """One that is gone, though it is the newest; one of another size, root, key or log; a changed character."""
        size, kind = self._random.choice(self._sizes), self._random.randrange(6)
        place = range(size - 1, self._size + 1)
        note = str(self._notes[size])
        root = tree_root([leaf_hash(self._raws[n]) for n in range(size)])
        forged = notes.Checkpoint(NAME, size, self._random.randbytes(32))
        if kind == 0:
            self.image.change(lambda store: store.execute("DELETE FROM checkpoint WHERE size = ?", (self._size,)))
            return Change("without the newest checkpoint", ANYWHERE)
        at = self._random.randrange(len(note))
        new = {
            1: notes.sign(forged, NAME, self._key),
            2: notes.sign(notes.Checkpoint(NAME, size, root), NAME, OTHER_KEY),
            3: str(self._notes[self._random.choice(self._sizes)]),
            4: str(self._other_notes[size]),
            5: note[:at] + chr(ord(note[at]) ^ 1 << self._random.randrange(7)) + note[at + 1 :],
        }[kind]
        self.image.change(lambda store: store.execute("UPDATE checkpoint SET note = ? WHERE size = ?", (new, size)))
        return Change(f"another checkpoint over {size}", place)

    def _key_or_rule(self) -> Change:
        """Another key in the entries that name one, or a rule of the database that is not ours."""
        acts: Sequence[tuple[str, range]] = (
            ("DROP VIEW outstanding", ANYWHERE),
            ("DELETE FROM settlement WHERE book = 'halts'", ANYWHERE),
            ("INSERT INTO office VALUES ('AUTHORIZED', 'claude')", ANYWHERE),
            ("UPDATE meta SET value = 'other.example' WHERE name = 'origin'", ANYWHERE),
            ("DROP INDEX entry_stage", ANYWHERE),
            ("UPDATE entry SET tenant = 'other'", ANYWHERE),
            ("UPDATE checkpoint SET tenant = 'other' WHERE size > 5", ANYWHERE),
        )
        if self._random.random() < 0.5:
            n = self._random.choice(self._keyed)
            document = json.loads(self._raws[n])
            document["body"]["key"] = notes.verifier_key(NAME, OTHER_KEY.public_key())
            self._set(n, canonical(document))  # type: ignore[arg-type]
            return Change(f"another key in entry {n}", ANYWHERE)
        sql, where = self._random.choice(acts)
        self.image.change(lambda store: store.execute(sql))
        return Change(sql, where)

    def _anchor(self) -> Change:
        """Another's, one that is damaged in both of its slots (in one a crash may have damaged it), or a forged one."""
        kind = self._random.randrange(3)
        data = bytearray(self._other_bytes[1] if kind == 0 else self.image.anchored)
        for slot in (0, notes.SLOT_BYTES) if kind == 1 else ():
            data[slot + self._random.randrange(200)] ^= 1 << self._random.randrange(8)
        self.image.anchor.write_bytes(data)
        if kind == 2:
            size = self._random.randrange(1, self._size + 2)
            key = self._random.choice([self._key, OTHER_KEY])
            self.image.anchor.unlink()
            head = notes.Checkpoint(NAME, size, self._random.randbytes(32))
            notes.Anchor(self.image.anchor).write(notes.sign(head, NAME, key))
        return Change("the anchor", ANYWHERE)

    def _blob(self) -> Change:
        digest = self._random.choice(sorted(map(str, self._blobs)))
        data, kind = bytearray(self._blobs[digest]), self._random.randrange(4)
        data[self._random.randrange(len(data))] ^= 1 << self._random.randrange(8)
        first = min(int(str(n)) for n, raw in self._raws.items() if digest.encode() in raw)
        sql, given = {
            0: ("DELETE FROM blob WHERE digest = ?", (digest,)),
            1: ("UPDATE blob SET digest = 'x' WHERE digest = ?", (digest,)),
            2: ("UPDATE blob SET data = ? WHERE digest = ?", (bytes(data), digest)),
            3: ("UPDATE blob SET data = substr(data, 2) WHERE digest = ?", (digest,)),
        }[kind]
        self.image.change(lambda store: store.execute(sql, given))
        return Change(f"blob {digest[:8]}", range(first, first + 1))


def _put(store: Store, n: int, raw: bytes) -> None:
    store.execute("UPDATE entry SET bytes = CAST(? AS TEXT) WHERE n = ?", (raw, n))
