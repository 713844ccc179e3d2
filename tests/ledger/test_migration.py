"""Files of older versions come to this one whole or not at all, and no entry changes; newer ones are refused."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ledger.stores import migration, schema
from receiver.commands import checks_of_ledger
from receiver.commands.findings import FAIL
from receiver.settings import load_settings
from tests.ledger.books import ORIGIN
from tests.ledger.files import Files, note
from tests.ledger.house import ENVIRONMENT, STORY, House

EVERY_BYTE = (
    "SELECT tenant, n, CAST(bytes AS BLOB) FROM entry ORDER BY tenant, n",
    "SELECT * FROM checkpoint ORDER BY tenant, size",
    "SELECT * FROM blob ORDER BY tenant, digest",
)
# What files looked like before they said their version: fewer rules, a looser one, an index less, another order.
OLDER = (
    "DROP TRIGGER entry_rekeyed",
    "DROP TRIGGER entry_form",
    "CREATE TRIGGER entry_form BEFORE INSERT ON entry WHEN NEW.n < 0 BEGIN SELECT RAISE(ABORT, 'number'); END",
    "CREATE TRIGGER entry_once BEFORE INSERT ON entry WHEN 0 BEGIN SELECT RAISE(ABORT, 'gone since'); END",
    "DROP INDEX entry_incident",
    "DROP VIEW outstanding",
    "DROP TRIGGER office_frozen_delete",
    "DELETE FROM office WHERE stage = 'REKEYED'",
    "PRAGMA user_version = 0",
)


def change(files: Files, *statements: str) -> None:
    with closing(sqlite3.connect(files.path)) as store:
        for sql in statements:
            store.execute(sql)
        store.commit()
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def all_bytes(files: Files) -> list[object]:
    return [files.rows(sql) for sql in EVERY_BYTE]


@pytest.fixture
async def files(tmp_path: Path) -> Files:
    made = Files(tmp_path)
    await made.story()
    return made


async def test_a_new_file_says_its_version(files: Files) -> None:
    assert files.rows("PRAGMA user_version") == [(schema.VERSION,)]
    assert len(migration.STEPS) == schema.VERSION


async def test_an_older_file_gets_the_rules_of_this_version_and_keeps_every_byte(files: Files) -> None:
    change(files, *OLDER)
    before = all_bytes(files)
    assert "the next start brings it to this one" in str(files.verify().fault)
    journal = await files.open()
    assert all_bytes(files) == before
    await journal.post("default", [note("later")])
    await journal.close()
    assert files.rows("PRAGMA user_version") == [(schema.VERSION,)]
    assert (files.verify().fault, files.verify().entries) == (None, 9)
    with closing(schema.connect(":memory:")) as model, closing(schema.connect(files.path)) as store:
        model.executescript(schema.script(ORIGIN))
        sql = "SELECT name FROM sqlite_master WHERE type = 'trigger' ORDER BY rowid"
        assert store.execute(sql).fetchall() == model.execute(sql).fetchall()  # their order is part of the rules
    with closing(schema.connect(files.path, read_only=False)) as store, pytest.raises(sqlite3.IntegrityError):
        store.execute("INSERT INTO entry (tenant, n, bytes) VALUES ('default', 99, '{}')")


@pytest.mark.parametrize(
    "alien", ["CREATE TABLE mine (x)", "ALTER TABLE blob ADD COLUMN more TEXT", "DROP TABLE checkpoint"]
)
async def test_what_is_no_rule_is_not_mended_and_the_file_stays_as_it_was(files: Files, alien: str) -> None:
    change(files, *OLDER, alien)
    before = files.path.read_bytes()
    assert "restore the newest copy" in (await files.refusal() or "")
    assert files.path.read_bytes() == before


async def test_a_crash_within_leaves_the_older_file(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    change(files, *OLDER)
    before = files.rows("SELECT * FROM sqlite_master"), all_bytes(files)

    def die(store: sqlite3.Connection, origin: str) -> None:
        migration.renew_rules(store, origin)
        raise KeyboardInterrupt

    monkeypatch.setattr(migration, "STEPS", (die,))
    with closing(schema.connect(files.path, read_only=False)) as store, pytest.raises(KeyboardInterrupt):
        migration.migrate(store, ORIGIN)
    assert (files.rows("SELECT * FROM sqlite_master"), all_bytes(files)) == before
    monkeypatch.undo()
    assert await files.refusal() is None


async def test_rules_that_were_taken_from_a_file_of_this_version_are_not_put_back(files: Files) -> None:
    """Somebody has to see it: only the version that the file itself says is a reason to change its rules."""
    change(files, "DROP TRIGGER entry_form")
    assert "entry_form is missing" in (await files.refusal() or "")


async def test_a_newer_file_is_refused_in_one_line_everywhere(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.write(*STORY)
    with closing(sqlite3.connect(house.ledger.path)) as store:
        store.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    before = house.ledger.path.read_bytes()
    newer, known = schema.VERSION + 1, schema.VERSION
    why = f"made by a newer version (its format is {newer}, and this one knows {known}): install that one"
    result = house.run("verify")
    assert (result.exit_code, why in result.output) == (1, True)
    (found,) = checks_of_ledger.ledger(load_settings(house.config, ENVIRONMENT))
    assert (found.state, why in found.message) == (FAIL, True)
    result = await asyncio.to_thread(house.run, "rotate-key", "--by", "root", "--reason", "x")
    assert (result.exit_code, result.stderr.count("\n"), why in result.stderr) == (1, 1, True)
    assert house.ledger.path.read_bytes() == before
