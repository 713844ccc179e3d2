"""When the SQLite store starts and when it refuses to; what a full disk and an anchor out of reach do."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest

from ledger import checkpoint as notes
from ledger.entry import Blob, Entry, canonical
from ledger.journal import Broken, Unavailable
from ledger.stores import schema
from ledger.stores.batch import Batch, Job
from ledger.stores.sqlite import MAX_BATCH_ENTRIES, MAX_WAITING_POSTS, SqliteJournal
from tests.ledger.books import ORIGIN
from tests.ledger.files import OTHER_KEY, Files, note


@pytest.fixture
async def files(tmp_path: Path) -> Files:
    made = Files(tmp_path)
    await made.story()
    return made


async def test_a_new_file_has_large_pages_and_one_of_before_goes_on_with_its_own(tmp_path: Path) -> None:
    new, former = Files(tmp_path / "new"), Files(tmp_path / "former")
    for made in (new, former):
        made.folder.mkdir()
    with sqlite3.connect(former.path) as store:
        store.execute("PRAGMA page_size = 4096")
        store.execute("PRAGMA journal_mode = WAL")
        store.executescript(schema.script(ORIGIN))
    store.close()
    for made, size in ((new, 8192), (former, 4096)):
        await made.story()
        assert made.rows("PRAGMA page_size") == [(size,)]
        assert made.verify().fault is None


async def test_what_was_closed_opens_again_and_goes_on(files: Files) -> None:
    before = files.rows("SELECT n, bytes FROM entry ORDER BY n")
    await files.post([note("later")])
    after = files.rows("SELECT n, bytes FROM entry ORDER BY n")
    assert after[:-1] == before
    assert after[-1][0] == len(before)
    assert files.verify().fault is None


async def test_the_files_are_their_owners_alone(files: Files) -> None:
    journal = await files.open()
    await journal.post("default", [note("n")])
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in files.folder.iterdir()}
    assert modes.keys() >= {"ledger.db", "ledger.db-wal", "anchor.default"}
    assert set(modes.values()) == {0o600}
    await journal.close()


async def test_closing_leaves_one_file_and_nothing_beside_it(files: Files) -> None:
    """A refused start would else be the one that empties the write-ahead log, and changes the file."""
    for number in range(8):
        journal = await files.open()
        await journal.post("default", [note(f"closing {number}")])
        await journal.close()
        assert not [path.name for path in files.folder.glob("ledger.db-*")]


async def test_a_path_may_hold_any_character(tmp_path: Path) -> None:
    folder = tmp_path / "a?mode=memory#%41 ü"
    folder.mkdir()
    files = Files(folder)
    await files.story()
    assert files.path.stat().st_size > 0
    assert files.verify().fault is None


def unsigned(files: Files, index: int) -> None:
    """One more entry, correct in every rule, by a connection that has no key."""
    last = Entry.parse(files.rows("SELECT bytes FROM entry ORDER BY n DESC LIMIT 1")[0][0].encode())
    document = last.to_json() | {"index": index, "id": "mine", "stage": "NOTED", "actor": "system", "settles": None}
    with files.without_rules() as store:
        store.execute(
            "INSERT INTO entry (tenant, n, bytes) VALUES ('default', ?, ?)", (index, canonical(document).decode())
        )


async def test_an_unsigned_tail_is_refused_and_kept(files: Files) -> None:
    size = files.verify().entries
    unsigned(files, size)
    for anchor in (files.prefix, None):
        assert await files.refusal(anchor_path=anchor) is not None
    assert files.rows("SELECT count(*) FROM entry") == [(size + 1,)]


async def test_another_origin_is_refused(files: Files) -> None:
    reason = await files.refusal(origin="elsewhere.example")
    assert reason is not None
    assert ORIGIN in reason


async def test_another_key_is_refused(files: Files) -> None:
    assert "none of default's" in (await files.refusal(key=OTHER_KEY, anchor_path=None) or "")
    assert await files.refusal(key=OTHER_KEY) is not None
    assert await files.refusal() is None


@pytest.mark.parametrize("data", [b"not a database" * 100, b"SQLite format 3\0" + bytes(4096)])
async def test_what_is_no_ledger_is_refused(tmp_path: Path, data: bytes) -> None:
    files = Files(tmp_path)
    files.path.write_bytes(data)
    with pytest.raises((Broken, Unavailable)):
        await files.open()
    assert files.path.read_bytes() == data


async def test_another_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    files = Files(tmp_path)
    with sqlite3.connect(files.path) as store:
        store.execute("CREATE TABLE mine (a)")
    store.close()
    assert "not a ledger" in (await files.refusal() or "")
    assert files.rows("SELECT name FROM sqlite_master") == [("mine",)]


@pytest.mark.parametrize("trigger", ["entry_no_delete", "entry_form", "checkpoint_form", "office_frozen_insert"])
async def test_a_rule_that_was_taken_away_is_missed(files: Files, trigger: str) -> None:
    with sqlite3.connect(files.path) as store:
        store.execute(f"DROP TRIGGER {trigger}")
    store.close()
    assert trigger in (await files.refusal() or "")


async def test_a_rule_table_that_was_changed_is_noticed(files: Files) -> None:
    with files.without_rules() as store:
        store.execute("INSERT INTO office VALUES ('AUTHORIZED', 'claude')")
    assert "claude" in (await files.refusal() or "")


async def test_a_restored_backup_is_refused(files: Files) -> None:
    backup = files.folder / "backup.db"
    shutil.copy(files.path, backup)
    await files.post([note("after the backup")])
    shutil.copy(backup, files.path)
    assert "anchor" in (await files.refusal() or "")
    fault = files.verify().fault
    assert fault is not None
    assert "anchor" in fault.message


async def test_a_ledger_that_is_gone_is_not_begun_anew_under_its_anchor(files: Files) -> None:
    files.path.unlink()
    assert await files.refusal() is not None
    files.anchor.unlink()
    assert await files.refusal() is None


async def test_a_ledger_ahead_of_its_anchor_is_accepted_and_the_anchor_brought_up(files: Files) -> None:
    old = files.anchor.read_bytes()
    await files.post([note("later")])
    files.anchor.write_bytes(old)
    assert await files.refusal() is None
    note_now = notes.Anchor(files.anchor).read()
    assert note_now == files.rows("SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1")[0][0]


async def test_an_anchor_of_another_history_is_refused(files: Files, tmp_path: Path) -> None:
    other = Files(tmp_path / "other")
    other.folder.mkdir()
    await other.post([note("other")])
    shutil.copy(other.anchor, files.anchor)
    assert await files.refusal() is not None


async def test_a_torn_slot_of_the_anchor_is_survived_and_two_are_not(files: Files) -> None:
    whole = files.anchor.read_bytes()
    half = len(whole) // 2
    files.anchor.write_bytes(bytes(half) + whole[half:])
    assert await files.refusal() is None
    files.anchor.write_bytes(whole[:half] + b"x" * half)
    assert await files.refusal() is None
    files.anchor.write_bytes(bytes(len(whole)))
    assert "anchor" in (await files.refusal() or "")


async def test_without_an_anchor_file_one_is_made_again(files: Files) -> None:
    files.anchor.unlink()
    assert await files.refusal() is None
    assert files.anchor.exists()


async def test_an_anchor_that_cannot_be_written_is_said_and_posts_still_stand(files: Files) -> None:
    journal = await files.open()
    assert journal.anchor_error() is None
    files.anchor.rename(files.folder / "moved")
    files.anchor.mkdir()
    receipt = await journal.post("default", [note("n")])
    index = receipt.entries[0].index
    assert await journal.get("default", index) == receipt.entries[0]
    await journal.anchored("default", index)
    assert "anchor" in (journal.anchor_error() or "")
    files.anchor.rmdir()
    (files.folder / "moved").rename(files.anchor)
    await journal.anchored("default", index)
    assert journal.anchor_error() is None
    await journal.close()
    assert files.verify().fault is None


async def fill(journal: SqliteJournal) -> None:
    """No page more than the file has now: what a full disk is to SQLite."""
    assert journal._writer is not None
    await journal._writer.set_authorizer(None)
    await journal._writer.execute("PRAGMA max_page_count = 1")


async def test_a_full_disk_fails_closed_and_recovers_with_space(files: Files) -> None:
    journal = await files.open()
    kept = await journal.post("default", [note("kept")])
    await fill(journal)
    big = note("big", blobs=(Blob("big", bytes(1_000_000)),))
    with pytest.raises(Unavailable, match="full"):
        await journal.post("default", [big])
    assert "full" in (journal.anchor_error() or "")
    assert await journal.get("default", kept.entries[0].index) == kept.entries[0]
    assert await journal.find("default", "big") is None
    receipt = await journal.post("default", [big])  # the next connection knows no such limit: there is space again
    assert not receipt.duplicate
    assert receipt.entries[0].index == kept.entries[0].index + 1
    assert journal.anchor_error() is None
    await journal.close()
    assert files.verify().fault is None


async def test_a_commit_that_failed_but_stands_is_found_under_its_id(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An I/O error in COMMIT is "unknown": here the entry did reach the disk."""
    journal = await files.open()
    transact = journal._transact

    async def failing(jobs: list[Job]) -> Batch:
        await transact(jobs)
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(journal, "_transact", failing)
    with pytest.raises(Unavailable, match="ask again"):
        await journal.post("default", [note("unknown")])
    monkeypatch.undo()
    again = await journal.post("default", [note("unknown")])
    assert again.duplicate
    assert (await journal.post("default", [note("next")])).entries[0].index == again.entries[0].index + 1
    await journal.close()
    assert files.verify().fault is None


async def test_a_ledger_that_was_tampered_with_while_it_could_not_be_written_is_not_taken_up_again(
    files: Files,
) -> None:
    journal = await files.open()
    await fill(journal)
    with pytest.raises(Unavailable):
        await journal.post("default", [note("big", blobs=(Blob("big", bytes(1_000_000)),))])
    unsigned(files, files.verify().entries)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await journal.post("default", [note("n")])
    await journal.close()


async def test_an_entry_that_another_hand_added_while_it_runs_is_no_rule_of_a_post(files: Files) -> None:
    """Nothing can be booked any more: whoever posts is told to come again, and whoever asks how it stands hears why."""
    journal = await files.open()
    await journal.post("default", [note("kept")])
    size = await journal.size("default")
    unsigned(files, size)
    for name in ("first", "again"):
        with pytest.raises(Unavailable):
            await journal.post("default", [note(name)])
        assert journal.anchor_error() is not None, "else the service says that it is ready, and authorizes"
    assert await journal.size("default") == size
    await journal.close()
    assert files.rows("SELECT count(*) FROM entry") == [(size + 1,)], "it is kept, for whoever looks into it"


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        await Files(tmp_path / "nowhere").open()


async def test_our_own_connection_takes_no_rule_away(files: Files) -> None:
    journal = await files.open()
    assert journal._writer is not None
    for sql in (
        "DROP TRIGGER entry_form",
        "DROP TABLE entry",
        "ALTER TABLE entry RENAME TO other",
        "PRAGMA writable_schema = ON",
        "CREATE TABLE other (a)",
        "DELETE FROM entry",
        "UPDATE checkpoint SET note = ''",
        "ATTACH ':memory:' AS other",
    ):
        with pytest.raises(sqlite3.DatabaseError, match=r"not authorized|prohibited"):
            await journal._writer.execute(sql)
    await journal.close()


async def test_a_new_tenant_gets_a_log_and_a_former_one_keeps_its_own(files: Files) -> None:
    journal = await files.open(tenants=["new"])
    assert await journal.tenants() == ["default", "new"]
    assert [entry.stage for entry in await journal.entries("new")] == ["OPENED"]
    with pytest.raises(Broken):
        await files.open(tenants=["../escape"])
    await journal.close()
    assert await files.refusal(tenants=["default", "new"]) is None


async def test_as_many_posts_wait_and_as_many_are_in_a_commit_as_the_limits_say(tmp_path: Path) -> None:
    assert (MAX_WAITING_POSTS, MAX_BATCH_ENTRIES) == (10_000, 4_000)
    files = Files(tmp_path)
    journal = await files.open(durable=False)
    posts = [journal.post("default", [note(f"n{number}")]) for number in range(10_001)]
    *posted, last = await asyncio.gather(*posts, return_exceptions=True)
    assert isinstance(last, Unavailable)
    assert str(last) == "10000 posts are waiting"
    assert [each for each in posted if isinstance(each, BaseException)] == []
    assert [size for (size,) in files.rows("SELECT size FROM checkpoint ORDER BY size")] == [1, 4_001, 8_001, 10_001]
    await journal.post("default", [note("n10000")])  # as whoever was refused asks again
    await journal.close()
