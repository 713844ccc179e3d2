"""Every kind of edit, by a hand that takes the triggers away and puts them back, on every entry of a small ledger.

Each is found by verification or refused at the start. COUNTERFOIL_TAMPERING=full changes every byte instead of a few,
and makes 10,000 changes at random.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ledger import audit
from ledger import checkpoint as notes
from ledger.audit import Fault, NotALedger, verify_store
from ledger.entry import Blob, Entry, canonical
from ledger.merkle import leaf_hash, tree_root
from ledger.stores import attesting
from tests.ledger.books import ORIGIN
from tests.ledger.exports import Exported, exported
from tests.ledger.files import KEY, OTHER_KEY, Files, note
from tests.ledger.store_changes import ANYWHERE, StoreChanges

FULL = os.environ.get("COUNTERFOIL_TAMPERING") == "full"
SIZE = 8
NAME = notes.log_origin(ORIGIN, "default")
Edit = Callable[[sqlite3.Connection, int], None]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small ledger; each test tampers with a copy."""
    import asyncio

    folder = tmp_path_factory.mktemp("original")
    asyncio.run(Files(folder).story())
    return folder


@pytest.fixture
def files(original: Path, tmp_path: Path) -> Files:
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    return Files(tmp_path)


def raw(store: sqlite3.Connection, n: int) -> bytes:
    data: bytes = store.execute("SELECT CAST(bytes AS BLOB) FROM entry WHERE n = ?", (n,)).fetchone()[0]
    return data


def put(store: sqlite3.Connection, n: int, data: bytes) -> None:
    store.execute("UPDATE entry SET bytes = CAST(? AS TEXT) WHERE n = ?", (data, n))


def change_text(store: sqlite3.Connection, n: int) -> None:
    put(store, n, raw(store, n).replace(b'"reason":"', b'"reason":"x', 1))


def change_order_of_keys(store: sqlite3.Connection, n: int) -> None:
    put(store, n, raw(store, n).replace(b"{", b"{ ", 1))


def change_to_another_entry(store: sqlite3.Connection, n: int) -> None:
    changed = {"actor": "system", "stage": "NOTED", "settles": None, "reason": "changed"}
    document = Entry.parse(raw(store, n)).to_json() | changed
    put(store, n, canonical(document))


def make_text_invalid(store: sqlite3.Connection, n: int) -> None:
    put(store, n, raw(store, n).replace(b'"reason":"', b'"reason":"\xff', 1))


def delete(store: sqlite3.Connection, n: int) -> None:
    store.execute("DELETE FROM entry WHERE n = ?", (n,))


def delete_and_close_the_gap(store: sqlite3.Connection, n: int) -> None:
    delete(store, n)
    store.execute("UPDATE entry SET n = n - 1 WHERE n > ?", (n,))


def shift(store: sqlite3.Connection, n: int) -> None:
    for place in range(SIZE - 1, n - 1, -1):
        store.execute("UPDATE entry SET n = n + 1 WHERE n = ?", (place,))


def swap_with_the_next(store: sqlite3.Connection, n: int) -> None:
    other = (n + 1) % SIZE
    store.execute("UPDATE entry SET n = 1000 WHERE n = ?", (n,))
    store.execute("UPDATE entry SET n = ? WHERE n = ?", (n, other))
    store.execute("UPDATE entry SET n = ? WHERE n = 1000", (other,))


def insert_before(store: sqlite3.Connection, n: int) -> None:
    shift(store, n)
    document = Entry.parse(raw(store, SIZE)).to_json() | {
        "index": n, "id": "inserted", "stage": "NOTED", "actor": "system", "settles": None
    }  # fmt: skip
    store.execute("INSERT INTO entry (tenant, n, bytes) VALUES ('default', ?, ?)", (n, canonical(document).decode()))


def truncate(store: sqlite3.Connection, n: int) -> None:
    store.execute("DELETE FROM entry WHERE n >= ?", (n,))


def truncate_with_its_checkpoints(store: sqlite3.Connection, n: int) -> None:
    truncate(store, n)
    store.execute("DELETE FROM checkpoint WHERE size > ?", (n,))


def add_unsigned(store: sqlite3.Connection, n: int) -> None:
    """As many entries as `n` says, and one more."""
    last = Entry.parse(raw(store, SIZE - 1)).to_json() | {"stage": "NOTED", "actor": "system", "settles": None}
    for index in range(SIZE, SIZE + n + 1):
        document = canonical(last | {"index": index, "id": f"added {index}"}).decode()
        store.execute("INSERT INTO entry (tenant, n, bytes) VALUES ('default', ?, ?)", (index, document))


def sign_again(key: Any, size_of: Callable[[int], int]) -> Edit:
    def edit(store: sqlite3.Connection, n: int) -> None:
        """A changed entry, and every checkpoint made anew over it."""
        change_text(store, n)
        leaves = [leaf_hash(row[0].encode()) for row in store.execute("SELECT bytes FROM entry ORDER BY n")]
        for (size,) in store.execute("SELECT size FROM checkpoint").fetchall():
            head = notes.Checkpoint(NAME, size_of(size), tree_root(leaves[:size]))
            store.execute("UPDATE checkpoint SET note = ? WHERE size = ?", (notes.sign(head, NAME, key), size))

    return edit


EDITS: dict[str, Edit] = {
    "change text": change_text,
    "change the order of keys": change_order_of_keys,
    "change to another entry": change_to_another_entry,
    "make text invalid": make_text_invalid,
    "delete": delete,
    "delete and close the gap": delete_and_close_the_gap,
    "shift": shift,
    "swap": swap_with_the_next,
    "insert": insert_before,
    "truncate": truncate,
    "truncate with checkpoints": truncate_with_its_checkpoints,
    "add": add_unsigned,
    "sign again, by another key": sign_again(OTHER_KEY, lambda size: size),
    "sign again, by our key": sign_again(KEY, lambda size: size),  # a stolen key: the anchor still shows it
}


def test_the_ledger_itself_holds(files: Files) -> None:
    found = files.verify()
    assert found.fault is None
    assert found.entries == SIZE


@pytest.mark.parametrize("n", range(SIZE))
@pytest.mark.parametrize("kind", EDITS)
async def test_an_edit_is_found_and_refused(files: Files, kind: str, n: int) -> None:
    with files.without_rules() as store:
        EDITS[kind](store, n)
    fault = files.verify().fault
    assert fault is not None
    assert fault.index is not None
    if kind not in ("add", "sign again, by another key", "truncate with checkpoints"):
        assert min(n, (n + 1) % SIZE) <= fault.index <= SIZE, "named where it is, or where its checkpoint is"
    assert await files.refusal() is not None


def flips(length: int, n: int) -> list[int]:
    """Which bytes of an entry are changed: every one, or each 40th, another one in each entry."""
    return list(range(length)) if FULL else list(range(n % 40, length, 40))


@pytest.mark.parametrize("n", range(SIZE))
async def test_any_changed_byte_is_found(files: Files, n: int) -> None:
    """In bytes that stay JSON, as SQLite refuses others through its indexes; the store is opened for the last alone."""
    with files.without_rules() as store:
        data = raw(store, n)
    tried = 0
    for place in flips(len(data), n):
        changed = bytearray(data)
        changed[place] = ord("7") if changed[place] != ord("7") else ord("8")
        try:
            with files.without_rules() as store:
                put(store, n, bytes(changed))
        except sqlite3.Error:
            continue
        fault = files.verify().fault
        assert fault is not None, place
        assert fault.index is not None
        assert fault.index >= n
        tried += 1
    assert tried > len(flips(len(data), n)) // 3
    assert await files.refusal() is not None


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("what", ["other", "next", "nonsense", "empty", "other size"])
async def test_a_replaced_checkpoint_is_found(files: Files, place: int, what: str) -> None:
    with files.without_rules() as store:
        sizes = [row[0] for row in store.execute("SELECT size FROM checkpoint ORDER BY size")]
        kept = dict(store.execute("SELECT size, note FROM checkpoint").fetchall())
        size = sizes[place]
        forged = {
            "other": notes.sign(notes.Checkpoint(NAME, size, bytes(32)), NAME, KEY),
            "next": kept[sizes[place - 1]],
            "nonsense": "nonsense",
            "empty": "",
            "other size": notes.sign(notes.Checkpoint(NAME, size + 1, bytes(32)), NAME, KEY),
        }
        store.execute("UPDATE checkpoint SET note = ? WHERE size = ?", (forged[what], size))
    assert files.verify().fault is not None
    if size == SIZE:
        assert await files.refusal() is not None


async def test_without_any_checkpoint(files: Files) -> None:
    with files.without_rules() as store:
        store.execute("DELETE FROM checkpoint")
    assert files.verify().fault is not None
    assert await files.refusal() is not None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE blob SET data = x'00' WHERE digest = ?", "was changed"),
        ("UPDATE blob SET data = CAST(data || x'00' AS BLOB) WHERE digest = ?", "was changed"),
        ("DELETE FROM blob WHERE digest = ?", "is missing"),
    ],
)
@pytest.mark.parametrize(("data", "index"), [(b'{"alerts": []}', 1), (b"\x00\xff", 5)])
@pytest.mark.parametrize("beside_from", [audit.BESIDE_FROM, 0])
def test_a_blob_that_was_changed_or_taken_out_is_found_by_its_entry(
    files: Files, change: str, said: str, data: bytes, index: int, beside_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "BESIDE_FROM", beside_from)
    with files.without_rules() as store:
        store.execute(change, (Blob("", data).digest,))
    fault = files.verify().fault
    assert fault is not None
    assert (fault.rule, fault.index) == ("blob", index)
    assert re.fullmatch(f"its blob [a-z]+ {said}", fault.message)


async def test_a_restored_backup_is_found(files: Files) -> None:
    backup = files.path.read_bytes()
    await files.post([note("later")])
    for suffix in ("-wal", "-shm"):
        files.path.with_name(files.path.name + suffix).unlink(missing_ok=True)
    files.path.write_bytes(backup)
    fault = files.verify().fault
    assert fault is not None
    assert "anchor" in fault.message
    assert await files.refusal() is not None


async def test_a_backup_with_other_entries_after_it_is_found(files: Files) -> None:
    """Two histories from one beginning, signed with the same key: the anchor knows one of them."""
    backup, anchor = files.path.read_bytes(), files.anchor.read_bytes()
    await files.post([note("one history")])
    after = files.anchor.read_bytes()
    files.path.write_bytes(backup)
    files.anchor.write_bytes(anchor)
    await files.post([note("another history")], [note("that is longer")])
    assert files.verify().fault is None
    files.anchor.write_bytes(after)
    assert files.verify().fault is not None
    assert await files.refusal() is not None


def test_random_changes_are_found_where_they_are(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any kind, anywhere in the ledger's files: verification finds it, and names the first damaged entry.

    Where a commit has several entries, and so one root over all of them, it is named up to its end. Entries speak of
    most checkpoints.
    """
    monkeypatch.setattr(attesting, "EVERY", 5)
    ledger = exported(tmp_path_factory.mktemp("ledger"), rotated=True)
    other = exported(tmp_path_factory.mktemp("other"), rotated=True)
    assert [row for row in ledger.files.rows("SELECT id FROM entry") if row[0].startswith("attest:")]
    changes = StoreChanges(ledger, other, seed=20261123)
    missed: list[str] = []
    elsewhere: list[tuple[str, str]] = []
    count, known = 10_000 if FULL else 100, 0
    for _ in range(count):
        change = changes.make()
        fault = verification(ledger)
        changes.image.restore()
        if fault is None:
            missed.append(change.what)
        elif change.where is not ANYWHERE:
            known += 1
            if fault.index not in change.where:
                elsewhere.append((change.what, str(fault)))
    with capsys.disabled():
        print(
            f"\nledger: {count} changes, {len(missed)} misses; "
            f"{known} of a known entry, {len(elsewhere)} named elsewhere"
        )
    assert missed == []
    assert not elsewhere, "\n".join(map(str, elsewhere))
    assert verification(ledger) is None


def verification(ledger: Exported) -> Fault | None:
    """The first fault of the ledger's files, or None. As of a long log: nothing is posted again to find it."""
    given: dict[str, Any] = {"origin": ORIGIN, "public": KEY.public_key(), "anchor_path": ledger.files.prefix}
    given["post_again"] = False
    try:
        audits = verify_store(ledger.files.path, **given)
    except NotALedger as error:
        return Fault("default", None, str(error))
    faults = [audit.fault for audit in audits if audit.fault is not None]
    return faults[0] if faults else None
