"""One SQLite connection and the one thread that uses it: all that is done there at once is one hop between threads."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Line:
    """Work for the connection is done in the order in which it was asked for. Made by `open`; `close` ends it."""

    def __init__(self, thread: ThreadPoolExecutor, store: sqlite3.Connection) -> None:
        self._thread = thread
        self._store = store

    @classmethod
    async def open(cls, connect: Callable[[], sqlite3.Connection]) -> Self:
        """The connection is made in its own thread. Raises what `connect` raises."""
        thread = ThreadPoolExecutor(1, "ledger")
        try:
            return cls(thread, await asyncio.get_running_loop().run_in_executor(thread, connect))
        except BaseException:
            thread.shutdown(wait=False)
            raise

    async def run(self, work: Callable[Concatenate[sqlite3.Connection, P], T], *given: P.args, **named: P.kwargs) -> T:
        """What `work` makes of the connection. It is queued at once, and cancelling the caller does not stop it."""
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, lambda: work(self._store, *given, **named)
        )

    async def fetch(self, sql: str, given: Sequence[object] = ()) -> list[Any]:
        """Every row of a query."""
        return await self.run(_fetch, sql, given)

    async def close(self) -> None:
        """Answer what was asked for before, then close the connection."""
        try:
            await self.run(sqlite3.Connection.close)
        finally:
            self._thread.shutdown(wait=False)


def _fetch(store: sqlite3.Connection, sql: str, given: Sequence[object]) -> list[Any]:
    return store.execute(sql, given).fetchall()
