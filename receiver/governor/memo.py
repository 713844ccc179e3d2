"""A memo: the book as it was folded up to a size, in bytes that only this service's own code reads again.

It is no record and proves nothing. What it is bound to stands in its head: the tenant, how many entries were folded,
the root of the tree over them, and a digest of the code that folded; the whole is under an HMAC. Whatever does not fit
is of no use, and the log is folded from its beginning.

MAGIC, HMAC-SHA256 (32 bytes) of all that follows, length of the head (4 bytes), the head as JSON, the book as a pickle.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import pickle
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from datetime import date, datetime, timedelta, timezone
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

import ledger
import policy_rules
import receiver
from ledger.entry import BlobRef, Entry
from policy_rules.readings import Alert
from policy_rules.verdict import Memory
from receiver.incident import consulting, drills, duty, enrolled, heartbeat, past, shadowed, silences, states, times
from receiver.incident.book import Book
from receiver.incident.outbox import Outbox
from receiver.incident.runs import Run

MAGIC = b"counterfoil memo 1\n"  # the number is of the form; another one is no memo
_MAC, _LENGTH = 32, 4
_PROTOCOL = 5
# The records of a book, each written as its class and the values of its fields.
RECORDS: tuple[type[Any], ...] = (
    *(states.KnownAlert, states.Watch, states.Message, states.Taken, states.Proposal, states.Incident),
    *(states.News, states.Heard, times.Took, times.Times, past.Tally, consulting.Standing, consulting.Consultation),
    *(Run, Alert, Memory, Entry, BlobRef, Outbox, shadowed.Shadowed, heartbeat.Silence, enrolled.Enrolled),
    *(enrolled.Enrolment, drills.Drills, drills.Drill, duty.Duties, duty.Handover, duty.Vacancy),
    *(silences.Silences, silences.Request, past.Former),
)
OTHERS: tuple[type[Any], ...] = (Book, datetime, date, timedelta, timezone, deque)
_CLASSES = {(one.__module__, one.__qualname__): one for one in (*RECORDS, *OTHERS)}
# What `pickle` may raise on bytes that are none of ours, by its documentation and by what constructors raise.
_UNREADABLE = (
    *(pickle.UnpicklingError, AttributeError, EOFError, ImportError, IndexError),
    *(KeyError, TypeError, ValueError, RecursionError, MemoryError),
)


class Unfit(ValueError):
    """A memo that cannot be used; says why."""


@dataclass(frozen=True, slots=True)
class Memo:
    """What a memo says of itself, and the book in it, which is not read before the rest was found to fit."""

    tenant: str
    size: int  # entries that were folded
    root: bytes  # of the tree over them
    code: str  # `code_digest` of the program that folded them
    book: bytes = field(repr=False)

    @classmethod
    def of(cls, book: Book, root: bytes, code: str) -> Memo:
        """root: over the entries that `book` has folded."""
        return cls(book.tenant, book.size, root, code, _pickled(book))

    def sealed(self, key: bytes) -> bytes:
        head = json.dumps({"tenant": self.tenant, "size": self.size, "root": self.root.hex(), "code": self.code})
        text = len(head).to_bytes(_LENGTH, "big") + head.encode()
        return b"".join((MAGIC, _mac(key, text, self.book), text, self.book))

    @classmethod
    def opened(cls, raw: bytes, key: bytes) -> Memo:
        """The reverse of `sealed`. Raises Unfit, also where the bytes are not wholly those that were written."""
        given, start = memoryview(raw), len(MAGIC) + _MAC
        if given[: len(MAGIC)] != MAGIC:
            raise Unfit("it is of no form that this version knows")
        if not hmac.compare_digest(given[len(MAGIC) : start], _mac(key, given[start:])):
            raise Unfit("it was cut off or changed, or it is under another key")
        head_end = start + _LENGTH + int.from_bytes(given[start : start + _LENGTH], "big")
        head = json.loads(bytes(given[start + _LENGTH : head_end]))
        return cls(head["tenant"], head["size"], bytes.fromhex(head["root"]), head["code"], raw[head_end:])

    def check(self, tenant: str, code: str) -> None:
        """Whether it is a memo for this tenant by this program. Raises Unfit."""
        if self.tenant != tenant:
            raise Unfit(f"it is of the tenant {self.tenant}")
        if self.code != code:
            raise Unfit("another version of the program wrote it")

    def read(self) -> Book:
        """The book. Raises Unfit where it is none of this tenant and size, or holds what no book holds."""
        try:
            book = _Reader(io.BytesIO(self.book)).load()
        except _UNREADABLE as error:
            raise Unfit(f"it does not read: {error}") from error
        if not isinstance(book, Book) or (book.tenant, book.size) != (self.tenant, self.size):
            raise Unfit("it holds another book than it says")
        return book


class _Reader(pickle.Unpickler):
    """Reads records of a book, and nothing else: no function, and no class that does anything when it is made."""

    def find_class(self, module: str, name: str) -> type[Any]:
        found = _CLASSES.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"{module}.{name} stands in no book")
        return found


def _pickled(book: Book) -> bytes:
    """Objects that stand in several places of the book are one object again when it is read."""
    written = io.BytesIO()
    pickler = pickle.Pickler(written, _PROTOCOL)
    pickler.dispatch_table = _REDUCED  # a class and a tuple read twice as fast as a class and a dictionary
    pickler.dump(book)
    return written.getvalue()


def _reduced(record: type[Any]) -> Callable[[Any], tuple[type[Any], tuple[Any, ...]]]:
    names = [one.name for one in fields(record)]
    values = attrgetter(*names, names[0])  # one name more, or the value of a single one would be no tuple
    return lambda made: (record, values(made)[:-1])


_REDUCED = {record: _reduced(record) for record in RECORDS}


def _mac(key: bytes, *parts: bytes | memoryview) -> bytes:
    made = hmac.new(key, digestmod=hashlib.sha256)
    for part in parts:
        made.update(part)
    return made.digest()


def key_from(secret: bytes) -> bytes:
    """The key of memos, from the secret of the service."""
    return HKDF(hashes.SHA256(), 32, salt=None, info=b"counterfoil memo of the fold").derive(secret)


@cache
def code_digest() -> str:
    """Of this program. Asked for once, early: files that are replaced while the process runs are not what it runs."""
    return digest_of([Path(at) for package in (ledger, policy_rules, receiver) for at in package.__path__])


def digest_of(packages: Sequence[Path]) -> str:
    """SHA-256, in hex, of every source of these packages, of Python's version and of what reads the entries.

    Raises Unfit where there are no sources: nobody could tell one version from another.
    """
    said = hashlib.sha256(f"{sys.version}\n{orjson.__version__}\n".encode())
    sources = [(path.relative_to(at.parent).as_posix(), path) for at in packages for path in at.rglob("*.py")]
    if not sources:
        raise Unfit("the sources of this program are not at hand")
    for name, path in sorted(sources):
        source = path.read_bytes()
        said.update(f"{name} {len(source)}\n".encode() + source)
    return said.hexdigest()


def memo_path(ledger_path: Path, tenant: str) -> Path:
    """Where the memo of a tenant stands."""
    return ledger_path.with_name(f"{ledger_path.name}.{tenant}.memo")
