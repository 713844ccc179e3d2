"""Files that somebody without the key has prepared: verification says what is wrong, and neither ends nor hangs."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ledger import audit, entries_audit, signatures_audit
from ledger import checkpoint as notes
from ledger.audit import NotALedger
from ledger.journal import Refused
from ledger.keys import Keyring
from ledger.stores import attesting, hashing, schema
from tests.ledger.books import ORIGIN
from tests.ledger.files import KEY, OTHER_KEY, Files, note
from tests.ledger.test_attested import many, post, said

NAME = notes.log_origin(ORIGIN, "default")
Store = sqlite3.Connection


@pytest.fixture
async def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """A ledger of 17 entries, most of whose checkpoints an entry speaks of, as long as a long one."""
    monkeypatch.setattr(attesting, "EVERY", 5)
    monkeypatch.setattr(audit, "BESIDE_FROM", 0)
    monkeypatch.setattr(signatures_audit, "BESIDE_FROM", 0)
    found = Files(tmp_path)
    journal = await found.open()
    await post(journal, *many("a", 14))
    await journal.close()
    return found


def change(files: Files, *statements: str) -> None:
    with files.without_rules() as store:
        store.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            store.execute(statement)


def fault(files: Files) -> audit.Fault:
    found = files.verify(again=False).fault
    assert found is not None
    return found


def test_no_module_of_the_folder_in_which_it_is_called(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("json", "ledger", "sqlite3"):
        (files.folder / f"{name}.py").write_text("open('came-by', 'w').close()\n", encoding="utf-8")
    monkeypatch.chdir(files.folder)
    monkeypatch.setattr(hashing, "BESIDE_FROM", 0)
    assert files.verify(again=False).fault is None
    with closing(schema.connect(files.path)) as store:
        assert hashing.subtrees_of(store, files.path, "default", 17).size == 0
    assert not (files.folder / "came-by").exists()


HIDDEN = "CREATE TRIGGER {} BEFORE INSERT ON entry WHEN NEW.stage = ''HALTED'' BEGIN SELECT RAISE(IGNORE); END"


@pytest.mark.parametrize("name", ["sqliteX", "sqlite_evil", "sqlite_stat1", "sqlite_autoindex_entry_9"])
async def test_a_rule_that_is_called_like_one_of_sqlites_own(files: Files, name: str) -> None:
    text = HIDDEN.format(name)
    change(files, f"INSERT INTO sqlite_master VALUES ('trigger', '{name}', 'entry', 0, '{text}')")
    assert f"trigger {name} was added" in fault(files).message
    assert name in (await files.refusal() or "")


async def test_a_nothing_in_the_tables_of_rules_is_not_the_word_for_it(files: Files) -> None:
    change(files, "UPDATE stage SET opens = 'None' WHERE name = 'NOTED'")
    assert "stage 'NOTED', 'None', 0 was added" in fault(files).message
    assert "its rules are not those" in (await files.refusal() or "")


@pytest.mark.parametrize("size", [2, 16])  # an entry speaks of the former
def test_signatures_that_were_read_from_another_file_count_for_nothing(files: Files, tmp_path: Path, size: int) -> None:
    """As where somebody puts a good file in the place of a forged one for as long as the processes read it."""
    good = copy_of(files, tmp_path)
    said = f"'{NAME}\n{size}\n', '{NAME}\n{size + 1}\n'"
    change(files, f"UPDATE checkpoint SET note = replace(note, {said}) WHERE size = {size}")
    keys = Keyring.trusting(NAME, KEY.public_key())
    with (
        closing(schema.connect(files.path)) as store,
        signatures_audit.signatures_beside(store, good, "default", ORIGIN, 17) as verifier,
    ):
        found = [verifier(block, keys) for block in signatures_audit.blocks_of(store, "default", 17)]
    assert [each[0] for each in found if each is not None] == [size]


RULE = 'replace(bytes, \'"actor":"system"\', \'"actor":"claude"\')'


@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE entry SET bytes = {RULE} WHERE n = 8",
        "UPDATE entry SET bytes = replace(bytes, '{', '{ ') WHERE n = 8",
        "DELETE FROM entry WHERE n = 8",
    ],
)
def test_entries_that_were_read_from_another_file_count_for_nothing(
    files: Files, tmp_path: Path, statement: str
) -> None:
    good = copy_of(files, tmp_path)
    seen = audited(files.path)
    change(files, statement)
    forged = audited(files.path)
    assert forged != seen
    with closing(schema.connect(files.path)) as store:
        with entries_audit.entries_beside(store, good, "default", ORIGIN, 17) as answer:
            assert answer(forged.seen) == forged
        with entries_audit.entries_beside(store, good, "default", ORIGIN, 17) as answer:
            assert answer(seen.seen) == seen  # what whoever asks has seen is what counts
    with (
        closing(schema.connect(good)) as store,
        entries_audit.entries_beside(store, files.path, "default", ORIGIN, 17) as answer,
    ):
        assert answer(seen.seen) == seen  # and nothing is blamed on a file for what stands in another


def audited(path: Path) -> entries_audit.EntriesFound:
    with closing(schema.connect(path)) as store:
        return entries_audit.audit_entries(store, "default", ORIGIN, 17)


def copy_of(files: Files, folder: Path) -> Path:
    good = folder / "good.db"
    good.write_bytes(files.path.read_bytes())
    return good


def test_keys_that_were_read_from_another_file_count_for_nothing() -> None:
    """As where somebody with a retired key shows the processes a file in which it was retired later."""

    def keys(first: int) -> Keyring:
        old, new = (Keyring.trusting(NAME, key.public_key()).newest for key in (KEY, OTHER_KEY))
        return Keyring(NAME, (replace(old, end=first), replace(new, first=first)))

    block = signatures_audit.Block(0, 0, [(1, FORGED)])
    assert block.seen(keys(5)) == block.seen(keys(5))
    assert block.seen(keys(5)) != block.seen(keys(6))


@pytest.mark.parametrize("beside_from", [10**9, 0])
def test_a_blob_that_no_entry_names_is_no_fault_whatever_it_is(
    files: Files, beside_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "BESIDE_FROM", beside_from)
    change(files, "INSERT INTO blob VALUES ('default', CAST(x'ff' AS TEXT), x'00')")
    assert files.verify(again=False).fault is None


def test_an_index_that_cannot_be_read_is_damage_and_hides_nothing(files: Files) -> None:
    """By it the entries are found that speak of checkpoints."""
    ((page,),) = files.rows("SELECT rootpage FROM sqlite_master WHERE name = 'entry_id'")
    ((size,),) = files.rows("PRAGMA page_size")
    with files.path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * 64)
    assert "the file is damaged" in outcome(files)
    change(files, "DELETE FROM checkpoint WHERE size = 17")
    assert "entry 16: it and what follows is under no checkpoint" in outcome(files)


GONE = "DELETE FROM checkpoint WHERE size = 2"
FORGED = notes.sign(notes.Checkpoint(NAME, 6, bytes(32)), NAME, KEY)


@pytest.mark.parametrize("statement", [GONE, "DELETE FROM checkpoint WHERE size < 17"])
def test_checkpoints_of_which_an_entry_speaks_are_missed(files: Files, statement: str) -> None:
    change(files, statement)
    found = fault(files)
    assert (found.rule, found.index) == ("checkpoint", 6)
    assert "other checkpoints were signed" in found.message


def test_a_line_that_no_key_wrote(files: Files) -> None:
    for size in (2, 17):  # an entry speaks of the former
        (text,) = files.rows(f"SELECT note FROM checkpoint WHERE size = {size}")[0]
        body, lines = text.split("\n\n")
        for other in (f"{body}\n\n\u2014 evil.example AAAA\n{lines}", f"{body}\n\n{lines}{lines}"):
            with files.without_rules() as store:
                store.execute("UPDATE checkpoint SET note = ? WHERE size = ?", (other, size))
            found = fault(files)
            assert (found.rule, found.index) == ("checkpoint", size - 1)
            assert "lines that its keys did not write" in found.message
        with files.without_rules() as store:
            store.execute("UPDATE checkpoint SET note = ? WHERE size = ?", (text, size))
    assert files.verify(again=False).fault is None


@pytest.mark.parametrize("size", [0, -5])
def test_a_checkpoint_over_nothing(files: Files, size: int) -> None:
    change(files, f"INSERT INTO checkpoint VALUES ('default', {size}, 'anything')")
    assert "over no entry" in fault(files).message


async def test_a_log_that_is_gone_is_missed_whichever_of_its_keys_is_trusted(tmp_path: Path) -> None:
    files = Files(tmp_path)
    journal = await files.open(tenants=["default", "other"])
    await post(journal, "a")
    await post(journal, "a", tenant="other")
    await journal.close()
    files.rotate(KEY, OTHER_KEY)
    journal = await files.open(key=OTHER_KEY, tenants=["default", "other"])
    await post(journal, "b")
    await post(journal, "b", tenant="other")
    await journal.close()
    change(files, "DELETE FROM entry WHERE tenant = 'other'", "DELETE FROM checkpoint WHERE tenant = 'other'")
    for key in (KEY, OTHER_KEY):
        audits = audit.verify_store(
            files.path, origin=ORIGIN, public=key.public_key(), anchor_path=files.prefix, post_again=False
        )
        assert [each.tenant for each in audits if each.fault is not None] == ["other"], key


LOOSE = [
    "UPDATE sqlite_master SET sql = replace(replace(sql, 'STRICT, ', ''), 'NOT NULL', '') WHERE type = 'table'",
    "PRAGMA schema_version = 4242",
]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entry SET bytes = NULL WHERE n = 3",
        "UPDATE entry SET n = 'seven' WHERE n = 7",
        "UPDATE entry SET n = x'00' WHERE n = 7",
        "UPDATE entry SET n = 9e999 WHERE n = 16",
        "UPDATE entry SET n = 9223372036854775807 WHERE n = 16",
        "UPDATE checkpoint SET note = NULL WHERE size = 2",
        "UPDATE checkpoint SET note = x'00' WHERE size = 17",
        "UPDATE checkpoint SET size = 'two' WHERE size = 2",
        "UPDATE checkpoint SET note = hex(zeroblob(2000000)) WHERE size = 2",
        "INSERT INTO blob VALUES ('default', 'no digest', 'text')",
    ],
)
def test_odd_types_and_numbers_are_named_and_end_nothing(files: Files, statement: str) -> None:
    with closing(sqlite3.connect(files.path, isolation_level=None)) as store:
        for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            store.execute(f"DROP TRIGGER {name}")
        store.execute("PRAGMA writable_schema = ON")
        for each in LOOSE:
            store.execute(each)
    with closing(sqlite3.connect(files.path, isolation_level=None)) as store:
        store.execute(statement)
    for beside_from in (0, 10**9):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(audit, "BESIDE_FROM", beside_from)
            assert re.search("holds what it cannot hold|entry [0-9]+: it is", outcome(files))


def outcome(files: Files) -> str:
    try:
        return str(files.verify(again=False))
    except NotALedger as error:
        return str(error)


def test_an_entry_that_is_too_long_is_not_read(files: Files) -> None:
    change(files, 'UPDATE entry SET bytes = replace(bytes, \'"reason":"\', \'"reason":"\' || hex(zeroblob(3000000)))')
    assert re.fullmatch("default: entry 0: it has [0-9]+ bytes, and an entry has at most 65535", str(fault(files)))


def test_a_view_in_the_place_of_a_table(files: Files) -> None:
    endless = "WITH RECURSIVE a(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM a) SELECT 'default' AS tenant, n FROM a"
    with closing(sqlite3.connect(files.path, isolation_level=None)) as store:
        store.execute("DROP TABLE entry")
        store.execute(f"CREATE VIEW entry AS {endless}")
    with pytest.raises(NotALedger, match="it has no table entry"):
        files.verify(again=False)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize("make", [pipe, sparse])
async def test_an_anchor_that_has_no_end(files: Files, make: Callable[[Path], None]) -> None:
    files.anchor.unlink()
    make(files.anchor)
    assert "no slot of the anchor is whole" in fault(files).message
    assert "no slot of the anchor is whole" in (await files.refusal() or "")


async def test_many_checkpoints_at_once_are_spoken_of_a_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one post of a batch is refused, each of the others is signed by itself."""
    monkeypatch.setattr(attesting, "EVERY", 3)
    files = Files(tmp_path)
    journal = await files.open()
    drafts = [note(f"n{number}", settles=0 if number == 5 else None) for number in range(20)]
    results = await asyncio.gather(*(journal.post("default", [each]) for each in drafts), return_exceptions=True)
    assert [type(each) for each in results].count(Refused) == 1
    await post(journal, "last")
    await journal.close()
    spans = said(files)
    assert len(spans) > 4
    assert all(span.checkpoints == 3 for span in spans)
    assert files.verify(again=False).fault is None
