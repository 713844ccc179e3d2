"""Where an export comes from: one tenant's log, as it stood at one moment, read from beginning to end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger import checkpoint as notes
from ledger.audit import NotALedger
from ledger.logfile import PAGE, LogFile, open_log


def readme() -> bytes:
    """What a folder says of itself: the same in every export."""
    return resources.files("ledger.exporting").joinpath("README.txt").read_bytes()


class NoExport(Exception):
    """The log cannot be exported as it stands: says what is wrong, and where."""


class Source(Protocol):
    """A log under its newest checkpoint."""

    note: str  # the signed checkpoint
    head: notes.Checkpoint  # what it says
    keys: tuple[str, ...]  # the verifier keys that the log ever had, the oldest first
    vouchers: Mapping[int, str]  # by its size, each checkpoint in which a key vouches for the next
    readme: bytes  # what the folder says of itself

    def entries(self) -> Iterator[bytes]:
        """The bytes of every entry, in order."""

    def blob(self, digest: str) -> bytes | None:
        """What stands under the SHA-256 `digest`."""


class Stored:
    """A log in a SQLite file. Made by `stored`."""

    def __init__(self, log: LogFile, origin: str, public: Ed25519PublicKey) -> None:
        self.log, self.origin = log, origin
        note = log.newest_checkpoint()
        if note is None:
            raise NoExport(f"there is no tenant {log.tenant} in the ledger")
        keys = log.keys(origin)
        if keys.newest.public != public:
            raise NoExport(f"{keys.newest.vkey} is in force in the ledger, and the configuration has another key")
        self.note, self.head = note, keys.verify(note)
        self.readme = readme()
        self.keys = tuple(key.vkey for key in keys.keys)
        over = [log.checkpoint_over(key.first) for key in keys.keys[1:]]
        self.vouchers: Mapping[int, str] = {keys.verify(voucher).size: voucher for voucher in over if voucher}

    def entries(self) -> Iterator[bytes]:
        for first in range(0, self.log.size, PAGE):
            yield from self.log.raw(first, min(first + PAGE, self.log.size))

    def blob(self, digest: str) -> bytes | None:
        return self.log.blob(digest)


@contextmanager
def stored(path: Path, origin: str, tenant: str, public: Ed25519PublicKey) -> Iterator[Stored]:
    """One tenant's log in the file at `path`, in a snapshot that a service which goes on writing does not move.

    public: the key in force. Raises NoExport where there is no such log, or its newest checkpoint is not signed by it.
    """
    try:
        with open_log(path, tenant) as log:
            yield Stored(log, origin, public)
    except (NotALedger, notes.BadCheckpoint) as error:
        raise NoExport(f"{error}; see `counterfoil ledger verify`") from error
