"""The log of webhook-ids: what was begun, and how it ended. It is what stops a repetition, across restarts too.

A file of JSON lines, each written whole and synced before its caller goes on:

    {"action": "restart", "at": "2026-11-23T08:58:38+00:00", "begun": true, "id": "wh_…"}
    {"at": "2026-11-23T08:58:41+00:00", "id": "wh_…", "result": {"exit_code": 0, "output": "…"}}
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

KEPT_CHARACTERS = 2_000  # of an output, for whoever asks again


class RunLogError(Exception):
    """The log cannot be used; one line that says where and why."""


class RunLog:
    """The open log. One process at a time has it: two that each knew a part would run twice.

    Opening raises RunLogError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, dict[str, Any] | None] = {}
        try:
            new = not path.exists()
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise RunLogError(f"{path}: {error.strerror}") from error
        try:
            self._lock()
            self._read()
            if new:
                _sync_folder(path.parent)
        except OSError as error:
            self.close()
            raise RunLogError(f"{path}: {error.strerror}") from error
        except RunLogError:
            self.close()
            raise

    def __contains__(self, webhook_id: str) -> bool:
        return webhook_id in self._known

    def result(self, webhook_id: str) -> dict[str, Any] | None:
        """The result of an id that has ended, its output shortened; None while it runs, or where no end is known."""
        return self._known.get(webhook_id)

    def begin(self, webhook_id: str, action: str) -> None:
        """Remember the id before anything runs. Raises OSError; then it is not begun, and nothing may run."""
        self._append({"id": webhook_id, "action": action, "begun": True})
        self._known[webhook_id] = None

    def end(self, webhook_id: str, result: Mapping[str, Any]) -> None:
        """Keep the result. Raises OSError; then it is known until the process ends, and unknown afterwards."""
        kept = {**result, "output": str(result.get("output", ""))[:KEPT_CHARACTERS]}
        self._known[webhook_id] = kept
        self._append({"id": webhook_id, "result": kept})

    def close(self) -> None:
        os.close(self._descriptor)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunLogError(f"{self._path}: another executor uses this log") from error

    def _read(self) -> None:
        with self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    # A crash tore this line, so nobody was told that it was written: a begin was not followed by a
                    # run, and an end leaves its id begun. It must go, or the next line would be lost with it.
                    os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - len(line))
                    os.fsync(self._descriptor)
                    return
                self._take(line, number)

    def _take(self, line: bytes, number: int) -> None:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        webhook_id = row.get("id") if isinstance(row, dict) else None
        result = row.get("result") if isinstance(row, dict) else None
        if not isinstance(webhook_id, str) or not isinstance(result, dict | None):
            # What this line said may be an id that must not run again: nobody can tell, so nothing runs.
            raise RunLogError(f"{self._path}: line {number} cannot be read; see what it was, and remove it")
        self._known[webhook_id] = result or self._known.get(webhook_id)

    def _append(self, row: Mapping[str, Any]) -> None:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        line = json.dumps({**row, "at": at}, sort_keys=True).encode() + b"\n"
        before = os.fstat(self._descriptor).st_size
        try:
            written = 0
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
            os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, before)
            raise


def _sync_folder(folder: Path) -> None:
    """A new file is only there after a crash if its folder was synced."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
