"""`counterfoil ledger verify --replay`: policy decides every verdict again, of a ledger or of an exported folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.audit import Audit, NotALedger
from ledger.entry import Entry
from ledger.exporting.whole import ENTRIES
from ledger.logfile import open_log
from receiver.auditor.charters import Archive
from receiver.auditor.replay import Difference, Replay
from receiver.settings import Settings

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Replayed:
    """One log, decided again. verdicts: how many, by stage."""

    tenant: str
    verdicts: Mapping[str, int]
    differences: Sequence[Difference]

    def __str__(self) -> str:
        number = sum(self.verdicts.values())
        if not self.differences:
            return f"OK: {self.tenant}: {number} verdicts come out as they were recorded"
        return "\n".join(f"DIFFERENCE: {self.tenant}: {difference}" for difference in self.differences)

    def to_json(self) -> dict[str, Any]:
        differences = [difference.to_json() for difference in self.differences]
        return {"tenant": self.tenant, "verdicts": dict(self.verdicts), "differences": differences}


class Folder:
    """A folder that `ledger export` wrote of a whole log. Raises NotALedger where it is none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        first = next(self.entries(), None)
        self.tenant = first.tenant_id if first is not None else ""

    def entries(self) -> Iterator[Entry]:
        path = self._folder / ENTRIES
        if not path.is_file():
            raise NotALedger(f"{self._folder}: no folder that `counterfoil ledger export` wrote: it has no {ENTRIES}")
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield Entry.parse(line.rstrip(b"\n"))
                except ValueError as error:
                    raise NotALedger(
                        f"{path}: line {number} is no entry; `ledger verify --export` says more"
                    ) from error

    def blob(self, digest: str) -> bytes | None:
        path = self._folder / "blobs" / digest
        return path.read_bytes() if _DIGEST.fullmatch(digest) and path.is_file() else None


def replay(archive: Archive) -> Replayed:
    again = Replay(archive)
    differences = tuple(again.differences())
    return Replayed(archive.tenant, again.verdicts, differences)


def replay_logs(settings: Settings, audits: Sequence[Audit]) -> list[Replayed]:
    """Each log of the ledger that verifies; nothing is decided on one that does not. Raises NotALedger."""
    found = []
    for audit in audits:
        if audit.fault is None:
            with open_log(settings.ledger.path, audit.tenant) as log:
                found.append(replay(log))
    return found
