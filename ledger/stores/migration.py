"""A file that an older version made gets the rules of this one, at open, in one transaction; a newer one is refused.

The version of a file is its PRAGMA user_version. What a step may touch are the rules: triggers, views, indexes and the
tables that hold them as data. Entries, checkpoints and blobs stay byte for byte as they are, for they are signed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing

from ledger.journal import Broken
from ledger.stores import schema


def version_of(store: sqlite3.Connection) -> int:
    version: int = store.execute("PRAGMA user_version").fetchone()[0]
    return version


def too_new(store: sqlite3.Connection) -> str | None:
    """Why this version must not touch the file, or None."""
    version = version_of(store)
    if version <= schema.VERSION:
        return None
    return f"made by a newer version (its format is {version}, and this one knows {schema.VERSION}): install that one"


def fault_of(store: sqlite3.Connection, origin: str) -> str | None:
    """Why the rules of a file are not what this version makes, or None."""
    changed = next(schema.differences(store, origin), None)
    if too_new(store) is not None or changed is None:
        return too_new(store)
    remedy = "; an older version made it, and the next start brings it to this one"
    older = version_of(store) < schema.VERSION
    return f"the rules of the database are not those of this version: {changed}{remedy if older else ''}"


def migrate(store: sqlite3.Connection, origin: str) -> None:
    """Bring a file of an older version to this one, or leave it as it was.

    store: a connection that may write, in autocommit. origin: the file's own.
    Raises Broken, where the file is newer or does not come out as this version makes it, and sqlite3.Error.
    """
    why = too_new(store)
    if why is not None:
        raise Broken(why)
    if version_of(store) == schema.VERSION:
        return
    store.execute("BEGIN IMMEDIATE")
    try:
        for step in STEPS[version_of(store) :]:
            step(store, origin)
        store.execute(f"PRAGMA user_version = {schema.VERSION}")
        changed = next(schema.differences(store, origin), None)
        if changed is not None:
            raise Broken(f"it cannot be brought to format {schema.VERSION}: {changed}; restore the newest copy")
        # Crash before this: the older file. After it: the newer one.
        store.execute("COMMIT")
    finally:
        if store.in_transaction:
            store.execute("ROLLBACK")


def renew_rules(store: sqlite3.Connection, origin: str) -> None:
    """Put this version's rules in the place of whatever rules the file has. Raises Broken where a table is missing."""
    with closing(schema.connect(":memory:")) as model:
        model.executescript(schema.script(origin))
        made = model.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
        ).fetchall()
        rows = {table: model.execute(f"SELECT * FROM {table}").fetchall() for table in schema.FROZEN}  # noqa: S608
    indexes = {name: sql for kind, name, sql in made if kind == "index"}
    found = store.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    for kind, name, _ in made:
        if kind == "table" and name not in {*schema.FROZEN, *(name for _, name, _ in found)}:
            raise Broken(f"the table {name} is missing; restore the newest copy")
    for kind, name, sql in found:
        if kind in ("trigger", "view") or (kind == "index" and indexes.get(name) != sql):
            quoted = name.replace('"', '""')
            store.execute(f'DROP {kind} "{quoted}"')
    for table in schema.FROZEN:
        store.execute(f"DROP TABLE IF EXISTS {table}")
    kept = {name for kind, name, sql in found if kind == "index" and indexes.get(name) == sql}
    for kind, name, sql in made:
        # Triggers come last and in their order, for SQLite runs the one that was made last first.
        if (kind == "table" and name in schema.FROZEN) or (kind == "index" and name not in kept):
            store.execute(sql)
    for table, values in rows.items():
        for row in values:
            store.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608
    for kind, _, sql in made:
        if kind in ("trigger", "view"):
            store.execute(sql)


# The step at index N makes format N + 1 of format N. Files from before there were versions say 0.
# Format 2 lets policy post CLOSED.
STEPS: tuple[Callable[[sqlite3.Connection, str], None], ...] = (renew_rules, renew_rules)
