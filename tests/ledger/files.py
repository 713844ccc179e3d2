"""A ledger in a file, and a hand that reaches into it past the service, its rules and its triggers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import audit
from ledger.entry import Blob, Draft, Entry
from ledger.journal import Broken
from ledger.stores import opening, rotation, schema
from ledger.stores.sqlite import SqliteJournal
from tests.ledger.books import ORIGIN, START

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
THIRD_KEY = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)


def clock() -> datetime:
    return START


def note(id: str, text: str = "", **fields: Any) -> Draft:
    return Draft(id=id, stage="NOTED", actor="system", body={"kind": "note", "text": text}, **fields)


@dataclass(frozen=True, slots=True)
class Files:
    """One ledger's folder."""

    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "ledger.db"

    @property
    def prefix(self) -> Path:
        return self.folder / "anchor"

    @property
    def anchor(self) -> Path:
        return self.folder / "anchor.default"

    def given(self, **changed: Any) -> dict[str, Any]:
        """What a ledger is opened with."""
        return {
            "origin": ORIGIN,
            "key": KEY,
            "anchor_path": self.prefix,
            "clock": clock,
            "tenants": ["default"],
            "durable": False,
        } | changed

    async def open(self, **changed: Any) -> SqliteJournal:
        return await SqliteJournal.open(self.path, **self.given(**changed))

    async def post(self, *posts: Sequence[Draft]) -> None:
        """Open, post each, close."""
        journal = await self.open()
        for drafts in posts:
            await journal.post("default", drafts)
        await journal.close()

    async def story(self) -> None:
        """A small ledger: five commits of different lengths, two blobs."""
        await self.post(
            [Draft("r", "RECEIVED", "alertmanager", blobs=(Blob("payload", b'{"alerts": []}'),))],
            [Draft("e", "EVALUATED", "policy", settles=1), Draft("w", "WATCHED", "policy")],
            [note("n1"), note("n2", blobs=(Blob("picture", b"\x00\xff"),)), note("n3")],
            [Draft("c", "CLEARED", "policy", settles=3)],
        )

    @contextmanager
    def without_rules(self) -> Iterator[sqlite3.Connection]:
        """Another connection that takes the triggers away, and puts each back when it has done what it came for."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as store:
            store.create_function("sha256_hex", 1, schema.sha256_hex, deterministic=True)
            triggers = store.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
            for name, _ in triggers:
                store.execute(f"DROP TRIGGER {name}")
            yield store
            for _, sql in triggers:
                store.execute(sql)
            store.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def rows(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as store:
            return store.execute(sql).fetchall()

    def verify(self, key: Ed25519PrivateKey = KEY, *, newest: bool = False, again: bool | None = None) -> audit.Audit:
        (found,) = audit.verify_store(
            self.path,
            origin=ORIGIN,
            public=key.public_key(),
            newest=newest,
            anchor_path=self.prefix,
            post_again=again,
        )
        return found

    def rotate(self, old: Ed25519PrivateKey, new: Ed25519PrivateKey) -> list[Entry]:
        """The operator changes the key while no service runs."""
        store = opening.Store(self.path, ORIGIN, old.public_key())
        given: dict[str, Any] = {
            "anchor_path": self.prefix,
            "tenants": ("default",),
            "clock": clock,
            "by": "root",
            "reason": "yearly",
        }
        return rotation.rotate(store, old, new, **given)

    async def refusal(self, **changed: Any) -> str | None:
        """Why a start is refused, or None where it is not."""
        try:
            journal = await self.open(**changed)
        except Broken as error:
            return str(error)
        await journal.close()
        return None
