"""Some entries of a log as a folder: those of an incident or of a period, each with the proof that it is in the log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ledger.entry import Entry
from ledger.exporting import sheet
from ledger.exporting.place import Fault, Place
from ledger.exporting.source import NoExport, Stored
from ledger.exporting.whole import (
    ENTRIES,
    PROGRESS_EVERY,
    SHEET,
    Progress,
    parse,
    put,
    quiet,
    write_blobs,
    write_head,
)
from ledger.merkle import leaf_hash
from ledger.proofs import BadProof, prove


@dataclass(frozen=True, slots=True)
class Choice:
    """Which entries: those of `incident`, and those from `since` to before `until`; None for no bound."""

    incident: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __bool__(self) -> bool:
        return (self.incident, self.since, self.until) != (None, None, None)

    def takes(self, entry: Entry) -> bool:
        return (
            (self.incident is None or entry.incident_id == self.incident)
            and (self.since is None or entry.timestamp >= self.since)
            and (self.until is None or entry.timestamp < self.until)
        )


def proof_path(index: int) -> str:
    return f"proofs/{index}.tlog-proof"


def write_part(source: Stored, place: Place, choice: Choice, progress: Progress = quiet) -> None:
    """The entries that are chosen. Raises Fault where what stands is not what was signed, NoExport where none is."""
    size = source.head.size
    if source.log.size != size:
        raise Fault(min(source.log.size, size), f"{size} entries were signed and {source.log.size} stand")
    if source.log.hashes([(0, size)]) != [source.head.root]:
        raise Fault(None, "the root over the entries is not the signed one")
    write_head(source, place)
    lines, rows = place.file(ENTRIES), place.file(SHEET)
    rows.write(sheet.HEAD)
    count = 0
    for index, raw in enumerate(source.entries()):
        entry = parse(raw, index)
        if choice.takes(entry):
            count += 1
            lines.write(raw + b"\n", index)
            rows.write(sheet.row(entry, leaf_hash(raw)), index)
            put(place, proof_path(index), _proof(source, index))
            write_blobs(source, place, entry)
            if entry.policy_digest is not None and (text := source.blob(entry.policy_digest)) is not None:
                place.once(f"policies/{entry.policy_digest}.yml", text, index)
        if (index + 1) % PROGRESS_EVERY == 0 or index + 1 == size:
            progress(index + 1, size)
    if not count:
        raise NoExport("no entry is of that incident and that time")
    for file in (lines, rows):
        file.close()


def _proof(source: Stored, index: int) -> bytes:
    try:
        return prove(source.log, source.origin, index).text().encode()
    except BadProof as error:
        raise Fault(index, str(error)) from error
