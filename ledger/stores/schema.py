"""The SQLite schema: the rules of sqlite.sql, with the chart of accounts filled in and frozen."""

from __future__ import annotations

import functools
import hashlib
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib import resources
from pathlib import Path

from ledger.accounts import BOOKS, OFFICES, OPENS, SETTLES, STAGES, must_settle

FORMAT = "1"  # of entries, checkpoints and blobs
VERSION = 2  # of the file: its rules and tables; a new one needs a step in `migration`
_STATISTICS = {("table", "sqlite_stat1"), ("table", "sqlite_stat4")}
FROZEN = ("stage", "settlement", "office", "meta")

# A connection of ours only adds, and takes no rule away. Another one still can, which signed checkpoints then show.
_ALLOWED = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
    sqlite3.SQLITE_TRANSACTION,
    sqlite3.SQLITE_SAVEPOINT,
}
_GROWS = {"entry", "checkpoint", "blob"}
# SQLite asks this when it sets json_each up. An UPDATE of sqlite_master by hand needs PRAGMA writable_schema, which
# is not allowed.
_DECLARES = {"sqlite_master", "sqlite_schema"}
_DECLARING = {sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_INSERT}


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
    lines += [f"PRAGMA user_version = {VERSION};", "COMMIT;"]
    return "\n".join(lines)


def connect(path: Path | str, *, read_only: bool = True, any_thread: bool = False) -> sqlite3.Connection:
    """A connection in autocommit that knows our function. `path` may hold any character.

    any_thread: whether it is used by another thread than this one; never by two at once, but to interrupt.
    ":memory:" and "" are empty ledgers that end with the connection, in memory and in a file that nobody sees.
    """
    if str(path) in (":memory:", ""):
        store = sqlite3.connect(path, isolation_level=None)
    else:
        uri, same = address(path, read_only=read_only), not any_thread
        store = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=same)
    store.create_function("sha256_hex", 1, sha256_hex, deterministic=True)
    return store


def address(path: Path | str, *, read_only: bool) -> str:
    """The file as SQLite's URI."""
    return f"{Path(path).absolute().as_uri()}?mode={'ro' if read_only else 'rw'}"


def differences(store: sqlite3.Connection, origin: str) -> Iterator[str]:
    """What of the schema or of the rule tables is not as this version makes it, in words."""
    expected, found = _made(origin), dict(_parts(store))
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            yield f"{name} is missing"
        elif name not in expected:
            yield f"{name} was added"
        elif found[name] != expected[name]:
            yield f"{name} was changed"


def other_origin(store: sqlite3.Connection, origin: str) -> str | None:
    """The origin that the file names, where it is another than `origin`. Raises sqlite3.Error where it has none."""
    row = store.execute("SELECT value FROM meta WHERE name = 'origin'").fetchone()
    found = row[0] if row is not None else ""
    return found if found != origin else None


@functools.lru_cache(maxsize=4)
def _made(origin: str) -> dict[str, str]:
    with closing(connect(":memory:")) as store:
        store.executescript(script(origin))
        return dict(_parts(store))


def _parts(store: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    # What SQLite makes by itself has no text, but for the tables of its statistics.
    for kind, name, sql in store.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL"):
        if (kind, name) not in _STATISTICS:
            yield f"{kind} {name}", re.sub(r"\s+", " ", str(sql))
    for table in FROZEN:
        try:
            rows = store.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - a name of ours
        except sqlite3.OperationalError:  # it is gone, and the first loop did not find it
            continue
        for row in rows:
            yield f"{table} {', '.join(map(repr, row))}", ""


def authorizer(action: int, first: str | None, second: str | None, place: str | None, trigger: str | None) -> int:
    """For set_authorizer, once the schema stands: reading, and adding entries, checkpoints and blobs."""
    if action in _ALLOWED or (action == sqlite3.SQLITE_INSERT and first in _GROWS):
        return sqlite3.SQLITE_OK
    if action in _DECLARING and first in _DECLARES:
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def sha256_hex(data: object) -> str | None:
    """The function that the blob rule calls."""
    return hashlib.sha256(data).hexdigest() if isinstance(data, bytes) else None
