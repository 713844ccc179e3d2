"""The real journal without threads: the same SQL, rules and signatures, on a connection that answers at once.

A history asks the ledger a thousand times, and a thread that is woken for each question costs more than the answer. It
also makes a history the same each time it is played: nothing in it waits for a machine.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any, cast

from ledger.entry import Entry
from ledger.journal import Page, Receipt
from ledger.stores import schema
from ledger.stores.attesting import Attesting
from ledger.stores.batch import Batch, Job
from ledger.stores.line import Line
from ledger.stores.sqlite import SqliteJournal

ATTESTED_EVERY = 30  # checkpoints: a history has some hundred


class InlineLine:
    """A `ledger.stores.line.Line` without its thread."""

    def __init__(self, store: sqlite3.Connection) -> None:
        self.store = store

    async def run(self, work: Callable[..., Any], *given: Any) -> Any:
        return work(self.store, *given)

    async def execute_fetchall(self, sql: str, given: Sequence[Any] = ()) -> list[Any]:
        return self.store.execute(sql, given).fetchall()

    async def close(self) -> None:
        self.store.close()


@cache
def _empty(origin: str) -> bytes:
    """An empty ledger with all of its rules, made once for each process."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as store:
        store.executescript(schema.script(origin))
        return store.serialize()


class InlineJournal(SqliteJournal):
    """`SqliteJournal` in memory, as `open(":memory:", …)` makes it; only the connection is another.

    observer: hears of every post at its commit, before anybody else can see it.
    """

    observer: Callable[[str, Sequence[Entry]], None] | None = None

    async def _connect(self) -> None:
        store = schema.connect(":memory:")
        store.deserialize(_empty(self._store.origin))
        self._set_up(store)
        self._writer = self._reader = cast(Line, InlineLine(store))
        self._attesting = Attesting(ATTESTED_EVERY)

    async def _transact(self, jobs: list[Job]) -> Batch:
        batch = await super()._transact(jobs)
        if self.observer is not None:
            for job, result in zip(jobs, batch.results, strict=True):
                if isinstance(result, Receipt) and not result.duplicate:
                    self.observer(job.tenant, result.entries)
        return batch

    async def entries(self, tenant: str, *, after: int = -1, **how: Any) -> list[Entry]:
        # Most questions are for what is new, and mostly there is nothing.
        return await super().entries(tenant, after=after, **how) if after + 1 < await self.size(tenant) else []

    async def page(self, tenant: str, *, after: int, **how: Any) -> Page:
        return await super().page(tenant, after=after, **how) if after + 1 < await self.size(tenant) else Page(())

    def copy_to(self, path: Path) -> None:
        """The whole ledger as a file, for `verify_store`."""
        path.write_bytes(cast(InlineLine, self._writer).store.serialize())
