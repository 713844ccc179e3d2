"""Checkpoints at the end of a file of the operator's choice: on a mounted share, or in a git work tree.

The file only grows. `counterfoil ledger verify --from FILE` compares it with the ledger.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from receiver.anchoring.outside import NotPlaced

WRITE_SECONDS = 10.0


class WitnessFile:
    """An outside place. `every_seconds` is the least time between two checkpoints of one log."""

    kind = "witness_file"
    last_words = True

    def __init__(self, path: Path, every_seconds: float) -> None:
        self.every_seconds = every_seconds
        self._path = path
        self._write: asyncio.Future[None] | None = None

    async def place(self, tenant: str, note: str) -> None:
        if self._write is not None and not self._write.done():
            raise NotPlaced(f"{self._path}: the write before this one has not come back")
        self._write = in_a_thread(lambda: append(self._path, note))
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await asyncio.shield(self._write)
        except TimeoutError:
            raise NotPlaced(f"{self._path}: nothing came back within {WRITE_SECONDS:g} s") from None
        except OSError as error:
            raise NotPlaced(f"{self._path}: {error.strerror or error}") from error


def append(path: Path, note: str) -> None:
    """Add a note and an empty line to the end of the file, and wait until the disk has them. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        # A write that was cut off must not run into the next: readers pass over what is no whole note.
        cut_off = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        data = f"{'' if not cut_off else chr(10) * 2}{note}\n".encode()
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def in_a_thread(work: Callable[[], None]) -> asyncio.Future[None]:
    """Do `work` in a thread of its own that keeps no process alive: a share that is gone may never answer."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def tell(error: OSError | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
            done.exception()  # nobody may be waiting any more

    def run() -> None:
        error = None
        try:
            work()
        except OSError as problem:
            error = problem
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell, error)

    threading.Thread(target=run, name="anchoring", daemon=True).start()
    return done
