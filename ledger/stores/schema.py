"""The SQLite schema: the rules of sqlite.sql, with the chart of accounts filled in and frozen."""

from __future__ import annotations

import hashlib
import sqlite3
from importlib import resources

from ledger.accounts import BOOKS, OFFICES, OPENS, SETTLES, STAGES, must_settle

FORMAT = "1"
FROZEN = ("stage", "settlement", "office", "meta")
TABLES = (*FROZEN, "entry", "checkpoint", "blob")

# A connection of ours may not take the rules away; another one still can, which signed checkpoints then show.
_DENIED = {
    sqlite3.SQLITE_DROP_TABLE,
    sqlite3.SQLITE_DROP_INDEX,
    sqlite3.SQLITE_DROP_TRIGGER,
    sqlite3.SQLITE_DROP_VIEW,
    sqlite3.SQLITE_ALTER_TABLE,
    sqlite3.SQLITE_ATTACH,
}


def script(origin: str) -> str:
    """The SQL that makes an empty ledger of `origin`. What it is put together from are constants of the package."""
    rules = resources.files("ledger.stores").joinpath("sqlite.sql").read_text(encoding="utf-8")
    lines = ["BEGIN IMMEDIATE;", rules]
    for stage in STAGES:
        opens = f"'{OPENS[stage]}'" if stage in OPENS else "NULL"
        lines.append(f"INSERT INTO stage VALUES ('{stage}', {opens}, {int(must_settle(stage))});")  # noqa: S608
    for book in BOOKS:
        lines += [f"INSERT INTO settlement VALUES ('{stage}', '{book}');" for stage in SETTLES[book]]  # noqa: S608
    for stage, actors in OFFICES.items():
        lines += [f"INSERT INTO office VALUES ('{stage}', '{actor}');" for actor in actors]  # noqa: S608
    quoted = origin.replace("'", "''")
    lines.append(f"INSERT INTO meta VALUES ('format', '{FORMAT}'), ('origin', '{quoted}');")  # noqa: S608
    for table in FROZEN:
        lines += [
            f"CREATE TRIGGER {table}_frozen_{verb.lower()} BEFORE {verb} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table}: the rules are fixed'); END;"
            for verb in ("INSERT", "UPDATE", "DELETE")
        ]
    lines.append("COMMIT;")
    return "\n".join(lines)


def authorizer(action: int, first: str | None, second: str | None, place: str | None, trigger: str | None) -> int:
    """For set_authorizer, once the schema stands: no rule is dropped or altered through this connection."""
    if action in _DENIED:
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_PRAGMA and (first or "").lower() in ("writable_schema", "journal_mode"):
        return sqlite3.SQLITE_OK if second is None else sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def sha256_hex(data: object) -> str | None:
    """The function that the blob rule calls."""
    return hashlib.sha256(data).hexdigest() if isinstance(data, bytes) else None
