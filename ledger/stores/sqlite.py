"""The ledger in one SQLite file: one writer with group commit, and a reader beside it.

While one commit waits for the disk the next batch forms, so no timer is needed. Callers await a future of their own:
cancelling a caller never reaches into a transaction.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import checkpoint as notes
from ledger.entry import Draft, Entry
from ledger.journal import Broken, Page, Receipt, Refused, Unavailable
from ledger.merkle import Range, Subtrees
from ledger.stores import opening, schema, transaction
from ledger.stores.anchoring import Anchoring
from ledger.stores.attesting import Attesting
from ledger.stores.batch import Batch, Head, Job, Scribe, answer
from ledger.stores.forest import Forest
from ledger.stores.line import Line

log = logging.getLogger(__name__)

MAX_POST_ENTRIES = 2_000
MAX_BATCH_ENTRIES = 4_000
MAX_WAITING_POSTS = 10_000
_MAX_SQLITE = 2**63 - 1
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")  # it stands in the name of the anchor's file
_ORIGIN = re.compile(r"[^\s+\x00-\x1f]{1,200}")  # C2SP signed-note: a key name has no space and no plus


class SqliteJournal:
    """A `Journal` in one file. Made by `open`; `close` ends it."""

    def __init__(
        self,
        path: str,
        origin: str,
        key: Ed25519PrivateKey,
        anchors: Mapping[str, notes.Anchor],
        clock: Callable[[], datetime],
        durable: bool,
    ) -> None:
        self._memory = path == ":memory:"
        self._store = opening.Store(Path(path), origin, key.public_key())
        self._scribe = Scribe(origin, key, clock)
        self._anchoring = Anchoring(anchors, lambda: self._heads)
        self._attesting = Attesting()
        self._durable = durable
        self._heads: dict[str, Head] = {}
        self._queue: asyncio.Queue[Job | None] = asyncio.Queue(MAX_WAITING_POSTS)
        self._grown: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._forest = Forest(self._bytes)
        self._failed: str | None = None
        self._closed = False
        self._writer: Line | None = None
        self._reader: Line | None = None  # the same one, where the ledger is in memory
        self._task: asyncio.Task[None] | None = None
        self._observe: Callable[[float], None] = lambda seconds: None
        self._shortage: Callable[[], str | None] = lambda: None
        self._short = False

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
        observe: Callable[[float], None] = lambda seconds: None,
        shortage: Callable[[], str | None] = lambda: None,
    ) -> Self:
        """Open the ledger at `path` (":memory:" for one that lives as long as the process), or make an empty one.

        anchor_path: the anchor of TENANT is the file `anchor_path.TENANT`; None for no anchor.
        tenants: those who are served; a new one's log begins with OPENED, others that the file holds stay as they are.
        durable: False leaves the disk to itself (tests alone). observe: told how many seconds each post took.
        shortage: asked before each commit why nothing may be written, as for want of room (`room.Room`); None: it may.
        Raises Broken where the file, its signatures or its anchor do not hold, and Unavailable where it cannot be read
        or written.
        """
        wrong = [tenant for tenant in tenants if not _TENANT.fullmatch(tenant)]
        if wrong or not _ORIGIN.fullmatch(origin):
            raise Broken(f"{wrong[0]!r} is no name for a tenant" if wrong else f"{origin!r} is no name for a ledger")
        anchors = {tenant: notes.anchor_of(anchor_path, tenant) for tenant in tenants} if anchor_path else {}
        journal = cls(str(path), origin, key, anchors, clock, durable)
        journal._observe, journal._shortage = observe, shortage
        try:
            await journal._connect()
            journal._task = asyncio.create_task(journal._write_forever(), name="ledger writer")
            journal._anchoring.start()
            for tenant in tenants:
                if tenant not in journal._heads:
                    await journal.post(tenant, [journal._opened(tenant)])
            await journal._anchoring.level()
        except BaseException:
            await journal.close()
            raise
        return journal

    def _opened(self, tenant: str) -> Draft:
        name = notes.log_origin(self._store.origin, tenant)
        body = {"origin": name, "continues": None, "key": notes.verifier_key(name, self._store.public)}
        return Draft(id="open", stage="OPENED", actor="system", reason=f"the log of {tenant} begins", body=body)

    # --- opening and closing --------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        """Check the file, then connect to it. Raises Broken and Unavailable."""
        try:
            if self._memory:
                self._writer = self._reader = await Line.open(self._connect_memory)
                return
            hashed: dict[str, Subtrees] = {}
            async with self._anchoring.alone:
                anchors = self._anchoring.anchors
                heads = await asyncio.to_thread(opening.prepare, self._store, anchors, hashed.__setitem__)
            self._writer = await Line.open(self._connect_writer)
            # What reads at this moment has queued its query already, so the old reader answers it before it ends.
            former, self._reader = self._reader, await Line.open(partial(schema.connect, self._store.path))
            if former is not None:
                await former.close()
        except OSError as error:
            raise Unavailable(f"{self._store.path}: {error.strerror or error}") from error
        except sqlite3.OperationalError as error:
            raise Unavailable(f"{self._store.path}: {error}") from error
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise Broken(f"{self._store.path}: {error}; restore the newest copy") from error
        self._heads = heads
        self._attesting.begin(heads)
        for tenant, known in hashed.items():
            self._forest.plant(tenant, known)
        # A crash between commit and anchor left it behind.
        await self._anchoring.level()

    def _connect_memory(self) -> sqlite3.Connection:
        store = schema.connect(":memory:")
        store.executescript(schema.script(self._store.origin))
        self._set_up(store)
        return store

    def _connect_writer(self) -> sqlite3.Connection:
        store = schema.connect(self._store.path, read_only=False)
        store.execute("PRAGMA journal_mode = WAL")  # a backup that was put in place has another
        self._set_up(store)
        return store

    def _set_up(self, writer: sqlite3.Connection) -> None:
        writer.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'OFF'}")
        writer.execute("PRAGMA busy_timeout = 5000")
        writer.set_authorizer(schema.authorizer)

    async def close(self) -> None:
        """Write what is waiting, then close. A post after this is Unavailable."""
        if self._task is not None and not self._task.done():
            if not self._closed:
                self._closed = True
                await self._queue.put(None)
            await asyncio.wait([self._task])
        self._closed = True
        await self._anchoring.close()
        self._wake(list(self._grown))
        # Taken away before the first await: a second close, at the same time, would wait for a thread that has ended.
        reader, writer = self._reader, self._writer
        self._reader = self._writer = None
        # The writer last: whoever is last empties the write-ahead log into the file, and the reader may not write.
        for line in dict.fromkeys(line for line in (reader, writer) if line is not None):  # one alone, in memory
            await line.close()

    async def ended(self) -> None:
        """Return once nothing can be written any more; raise what ended the writing, where that was a mistake."""
        tasks = [task for task in (self._task, self._anchoring.task) if task is not None]
        if tasks:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()

    # --- writing --------------------------------------------------------------------------------------------------

    async def post(self, tenant: str, drafts: Sequence[Draft]) -> Receipt:
        """Post all or nothing. Cancelling the caller does not stop the commit."""
        if self._closed:
            raise Unavailable("the ledger is closed")
        if not 0 < len(drafts) <= MAX_POST_ENTRIES:
            raise Refused(f"a post has 1 to {MAX_POST_ENTRIES} entries, not {len(drafts)}")
        if not _TENANT.fullmatch(tenant):
            raise Refused(f"{tenant[:40]!r} is no name for a tenant")
        done: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait(Job(tenant, tuple(drafts), done))
        except asyncio.QueueFull:
            raise Unavailable(f"{MAX_WAITING_POSTS} posts are waiting") from None
        began = time.monotonic()
        try:
            return await done  # cancelled, it is passed over when the answers are given
        finally:
            self._observe(time.monotonic() - began)

    async def _write_forever(self) -> None:
        jobs: list[Job] = []
        last = False
        try:
            while not last and (job := await self._queue.get()) is not None:
                jobs, entries = [job], len(job.drafts)
                while entries < MAX_BATCH_ENTRIES and not self._queue.empty():
                    following = self._queue.get_nowait()
                    if following is None:
                        last = True
                        break
                    jobs.append(following)
                    entries += len(following.drafts)
                await self._write(jobs)
        finally:
            # Whatever ended it, nothing can be written any more, and nobody waits for what does not come.
            self._closed = True
            while not self._queue.empty():
                jobs += [job for job in [self._queue.get_nowait()] if job is not None]
            for job in jobs:
                answer(job, Unavailable("the ledger is closed; ask again under the same id"))
            self._wake(list(self._grown))

    async def _write(self, jobs: list[Job]) -> None:
        """One transaction for `jobs`, then the answers. The anchors follow."""
        short = self._shortage()
        if short is not None:
            if not self._short:
                log.error("the ledger takes nothing: %s", short)
            for job in jobs:
                answer(job, Unavailable(short))
        if short is None and self._short:
            log.warning("the ledger takes entries again")
        self._short = short is not None
        if self._short:
            return
        failed = self._failed
        try:
            if failed is not None:
                await self._reopen()
            own = self._attesting.due()
            batch = await self._transact([*jobs, *own])
        except (sqlite3.Error, Broken, Unavailable) as error:
            # A COMMIT that failed is "unknown", not "no": stop, and look at what stands before anything else is taken.
            if failed is None:  # it is tried again every second, and each try says the same
                log.error("the ledger cannot be written: %s", error)
            self._failed = str(error)
            for job in jobs:
                answer(job, Unavailable(f"{error}; ask again under the same id"))
            return
        if failed is not None:
            log.warning("the ledger is written again")
        self._heads |= batch.heads
        self._attesting.committed(own, batch.results[len(jobs) :], batch.signed)
        self._anchoring.committed()
        for job, result in zip(jobs, batch.results[: len(jobs)], strict=True):
            answer(job, result)
        self._wake(batch.heads)

    def _wake(self, tenants: Iterable[str]) -> None:
        for tenant in tenants:
            self._grown.pop(tenant, asyncio.Event()).set()

    async def _reopen(self) -> None:
        """After a failure: look again, and believe only what the signatures and the anchor confirm."""
        if self._writer is not None and self._memory:
            await self._writer.run(_roll_back)
        else:
            if self._writer is not None:
                with suppress(sqlite3.Error):  # it failed before; what stands is read again by another connection
                    await self._writer.close()
            self._writer = None
            await self._connect()
        self._failed = None
        self._wake(list(self._heads))  # a commit that was unknown may have made a log longer

    async def _transact(self, jobs: list[Job]) -> Batch:
        if self._writer is None:
            raise Unavailable("the ledger is closed")
        return await self._writer.run(transaction.write, jobs, self._scribe, self._heads)

    # --- reading --------------------------------------------------------------------------------------------------

    async def _fetch(self, sql: str, given: Sequence[object]) -> list[Any]:
        if self._closed or self._reader is None:
            raise Unavailable("the ledger is closed")
        try:
            return list(await self._reader.execute_fetchall(sql, given))
        except sqlite3.Error as error:
            raise Unavailable(f"the ledger cannot be read: {error}") from error

    async def _rows(self, sql: str, given: Sequence[object]) -> list[Entry]:
        return [Entry.parse(row[0].encode()) for row in await self._fetch(sql, given)]

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
        # Left to itself the planner walks the tenant's log by the primary key, which holds every column.
        index = "INDEXED BY entry_incident" if incident is not None else "INDEXED BY entry_stage" if stage else ""
        sql = f"SELECT bytes FROM entry {index} WHERE tenant = ? AND n > ?"  # noqa: S608 - words of ours
        given: list[object] = [tenant, min(after, _MAX_SQLITE)]
        for column, value in (("incident", incident), ("stage", stage), ("actor", actor)):
            if value is not None:
                sql += f" AND {column} = ?"
                given.append(_text(value))
        return await self._rows(sql + " ORDER BY n LIMIT ?", [*given, min(limit, _MAX_SQLITE)])

    async def page(self, tenant: str, *, after: int, limit: int, blobs: Collection[str]) -> Page:
        """One hop between threads, and what is read is parsed over there: a start reads a whole log in this way."""
        if self._closed or self._reader is None:
            raise Unavailable("the ledger is closed")
        try:
            return await self._reader.run(_page, tenant, min(after, _MAX_SQLITE), min(limit, _MAX_SQLITE), blobs)
        except sqlite3.Error as error:
            raise Unavailable(f"the ledger cannot be read: {error}") from error

    async def get(self, tenant: str, index: int) -> Entry | None:
        rows = await self._rows("SELECT bytes FROM entry WHERE tenant = ? AND n = ?", (tenant, min(index, _MAX_SQLITE)))
        return rows[0] if rows else None

    async def find(self, tenant: str, id: str) -> Entry | None:
        rows = await self._rows("SELECT bytes FROM entry WHERE tenant = ? AND id = ?", (tenant, _text(id)))
        return rows[0] if rows else None

    async def blob(self, tenant: str, digest: str) -> bytes | None:
        rows = await self._fetch("SELECT data FROM blob WHERE tenant = ? AND digest = ?", (tenant, _text(digest)))
        return bytes(rows[0][0]) if rows else None

    async def size(self, tenant: str) -> int:
        return self._heads.get(tenant, Head()).frontier.size

    async def tenants(self) -> list[str]:
        return sorted(self._heads)

    async def checkpoint(self, tenant: str) -> str | None:
        return self._heads.get(tenant, Head()).note or None

    async def tree_hashes(self, tenant: str, ranges: Sequence[Range]) -> list[bytes]:
        size, wanted = await self.size(tenant), max((end for _, end in ranges), default=0)
        if wanted > size:
            # A reader sees a commit a moment before its head is known here, and may ask about it in that moment.
            rows = await self._fetch("SELECT max(n) FROM entry WHERE tenant = ?", (tenant,))
            size = max(size, (rows[0][0] if rows[0][0] is not None else -1) + 1)
        return await self._forest.hashes(tenant, size, ranges)

    async def _bytes(self, tenant: str, first: int, end: int) -> list[bytes]:
        """The bytes of the entries from `first` to before `end`. Raises Unavailable where one of them is missing."""
        sql = "SELECT CAST(bytes AS BLOB) FROM entry WHERE tenant = ? AND n >= ? AND n < ? ORDER BY n"
        rows = [row[0] for row in await self._fetch(sql, (tenant, first, end))]
        if len(rows) != end - first:
            raise Unavailable(f"{len(rows)} of the entries from {first} to {end - 1} of {tenant} can be read")
        return rows

    async def outstanding(self, tenant: str) -> list[Entry]:
        return await self._rows("SELECT bytes FROM outstanding WHERE tenant = ? ORDER BY n", (tenant,))

    async def wait(self, tenant: str, size: int) -> None:
        """Return when the log of `tenant` holds more than `size` entries, or the ledger is closed."""
        while not self._closed and self._heads.get(tenant, Head()).frontier.size <= size:
            await self._grown[tenant].wait()

    async def anchored(self, tenant: str, index: int) -> bool:
        await self.wait(tenant, index)  # a reader sees a commit a moment before its head is known here
        return await self._anchoring.covers(tenant, index)

    def last_time(self, tenant: str) -> datetime | None:
        return self._heads.get(tenant, Head()).time

    def anchor_error(self) -> str | None:
        """Why nothing may be dispatched now: an anchor, or the ledger itself, cannot be written, or has no room."""
        return next(iter(self._anchoring.errors.values()), self._failed) or self._shortage()


def _roll_back(store: sqlite3.Connection) -> None:
    if store.in_transaction:
        store.execute("ROLLBACK")


def _page(store: sqlite3.Connection, tenant: str, after: int, limit: int, names: Collection[str]) -> Page:
    sql = "SELECT CAST(bytes AS BLOB) FROM entry WHERE tenant = ? AND n > ? ORDER BY n LIMIT ?"
    entries = [Entry.parse(raw) for (raw,) in store.execute(sql, (tenant, after, limit)).fetchall()]
    found = {}
    for digest in dict.fromkeys(ref.digest for entry in entries for ref in entry.blobs if ref.name in names):
        row = store.execute("SELECT data FROM blob WHERE tenant = ? AND digest = ?", (tenant, digest)).fetchone()
        if row is not None:
            found[digest] = bytes(row[0])
    return Page(entries, found)


def _text(value: str) -> str:
    """What can be bound as text: a lone surrogate stands in no entry, so nothing is found under the replacement."""
    return value.encode("utf-8", "replace").decode()
