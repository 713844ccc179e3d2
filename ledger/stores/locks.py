"""One process writes the log of a tenant: a file lock beside the ledger says who."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path

from ledger.journal import Broken


class Locks:
    """The locks of some tenants of one ledger. They end with the process, whatever ends it."""

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger
        self._held: list[int] = []

    def take(self, tenants: Iterable[str]) -> None:
        """Take the lock of every tenant, or none. Raises Broken where another process has one of them."""
        for tenant in tenants:
            path = self._ledger.with_name(f"{self._ledger.name}.{tenant}.lock")
            try:
                self._held.append(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
                fcntl.flock(self._held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                self.release()
                raise Broken(f"{path}: another service governs this tenant") from error
            except OSError as error:
                self.release()
                raise Broken(f"{path}: {error.strerror}") from error

    def release(self) -> None:
        for descriptor in self._held:
            os.close(descriptor)
        self._held.clear()
