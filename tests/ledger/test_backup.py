"""Backups made while the ledger grows, and what becomes of one that is put in place of a newer ledger."""

from __future__ import annotations

import asyncio
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ledger import checkpoint as notes
from ledger.audit import verify_store
from ledger.entry import Blob, Draft
from ledger.journal import Broken
from ledger.keys import WrongKey
from ledger.stores import backup, opening, restoring, rotation, schema
from ledger.stores.locks import Locks
from tests.ledger.books import ORIGIN
from tests.ledger.files import KEY, OTHER_KEY, Files, clock, note
from tests.ledger.house import ENVIRONMENT, STORY, House


@pytest.fixture
async def house(tmp_path: Path) -> House:
    found = House(tmp_path)
    await found.write(*STORY)
    return found


def later(*ids: str) -> list[Draft]:
    return [Draft(id, "NOTED", "system") for id in ids]


def put_back(house: House, copy: Path) -> None:
    """What an operator does: the copy in the ledger's place, and none of SQLite's files beside it."""
    shutil.copy(copy, house.ledger.path)
    for side in ("-wal", "-shm"):
        house.ledger.path.with_name(house.ledger.path.name + side).unlink(missing_ok=True)


def run(house: House, *words: str) -> subprocess.CompletedProcess[str]:
    """The real command, in a process of its own."""
    command = [sys.executable, "-m", "receiver", *words, "--config", str(house.config)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=60)


# --- the copy --------------------------------------------------------------------------------------------------------


async def test_a_backup_is_whole_and_its_owners_and_says_what_else_a_restore_needs(house: House) -> None:
    copy = house.config.parent / "copies.db"
    result = await asyncio.to_thread(run, house, "ledger", "backup", str(copy))
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("default: OK: 6 entries, root ")
    for needed in (house.ledger.key_file, house.config, house.ledger.anchor_file):
        assert f"  {needed}" in result.stdout
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert sorted(path.name for path in copy.parent.glob("copies*")) == ["copies.db"]
    (audit,) = verify_store(copy, origin=house.ledger.origin, public=key_of(house).public_key())
    assert (audit.fault, audit.entries) == (None, 6)
    assert [path.name for path in copy.parent.glob("copies*")] == ["copies.db"]  # reading it leaves nothing beside it


def key_of(house: House) -> notes.Ed25519PrivateKey:
    return notes.load_key_file(house.ledger.key_file)


async def test_nothing_is_overwritten(house: House) -> None:
    copy = house.config.parent / "copy.db"
    copy.write_text("precious")
    result = house.run("backup", str(copy))
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "is there already" in result.stderr
    assert copy.read_text() == "precious"
    copy.unlink()
    copy.with_name("copy.db.partial").write_text("of another call")
    result = house.run("backup", str(copy))
    assert (result.exit_code, "cut off" in result.stderr) == (2, True)
    assert copy.with_name("copy.db.partial").read_text() == "of another call"
    assert not copy.exists()


async def test_a_damaged_ledger_gives_no_backup(house: House) -> None:
    copy = house.config.parent / "copy.db"
    house.tamper("UPDATE entry SET bytes = replace(bytes, '0.31', '0.01') WHERE n = 4")
    result = house.run("backup", str(copy))
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "does not hold" in result.stderr
    assert list(copy.parent.glob("copy*")) == []


def test_there_is_nothing_to_copy_before_there_is_a_ledger(tmp_path: Path) -> None:
    result = House(tmp_path).run("backup", str(tmp_path / "copy.db"))
    assert (result.exit_code, "no such file" in result.stderr) == (2, True)
    assert list(tmp_path.glob("copy*")) == []


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    result = House(tmp_path).run("backup", str(tmp_path / "nowhere/copy.db"))
    assert (result.exit_code, result.stderr.count("\n"), "[Errno" in result.stderr) == (2, 1, False)
    assert result.stderr.endswith("; make room there, or name another place\n")


async def test_a_copy_made_while_the_ledger_grows_is_one_moment_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries are committed between any two steps of the copy; it neither begins again nor holds any of them."""
    files = Files(tmp_path)
    journal = await files.open()
    await journal.post("default", [note("big", blobs=(Blob("big", bytes(400_000)),))])
    monkeypatch.setattr(backup, "PAGES_A_STEP", 4)
    loop = asyncio.get_running_loop()
    steps: list[tuple[int, int]] = []

    def progress(done: int, pages: int) -> None:
        steps.append((done, pages))
        posting = journal.post("default", [note(f"meanwhile {len(steps)}")])
        asyncio.run_coroutine_threadsafe(posting, loop).result(timeout=30)

    copy = tmp_path / "copy.db"
    given = {"origin": ORIGIN, "public": KEY.public_key(), "progress": progress}
    (audit,) = await asyncio.to_thread(backup.back_up, files.path, copy, **given)  # type: ignore[arg-type]
    assert (audit.fault, audit.entries) == (None, 2)
    assert len(steps) > 10
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert len({pages for _, pages in steps}) == 1
    assert await journal.size("default") == 2 + len(steps)
    await journal.close()


# --- the restore -----------------------------------------------------------------------------------------------------


@pytest.fixture
async def restored(house: House) -> House:
    """A backup of six entries in the place of a ledger of ten; the anchor knows of all ten."""
    copy = house.config.parent / "copy.db"
    assert house.run("backup", str(copy)).exit_code == 0
    await house.write(*later("lost 1", "lost 2"))
    await house.write(*later("lost 3", "lost 4"))
    put_back(house, copy)
    return house


async def test_the_service_refuses_a_restored_copy_and_says_what_to_do(restored: House) -> None:
    before = restored.ledger.path.read_bytes()
    result = await asyncio.to_thread(run, restored, "serve")
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "an older copy: the anchor says 10 entries of default, and 6 stand" in result.stderr
    assert "counterfoil ledger accept-restored" in result.stderr
    assert restored.ledger.path.read_bytes() == before
    assert restored.run("verify").exit_code == 1


async def test_a_restored_copy_is_accepted_knowingly_and_the_ledger_says_so(restored: House) -> None:
    old = key_of(restored)
    lost = notes.anchor_of(restored.ledger.anchor_file, "default").read()
    given = ("--by", "root", "--reason", "the disk is gone")
    result = await asyncio.to_thread(run, restored, "ledger", "accept-restored", *given)
    assert result.returncode == 0, result.stderr
    assert "entries 6 to 9 are lost, as entry 6 says" in result.stdout
    assert key_of(restored).public_key() != old.public_key()
    await restored.write(*later("goes on"))
    verified = restored.run("verify")
    assert (verified.exit_code, verified.output.split(", root")[0]) == (0, "OK: 8 entries")
    assert "entry 6: operator:root went on from a backup; entries 6 to 9 of another history are lost" in verified.output
    shown = restored.run("show", "--json", "--stage", "rekeyed").output
    assert lost is not None
    assert "the disk is gone" in shown
    assert lost.splitlines()[2] in shown  # the root that is lost
    kept = restored.config.parent / "kept"
    kept.write_text(lost, encoding="utf-8")
    result = restored.run("verify", "--from", str(kept))
    assert result.exit_code == 1  # whoever kept a checkpoint of what is lost is told
    again = restored.run("accept-restored", *given)
    assert (again.exit_code, "nothing to accept" in again.stderr) == (1, True)


async def test_what_was_signed_in_the_lost_entries_is_not_good_for_the_new_ones(tmp_path: Path) -> None:
    files = Files(tmp_path)
    await files.story()
    saved = files.path.read_bytes()
    await files.post([note("lost")], [note("lost too")])
    lost = notes.Anchor(files.anchor).read()
    assert lost is not None
    files.path.write_bytes(saved)
    store = opening.Store(files.path, ORIGIN, KEY.public_key())
    found = restoring.lost_of(store, files.prefix, ["default"])
    assert found == {"default": lost}
    given = {"anchor_path": files.prefix, "tenants": ["default"], "clock": clock, "by": "root", "reason": ""}
    rotation.rotate(store, KEY, OTHER_KEY, **given, lost=found)  # type: ignore[arg-type]
    with schema.connect(files.path) as connection:
        keys = opening.keys_of(connection, ORIGIN, "default")
    connection.close()
    with pytest.raises(WrongKey, match="retired by entry 8"):
        keys.verify(lost)
    assert files.verify(OTHER_KEY, newest=True).fault is None


async def test_an_acceptance_that_was_cut_off_is_ended_by_the_next_call(
    restored: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies right after the commit: the log is under the new key, the anchor and the key file are as before."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(notes.Anchor, "write", die)
    given = ("--by", "root", "--reason", "the disk is gone")
    assert restored.run("accept-restored", *given).exit_code != 0
    monkeypatch.undo()
    result = restored.run("accept-restored", *given)
    assert (result.exit_code, "cut off" in result.output) == (0, True), result.output
    await restored.write(*later("goes on"))
    assert restored.run("verify").output.startswith("OK: 8 entries")


async def test_another_history_is_never_accepted(house: House) -> None:
    """As many entries as the anchor says, or more, and not the same ones."""
    copy = house.config.parent / "copy.db"
    assert house.run("backup", str(copy)).exit_code == 0
    await house.write(*later("one"))
    anchor = notes.anchor_of(house.ledger.anchor_file, "default")
    kept = anchor.path.read_bytes()
    put_back(house, copy)
    anchor.path.unlink()
    await house.write(*later("another"))
    anchor.path.write_bytes(kept)
    result = house.run("accept-restored", "--by", "root", "--reason", "none")
    assert (result.exit_code, "nothing to accept" in result.stderr) == (1, True)
    assert "another history" in (await refusal(house) or "")


async def refusal(house: House) -> str | None:
    try:
        await house.write(*later("x"))
    except Broken as error:
        return str(error)
    return None


async def test_a_damaged_copy_and_a_running_service_are_refused(restored: House) -> None:
    given = ("accept-restored", "--by", "root", "--reason", "none")
    running = Locks(restored.ledger.path)
    running.take(["default"])
    busy = restored.run(*given)
    assert (busy.exit_code, "another service governs this tenant: stop it first" in busy.stderr) == (2, True)
    running.release()
    restored.tamper("UPDATE entry SET bytes = replace(bytes, '0.31', '0.01') WHERE n = 4")
    before = restored.ledger.path.read_bytes()
    result = restored.run(*given)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert restored.ledger.path.read_bytes() == before


async def test_a_backup_from_before_a_rotation_asks_for_the_key_of_its_time(house: House) -> None:
    copy = house.config.parent / "copy.db"
    assert house.run("backup", str(copy)).exit_code == 0
    assert house.run("rotate-key", "--by", "root", "--reason", "a year").exit_code == 0
    put_back(house, copy)
    (retired,) = house.ledger.key_file.parent.glob("ledger.key.retired-*")
    given = ("accept-restored", "--by", "root", "--reason", "none")
    result = house.run(*given)
    assert (result.exit_code, retired.name.rpartition("-")[2] in result.stderr) == (1, True), result.stderr
    house.ledger.key_file.unlink()
    retired.rename(house.ledger.key_file)
    house.ledger.key_file.with_name("ledger.key.new").unlink(missing_ok=True)
    assert house.run(*given).exit_code == 0
    await house.write(*later("goes on"))
    assert house.run("verify").exit_code == 0
