"""Signatures of a long log are verified by processes beside: they find what this process finds, at the same place."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import audit, signatures_audit
from ledger import checkpoint as notes
from tests.ledger.books import ORIGIN
from tests.ledger.files import KEY, OTHER_KEY, Files, note

NAME = notes.log_origin(ORIGIN, "default")
Change = Callable[[sqlite3.Connection, int], None]


@pytest.fixture
async def files(tmp_path: Path) -> Files:
    """A ledger whose key was changed in the middle; it has a checkpoint after each of most entries."""
    found = Files(tmp_path)
    await found.post(*([note(f"first {number}")] for number in range(6)))
    found.rotate(KEY, OTHER_KEY)
    journal = await found.open(key=OTHER_KEY)
    for number in range(5):
        await journal.post("default", [note(f"second {number}")])
    await journal.close()
    return found


def said(store: sqlite3.Connection, size: int) -> str:
    return str(store.execute("SELECT note FROM checkpoint WHERE size = ?", (size,)).fetchone()[0])


def put(store: sqlite3.Connection, size: int, text: str) -> None:
    store.execute("UPDATE checkpoint SET note = ? WHERE size = ?", (text, size))


def flip(store: sqlite3.Connection, size: int) -> None:
    """One bit of the newest key's signature."""
    lines = said(store, size).split("\n")
    mark = lines[4][-9]
    lines[4] = lines[4][:-9] + ("A" if mark != "A" else "B") + lines[4][-8:]
    put(store, size, "\n".join(lines))


def of_another_size(store: sqlite3.Connection, size: int) -> None:
    """The checkpoint after it, which holds, but is over more entries."""
    row = store.execute("SELECT note FROM checkpoint WHERE size > ? ORDER BY size LIMIT 1", (size,)).fetchone()
    put(store, size, row[0] if row is not None else "nothing")


def of_another_root(store: sqlite3.Connection, size: int) -> None:
    put(store, size, notes.sign(notes.Checkpoint(NAME, size, bytes(32)), NAME, OTHER_KEY, KEY))


def by(*keys: Ed25519PrivateKey) -> Change:
    """The same checkpoint, signed by these: too late, too early, or without the voucher where the second key begins."""

    def change(store: sqlite3.Connection, size: int) -> None:
        root = said(store, size).split("\n")[2]
        put(store, size, notes.sign(notes.Checkpoint(NAME, size, notes.decode64(root)), NAME, *keys))

    return change


CHANGES: dict[str, Change] = {
    "a bit is flipped": flip,
    "of another size": of_another_size,
    "of another root": of_another_root,
    "by the first key": by(KEY),
    "by the second key": by(OTHER_KEY),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_processes_beside_find_what_this_process_finds(
    files: Files, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [row[0] for row in files.rows("SELECT size FROM checkpoint ORDER BY size")] == list(range(1, 14))
    each_is_found(files, kind, (1, 2, 3, 7, 8, 9, 13), monkeypatch)
    found = verified(files, monkeypatch)
    assert found[0].fault is None
    assert found[1:] == found[:1] * 2


def each_is_found(files: Files, kind: str, sizes: Iterable[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of the checkpoint of each of these sizes is found there, however the log is verified."""
    monkeypatch.setattr(signatures_audit, "BLOCK", 2)
    for size in sizes:
        with files.without_rules() as store:
            before = said(store, size)
            CHANGES[kind](store, size)
        found = verified(files, monkeypatch)
        with files.without_rules() as store:
            changed = said(store, size) != before
            put(store, size, before)
        assert all(each == found[0] for each in found), (size, found)
        assert (found[0].fault is not None) is changed, size
        assert found[0].fault is None or found[0].fault.index == size - 1


def verified(files: Files, monkeypatch: pytest.MonkeyPatch) -> list[audit.Audit]:
    """As of a short log, as of a long one, and as of a long one where no process comes to an answer."""
    found = [files.verify(again=False)]
    with monkeypatch.context() as patch:
        patch.setattr(audit, "BESIDE_FROM", 0)
        patch.setattr(signatures_audit, "BESIDE_FROM", 0)
        found.append(files.verify(again=False))
        patch.setattr(sys, "executable", "/bin/false")
        found.append(files.verify(again=False))
    return found


async def test_a_service_that_goes_on_writing_makes_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the processes see of it later than this one is beyond what they are asked for."""
    monkeypatch.setattr(audit, "BESIDE_FROM", 0)
    monkeypatch.setattr(signatures_audit, "BESIDE_FROM", 0)
    monkeypatch.setattr(signatures_audit, "BLOCK", 5)
    files, verified = Files(tmp_path), asyncio.Event()
    await files.post([note("first")])
    journal = await files.open()

    async def write() -> None:
        number = 0
        while not verified.is_set():
            await journal.post("default", [note(f"while it is verified {number}")])
            number += 1

    writing = asyncio.create_task(write())
    found = [await asyncio.to_thread(files.verify, again=False) for _ in range(3)]
    verified.set()
    await writing
    await journal.close()
    assert [each.fault for each in found] == [None] * 3
    assert found[0].entries < found[1].entries < found[2].entries
