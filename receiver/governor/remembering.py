"""The memo of a tenant's book in its file beside the ledger: read at a start, and written now and then.

Nothing depends on it. A memo that is missing, or that fits for any reason not, is said in one line of the log, and the
log is folded from its beginning, as it is after every upgrade.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from ledger.journal import Journal, LedgerError
from receiver.governor.memo import Memo, Unfit, code_digest, key_from
from receiver.incident.book import Book

log = logging.getLogger(__name__)

ENTRIES = 5_000  # folded beyond the last memo: then a start and a stop write another. They take some 0.1 s to fold
ENTRIES_SERVING = 50_000  # and while the service governs, for the start after a crash
BYTES_SERVING = 8_000_000  # of the last memo: where it was larger, the next one waits for the stop, or all else would

# What `pickle` may raise, by its documentation. A memo is never worth the service.
_UNMADE = (pickle.PicklingError, MemoryError, RecursionError, TypeError, AttributeError)

P = ParamSpec("P")
T = TypeVar("T")


class Beside(Protocol):
    """Does work that may take a while; `asyncio.to_thread` is one."""

    async def __call__(self, work: Callable[P, T], /, *given: P.args, **named: P.kwargs) -> T: ...


class Memos:
    """The memo of one tenant. holds: whether a file of so many bytes leaves enough room on the disk.

    size: how many entries the memo had folded that this process began with; 0 where it began with none.
    """

    def __init__(
        self,
        path: Path,
        tenant: str,
        secret: bytes,
        holds: Callable[[int], bool] = lambda size: True,
        *,
        entries: int = ENTRIES,
        serving: int = ENTRIES_SERVING,
        beside: Beside = asyncio.to_thread,
    ) -> None:
        self._path = path
        self._tenant = tenant
        self._key = key_from(secret)
        self._holds = holds
        self._entries, self._serving = entries, serving
        self._beside = beside
        self._writing = threading.Lock()
        self._bytes = 0
        self._asked = 0  # the size at which one was written, or tried to be
        self.size = 0
        with suppress(Unfit, OSError):  # said where it is wanted
            code_digest()  # now: files may be replaced while the ledger is read

    async def load(self, journal: Journal) -> Book | None:
        """The book of the memo, where it fits the log as it stands now; else None. Raises LedgerError."""
        try:
            memo, length = await self._beside(self._opened)
            if memo.size > await journal.size(self._tenant):
                raise Unfit(f"it is of {memo.size} entries, and the log is shorter")
            (root,) = await journal.tree_hashes(self._tenant, [(0, memo.size)])
            if root != memo.root:
                raise Unfit(f"it is of another history of the first {memo.size} entries")
            book = await self._beside(memo.read)
        except FileNotFoundError:
            return None
        except Unfit as unfit:
            log.warning("tenant %s: the memo %s is not used: %s", self._tenant, self._path, unfit)
            return None
        except OSError as error:
            log.warning("tenant %s: the memo %s cannot be read: %s", self._tenant, self._path, error.strerror)
            return None
        self.size = self._asked = memo.size
        self._bytes = length
        return book

    def _opened(self) -> tuple[Memo, int]:
        code = code_digest()
        raw = self._path.read_bytes()
        memo = Memo.opened(raw, self._key)
        memo.check(self._tenant, code)
        return memo, len(raw)

    def due(self, size: int, *, serving: bool) -> bool:
        """Whether a book of `size` entries is worth a memo now. serving: the governor waits for it."""
        new = size - self._asked
        return new >= self._serving and self._bytes <= BYTES_SERVING if serving else new >= self._entries

    async def made(self, book: Book, journal: Journal, *, serving: bool) -> bytes | None:
        """The bytes of a memo of `book`, which nobody may fold on meanwhile; None where the log cannot be read now."""
        self._asked = book.size
        try:
            code = await self._beside(code_digest)
            (root,) = await journal.tree_hashes(self._tenant, [(0, book.size)])
        except (LedgerError, Unfit, OSError) as error:
            log.warning("tenant %s: no memo is written: %s", self._tenant, error)
            return None
        # Steps beside the turn look at the book, and a look at an outbox makes one. While there are any, all is done
        # in one go; before the first and after the last one the listeners need not wait for it.
        make = partial(self._sealed, book, root, code)
        try:
            raw = make() if serving else await self._beside(make)
        except _UNMADE as error:
            log.error("tenant %s: no memo is written", self._tenant, exc_info=error)
            return None
        self._bytes = len(raw)
        return raw

    def _sealed(self, book: Book, root: bytes, code: str) -> bytes:
        return Memo.of(book, root, code).sealed(self._key)

    async def keep(self, raw: bytes) -> None:
        """Put a memo in the place of the one that there is, if it can be."""
        try:
            if await self._beside(self._write, raw):
                return
            why = f"{len(raw):,} bytes more would leave too little room"
        except OSError as error:
            why = str(error.strerror)
        log.warning("tenant %s: the memo %s is not written: %s", self._tenant, self._path, why)

    def _write(self, raw: bytes) -> bool:
        """Whole or not at all; what a machine that stops makes of it, the HMAC shows. Raises OSError."""
        with self._writing:  # one that was given up may still be writing when the next one comes
            new = self._path.with_name(f"{self._path.name}.new")
            new.unlink(missing_ok=True)
            if not self._holds(len(raw)):
                return False
            try:
                descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(raw)
                new.replace(self._path)
            except OSError:
                new.unlink(missing_ok=True)
                raise
            return True
