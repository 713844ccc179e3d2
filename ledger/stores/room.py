"""How much room the ledger's file system has left. Below a limit nothing is posted: it is better to stop while what was
begun can still be finished, than to find a full disk between two writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Room:
    """path: the ledger's file, or where it will be. least: bytes that must stay free; 0 asks for none."""

    path: Path
    least: int
    statvfs: Callable[[Path], os.statvfs_result] = os.statvfs

    def free(self) -> int:
        """The bytes that we may still write. Raises OSError where the folder is gone."""
        found = self.statvfs(self.path.parent)
        return found.f_bavail * found.f_frsize

    def holds(self, size: int) -> bool:
        """Whether a file of so many bytes, which could be done without, leaves twice what must stay free."""
        if not self.least:
            return True
        try:
            return self.free() - size >= 2 * self.least
        except OSError:
            return False

    def shortage(self) -> str | None:
        """Why nothing may be posted now, or None. A file system that does not answer has no room."""
        if not self.least:
            return None
        try:
            free = self.free()
        except OSError as error:
            return f"{self.path.parent.absolute()}: how much is free cannot be asked: {error.strerror}"
        if free >= self.least:
            return None
        where = self.path.parent.absolute()
        return f"{where}: {free:,} bytes are free, and ledger.min_free_bytes keeps {self.least:,}: make room"
