"""The ledger in one SQLite file: one writer with group commit, and readers beside it.

While one commit waits for the disk the next batch forms, so no timer is needed. Callers await a future of their own:
cancelling a caller never reaches into a transaction.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import aiosqlite
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import checkpoint as notes
from ledger.entry import SALT_BYTES, Draft, Entry, NotCanonical, canonical, format_time, parse_time
from ledger.journal import Broken, Conflict, LedgerError, Receipt, Refused, Unavailable
from ledger.merkle import Frontier, leaf_hash
from ledger.stores import schema

log = logging.getLogger(__name__)

MAX_POST_ENTRIES = 2_000
MAX_BATCH_ENTRIES = 4_000
MAX_WAITING_POSTS = 10_000
_INSERT = "INSERT INTO entry (tenant, n, bytes) VALUES (?, ?, ?)"
_INSERT_BLOB = (
    "INSERT INTO blob (tenant, digest, data) SELECT ?1, ?2, ?3 "
    "WHERE NOT EXISTS (SELECT 1 FROM blob WHERE tenant = ?1 AND digest = ?2)"
)
_FIND = "SELECT bytes FROM entry WHERE tenant = ? AND id = ?"


@dataclass(frozen=True, slots=True)
class _Head:
    """The end of one tenant's log."""

    frontier: Frontier = field(default_factory=Frontier)
    time: datetime | None = None
    anchored: int = 0  # how often its anchor was written


@dataclass(slots=True)
class _Job:
    tenant: str
    drafts: tuple[Draft, ...]
    done: asyncio.Future[Receipt]


class SqliteJournal:
    """A `Journal` in one file. Made by `open`; `close` ends it."""

    def __init__(
        self,
        path: str,
        origin: str,
        key: Ed25519PrivateKey,
        anchor_path: Path | None,
        clock: Callable[[], datetime],
        durable: bool,
    ) -> None:
        self._path = path
        self._origin = origin
        self._key = key
        self._anchor_path = anchor_path
        self._clock = clock
        self._durable = durable
        self._heads: dict[str, _Head] = {}
        self._queue: asyncio.Queue[_Job | None] = asyncio.Queue(MAX_WAITING_POSTS)
        self._grown: dict[str, asyncio.Event] = {}
        self._anchor_errors: dict[str, str] = {}
        self._failed: str | None = None
        self._closed = False
        self._shared = asyncio.Lock()  # an in-memory ledger has one connection for both
        self._writer: aiosqlite.Connection
        self._reader: aiosqlite.Connection
        self._task: asyncio.Task[None]

    @classmethod
    async def open(
        cls,
        path: Path | str,
        *,
        origin: str,
        key: Ed25519PrivateKey,
        anchor_path: Path | None,
        clock: Callable[[], datetime],
        tenants: Sequence[str],
        durable: bool = True,
    ) -> SqliteJournal:
        """Open the ledger at `path` (":memory:" for one that lives as long as the process), or make an empty one.

        anchor_path: the anchor of TENANT is the file `anchor_path.TENANT`; None for no anchor.
        durable: False leaves the disk to itself (tests alone).
        Raises Broken where the file, its signatures or its anchor do not hold, and Unavailable where it cannot be read.
        """
        journal = cls(str(path), origin, key, anchor_path, clock, durable)
        try:
            await journal._connect()
        except sqlite3.Error as error:
            await journal._disconnect()
            raise Unavailable(f"{path}: {error}") from error
        except LedgerError:
            await journal._disconnect()
            raise
        journal._task = asyncio.create_task(journal._write_forever(), name="ledger writer")
        for tenant in tenants:
            if tenant not in journal._heads:
                await journal.post(tenant, [journal._opened(tenant)])
        return journal

    def _opened(self, tenant: str) -> Draft:
        name = notes.log_origin(self._origin, tenant)
        body = {"origin": name, "continues": None, "key": notes.verifier_key(name, self._key.public_key())}
        return Draft(id="open", stage="OPENED", actor="system", reason=f"the log of {tenant} begins", body=body)

    # --- opening and closing --------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        memory = self._path == ":memory:"
        if not memory:
            await asyncio.to_thread(Path(self._path).touch, mode=0o600)
        self._writer = await aiosqlite.connect(self._path, isolation_level=None)
        await self._writer.create_function("sha256_hex", 1, schema.sha256_hex, deterministic=True)
        if not memory:
            await self._writer.execute("PRAGMA journal_mode = WAL")
        await self._writer.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'OFF'}")
        await self._writer.execute("PRAGMA busy_timeout = 5000")
        tables = {row[0] for row in await self._writer.execute_fetchall("SELECT name FROM sqlite_master")}
        if not tables:
            await self._writer.executescript(schema.script(self._origin))
        elif not tables >= set(schema.TABLES):
            raise Broken(f"{self._path}: not a ledger of this version")
        await self._writer.set_authorizer(schema.authorizer)
        if memory:
            self._reader = self._writer
        else:
            self._reader = await aiosqlite.connect(f"file:{self._path}?mode=ro", uri=True, isolation_level=None)
        await self._read_heads()

    async def _read_heads(self) -> None:
        """Hash every entry, and accept only a log that is wholly under a valid checkpoint and fits its anchor.

        An unsigned tail would be a way to command the service, so it is refused and not cut off.
        """
        rows = await self._writer.execute_fetchall("SELECT value FROM meta WHERE name = 'origin'")
        found = next(iter(rows), ("",))[0]
        if found != self._origin:
            raise Broken(f"{self._path}: the ledger of {found!r}, and the configuration says {self._origin!r}")
        self._heads = {}
        tenants = [r[0] for r in await self._writer.execute_fetchall("SELECT DISTINCT tenant FROM checkpoint")]
        orphans = await self._writer.execute_fetchall("SELECT DISTINCT tenant FROM entry")
        for (tenant,) in orphans:
            if tenant not in tenants:
                raise Broken(f"{self._path}: the entries of {tenant} are under no checkpoint")
        for tenant in tenants:
            self._heads[tenant] = await self._read_head(tenant)

    async def _read_head(self, tenant: str) -> _Head:
        name = notes.log_origin(self._origin, tenant)
        anchor, anchored = await self._anchored(tenant, name)
        frontier, roots, last = Frontier(), {}, None
        async with self._writer.execute("SELECT bytes FROM entry WHERE tenant = ? ORDER BY n", (tenant,)) as cursor:
            async for (text,) in cursor:
                frontier = frontier.appended(leaf_hash(text.encode()))
                last = text
                if anchor is not None and frontier.size == anchor.size:
                    roots[anchor.size] = frontier.root
        rows = await self._writer.execute_fetchall(
            "SELECT note FROM checkpoint WHERE tenant = ? ORDER BY size DESC LIMIT 1", (tenant,)
        )
        try:
            signed = notes.verify(next(iter(rows))[0], name, self._key.public_key())
        except notes.BadCheckpoint as error:
            raise Broken(f"{self._path}: the last checkpoint of {tenant}: {error}") from error
        if signed.origin != name or signed.size != frontier.size or signed.root != frontier.root:
            raise Broken(
                f"{self._path}: {tenant} has {frontier.size} entries and its last valid checkpoint covers "
                f"{signed.size}; run `counterfoil ledger verify`"
            )
        if anchor is not None and (anchor.size > frontier.size or roots.get(anchor.size) != anchor.root):
            raise Broken(
                f"{self._path}: {tenant} has {frontier.size} entries and its anchor says {anchor.size}: an older copy, "
                f"or another ledger; restore the newest copy, or see the README on anchors"
            )
        time = Entry.parse(last.encode()).timestamp if last is not None else None
        return _Head(frontier, time, anchored)

    async def _anchored(self, tenant: str, name: str) -> tuple[notes.Checkpoint | None, int]:
        if self._anchor_path is None:
            return None, 0
        try:
            note = await asyncio.to_thread(self._anchor(tenant).read)
            if note is None:
                return None, 0
            found = notes.verify(note, name, self._key.public_key())
        except (notes.BadCheckpoint, OSError) as error:
            raise Broken(f"the anchor of {tenant}: {error}") from error
        return found, found.size

    def _anchor(self, tenant: str) -> notes.Anchor:
        path = self._anchor_path or Path()
        return notes.Anchor(path.with_name(f"{path.name}.{tenant}"))

    async def close(self) -> None:
        """Write what is waiting, then close. A post after this is Unavailable."""
        if not self._closed:
            self._closed = True
            await self._queue.put(None)
            await self._task
            for event in self._grown.values():
                event.set()
            await self._disconnect()

    async def _disconnect(self) -> None:
        for name in ("_reader", "_writer"):
            connection = self.__dict__.get(name)
            if connection is not None:
                await connection.close()

    # --- writing --------------------------------------------------------------------------------------------------

    async def post(self, tenant: str, drafts: Sequence[Draft]) -> Receipt:
        """Post all or nothing. Cancelling the caller does not stop the commit."""
        if self._closed:
            raise Unavailable("the ledger is closed")
        if not 0 < len(drafts) <= MAX_POST_ENTRIES:
            raise Refused(f"a post has 1 to {MAX_POST_ENTRIES} entries, not {len(drafts)}")
        done: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait(_Job(tenant, tuple(drafts), done))
        except asyncio.QueueFull:
            raise Unavailable(f"{MAX_WAITING_POSTS} posts are waiting") from None
        return await asyncio.shield(done)

    async def _write_forever(self) -> None:
        while (job := await self._queue.get()) is not None:
            jobs, entries = [job], len(job.drafts)
            last = False
            while entries < MAX_BATCH_ENTRIES and not self._queue.empty():
                following = self._queue.get_nowait()
                if following is None:
                    last = True
                    break
                jobs.append(following)
                entries += len(following.drafts)
            async with self._shared:
                await self._write(jobs)
            if last:
                return

    async def _write(self, jobs: list[_Job]) -> None:
        """One transaction for `jobs`. A batch that is refused as a whole is taken apart, a savepoint a post."""
        try:
            if self._failed is not None:
                await self._reopen()
            results, heads = await self._transact(jobs)
        except sqlite3.Error as error:
            # A COMMIT that failed is "unknown", not "no": stop, and look at what stands before anything else is taken.
            self._failed = f"{error}"
            log.error("the ledger cannot be written: %s", error)
            unavailable = Unavailable(f"{error}; ask again under the same id")
            results, heads = [unavailable for _ in jobs], {}
        except Broken as error:
            self._failed = f"{error}"
            log.error("the ledger cannot be used: %s", error)
            results, heads = [Unavailable(str(error)) for _ in jobs], {}
        # Crash here: the entries stand and the anchor is behind them, which a start accepts.
        for tenant, head in heads.items():
            self._heads[tenant] = await self._write_anchor(tenant, head)
        for job, result in zip(jobs, results, strict=True):
            if job.done.done():
                continue
            if isinstance(result, Receipt):
                job.done.set_result(result)
            else:
                job.done.set_exception(result)
                job.done.exception()  # a caller that was cancelled never looks at it
        for tenant in heads:
            self._grown.pop(tenant, asyncio.Event()).set()

    async def _transact(self, jobs: list[_Job]) -> tuple[list[Receipt | LedgerError], dict[str, _Head]]:
        for apart in (False, True):
            heads: dict[str, _Head] = {}
            results: list[Receipt | LedgerError] = []
            await self._writer.execute("BEGIN IMMEDIATE")
            try:
                results += [await self._take(job, heads, apart=apart) for job in jobs]
                for tenant, head in heads.items():
                    await self._sign(tenant, head)
                await self._writer.execute("COMMIT")
            except sqlite3.IntegrityError:
                await self._writer.execute("ROLLBACK")
                if apart:
                    raise
                continue
            except BaseException:
                if self._writer.in_transaction:
                    await self._writer.execute("ROLLBACK")
                raise
            return results, heads
        raise AssertionError("unreachable")

    async def _take(self, job: _Job, heads: dict[str, _Head], *, apart: bool) -> Receipt | LedgerError:
        """Write one post into the open transaction; `heads` moves on where it stands."""
        try:
            standing = await self._standing(job)
            if standing is not None:
                return standing
            head = heads.get(job.tenant) or self._heads.get(job.tenant, _Head())
            entries, head = self._made(job, head)
        except LedgerError as error:
            return error
        rows = [(e.tenant_id, e.index, e.raw.decode()) for e in entries]
        blobs = [(job.tenant, b.digest, b.data) for d in job.drafts for b in d.blobs]
        if not apart:
            await self._writer.executemany(_INSERT, rows)
            if blobs:
                await self._writer.executemany(_INSERT_BLOB, blobs)
            heads[job.tenant] = head
            return Receipt(tuple(entries))
        await self._writer.execute("SAVEPOINT post")
        for row, draft in zip(rows, job.drafts, strict=True):
            try:
                await self._writer.execute(_INSERT, row)
            except sqlite3.IntegrityError as error:
                await self._writer.execute("ROLLBACK TO post")
                await self._writer.execute("RELEASE post")
                return Refused(str(error), draft.stage)
        await self._writer.executemany(_INSERT_BLOB, blobs)
        await self._writer.execute("RELEASE post")
        heads[job.tenant] = head
        return Receipt(tuple(entries))

    async def _standing(self, job: _Job) -> Receipt | None:
        """The receipt of an earlier post of the same; None where none of the ids stands. Raises Conflict."""
        found = []
        for draft in job.drafts:
            rows = list(await self._writer.execute_fetchall(_FIND, (job.tenant, draft.id)))
            if rows:
                found.append(Entry.parse(rows[0][0].encode()))
        if not found:
            return None
        same = len(found) == len(job.drafts) and all(
            entry.document() == draft.document(found[0].index) for entry, draft in zip(found, job.drafts, strict=True)
        )
        if not same:
            raise Conflict(found[0].id)
        return Receipt(tuple(found), duplicate=True)

    def _made(self, job: _Job, head: _Head) -> tuple[list[Entry], _Head]:
        """The entries of a post: index, time and salt are given here. Raises Refused."""
        first, frontier = head.frontier.size, head.frontier
        now = self._clock()
        time = now if head.time is None else max(now, head.time)
        entries = []
        for offset, draft in enumerate(job.drafts):
            given = {
                "ledger": self._origin,
                "tenant_id": job.tenant,
                "index": first + offset,
                "timestamp": format_time(time),
                "salt": secrets.token_hex(SALT_BYTES),
            }
            try:
                entry = Entry.parse(canonical(draft.document(first) | given))
            except NotCanonical as error:
                raise Refused(f"bytes: {error}", draft.stage) from error
            frontier = frontier.appended(leaf_hash(entry.raw))
            entries.append(entry)
        # The ledger's own time is what was written, to the microsecond.
        return entries, _Head(frontier, parse_time(format_time(time)), head.anchored)

    async def _sign(self, tenant: str, head: _Head) -> None:
        name = notes.log_origin(self._origin, tenant)
        note = notes.sign(notes.Checkpoint(name, head.frontier.size, head.frontier.root), name, self._key)
        await self._writer.execute("INSERT INTO checkpoint VALUES (?, ?, ?)", (tenant, head.frontier.size, note))

    async def _write_anchor(self, tenant: str, head: _Head) -> _Head:
        if self._anchor_path is None:
            return head
        name = notes.log_origin(self._origin, tenant)
        note = notes.sign(notes.Checkpoint(name, head.frontier.size, head.frontier.root), name, self._key)
        number = max(head.anchored + 1, head.frontier.size)
        try:
            await asyncio.to_thread(self._anchor(tenant).write, number, note)
        except OSError as error:
            self._anchor_errors[tenant] = f"the anchor of {tenant} cannot be written: {error}"
            return head
        self._anchor_errors.pop(tenant, None)
        return _Head(head.frontier, head.time, number)

    async def _reopen(self) -> None:
        """After a failure: open again and believe only what the signatures and the anchor confirm."""
        await self._disconnect()
        await self._connect()
        self._failed = None

    # --- reading --------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[aiosqlite.Connection]:
        if self._closed:
            raise Unavailable("the ledger is closed")
        try:
            if self._reader is self._writer:
                async with self._shared:
                    yield self._reader
            else:
                yield self._reader
        except sqlite3.Error as error:
            raise Unavailable(f"the ledger cannot be read: {error}") from error

    async def _rows(self, sql: str, given: Sequence[object]) -> list[Entry]:
        async with self._reading() as reader:
            return [Entry.parse(row[0].encode()) for row in await reader.execute_fetchall(sql, given)]

    async def entries(
        self,
        tenant: str,
        *,
        after: int = -1,
        limit: int = 1000,
        incident: str | None = None,
        stage: str | None = None,
        actor: str | None = None,
    ) -> list[Entry]:
        sql, given = "SELECT bytes FROM entry WHERE tenant = ? AND n > ?", [tenant, after]
        for column, value in (("incident", incident), ("stage", stage), ("actor", actor)):
            if value is not None:
                sql += f" AND {column} = ?"
                given.append(value)
        return await self._rows(sql + " ORDER BY n LIMIT ?", [*given, limit])

    async def get(self, tenant: str, index: int) -> Entry | None:
        rows = await self._rows("SELECT bytes FROM entry WHERE tenant = ? AND n = ?", (tenant, index))
        return rows[0] if rows else None

    async def find(self, tenant: str, id: str) -> Entry | None:
        rows = await self._rows(_FIND, (tenant, id))
        return rows[0] if rows else None

    async def blob(self, tenant: str, digest: str) -> bytes | None:
        async with self._reading() as reader:
            sql = "SELECT data FROM blob WHERE tenant = ? AND digest = ?"
            rows = list(await reader.execute_fetchall(sql, (tenant, digest)))
        return bytes(rows[0][0]) if rows else None

    async def size(self, tenant: str) -> int:
        return self._heads.get(tenant, _Head()).frontier.size

    async def tenants(self) -> list[str]:
        return sorted(self._heads)

    async def checkpoint(self, tenant: str) -> str | None:
        async with self._reading() as reader:
            sql = "SELECT note FROM checkpoint WHERE tenant = ? ORDER BY size DESC LIMIT 1"
            rows = list(await reader.execute_fetchall(sql, (tenant,)))
        return rows[0][0] if rows else None

    async def outstanding(self, tenant: str) -> list[Entry]:
        return await self._rows("SELECT bytes FROM outstanding WHERE tenant = ? ORDER BY n", (tenant,))

    async def wait(self, tenant: str, size: int) -> None:
        while not self._closed and self._heads.get(tenant, _Head()).frontier.size <= size:
            await self._grown.setdefault(tenant, asyncio.Event()).wait()

    def last_time(self, tenant: str) -> datetime | None:
        return self._heads.get(tenant, _Head()).time

    def anchor_error(self) -> str | None:
        return next(iter(self._anchor_errors.values()), None)
