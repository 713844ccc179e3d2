"""One SQLite connection and the one thread that uses it: all that is done there at once is one hop between threads."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Self, TypeVar

import aiosqlite

P = ParamSpec("P")
T = TypeVar("T")


class Line(aiosqlite.Connection):
    """A connection of aiosqlite that does more than one statement at a time. Made by `open`; `close` ends it."""

    @classmethod
    async def open(cls, connect: Callable[[], sqlite3.Connection]) -> Self:
        """The connection is made in its own thread. Raises what `connect` raises."""
        line = cls(connect, iter_chunk_size=64)
        await line
        return line

    async def run(self, work: Callable[Concatenate[sqlite3.Connection, P], T], *given: P.args, **named: P.kwargs) -> T:
        """What `work` makes of the connection. It is queued at once, and cancelling the caller does not stop it."""
        done: T = await self._execute(work, self._conn, *given, **named)  # type: ignore[no-untyped-call]
        return done
